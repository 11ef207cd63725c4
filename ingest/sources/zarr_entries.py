"""The files of a Zarr asset in an archive: what there are, checked against the asset's checksum; and their bytes."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from foundation.errors import SourceError
from ingest.sources.asset import Asset, check_path
from ingest.sources.remote import HttpFile, RefusedError
from ingest.sources.retry import PassingError, persistently
from ingest.sources.session import PatientSession

CHECKSUM = "dandi-zarr-checksum"
PAGES = 1_000_000


@dataclass(frozen=True)
class Entry:
    """One file of a Zarr asset: its bytes and their md5."""

    size: int
    md5: str


def list_entries(asset: Asset, session: PatientSession) -> dict[str, Entry]:
    """Key -> entry, as the archive lists them, known to be those that the asset's checksum stands for.

    Raises:
        SourceError: if the listing cannot be had, a key leads out of the asset's folder, or the checksum is another.
    """
    stated = asset.digests.get(CHECKSUM)
    if stated is None:
        raise SourceError(f"{asset.path}: the archive states no checksum of it yet: its upload is not finished")
    entries: dict[str, Entry] = {}
    url: str | None = f"{asset.url}files/?limit=1000"
    for _ in range(PAGES):
        if url is None:
            break
        page = _page(url, asset, session)
        try:
            for row in page["results"]:
                key, etag = str(row["Key"]), str(row["ETag"]).strip('"').lower()
                check_path(key)
                entries[key] = Entry(int(row["Size"]), etag)
            following = page["next"]
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(f"{asset.path}: the archive's list of its files is not understood: {error!r}") from error
        # Addresses that a server gives are only followed on that server.
        url = f"{asset.url}files/?{following.partition('?')[2]}" if following else None
    found = checksum(entries)
    if found != stated.lower():
        raise SourceError(
            f"{asset.path}: the {CHECKSUM} of its files is {found}, but {stated} is stated: it changed since it was "
            "listed, or its upload is not finished; run again"
        )
    return entries


def checksum(entries: dict[str, Entry]) -> str:
    """The checksum that an archive states of a Zarr asset: over the tree of its files' names, sizes and digests.

    Example:
        >>> checksum({".zgroup": Entry(24, "e20297935e73dd0154104d4ea53040ab")})
        '3e105d25c18895df96d616bb7dd8b5ef-1--24'
    """
    from zarr_checksum.tree import ZarrChecksumTree

    tree = ZarrChecksumTree()
    for key, entry in entries.items():
        tree.add_leaf(Path(key), entry.size, entry.md5)
    return str(tree.process())


def fetch_entry(asset: Asset, key: str, entry: Entry, session: PatientSession) -> bytes:
    """The bytes of one entry, checked against its md5.

    Open assets are read from where the archive says that their content is, without asking its API for each entry; where
    that is refused, the API is asked.

    Raises:
        SourceError: if the bytes cannot be had, or are not the stated ones.
    """
    name = f"{asset.path}/{key}"
    if not entry.size:
        return b""
    data = None
    if asset.content_url:
        try:
            url = asset.content_url.rstrip("/") + "/" + quote(key)
            data = HttpFile(url, session, name, entry.size).read(0, entry.size)
        except RefusedError:
            data = None
    if data is None:
        url = f"{asset.url}files/?prefix={quote(key, safe='')}&download=true"
        data = HttpFile(url, session, name, entry.size).read(0, entry.size)
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    # Entries that were uploaded in parts have a digest of digests: their sizes are all that can be checked.
    if re.fullmatch(r"[0-9a-f]{32}", entry.md5) and found != entry.md5:
        raise SourceError(f"{name}: its md5 is {found}, but {entry.md5} is stated: the bytes are not used")
    return data


def _page(url: str, asset: Asset, session: PatientSession) -> Any:
    def once() -> Any:
        with session.once("GET", url, headers={"Accept": "application/json"}) as response:
            if response.status_code == 404:
                raise SourceError(
                    f"{asset.path}: it is gone from its place (404): removed or replaced since it was listed"
                )
            if not response.ok:
                raise SourceError(f"{asset.path}: the archive does not list its files: HTTP {response.status_code}")
            try:
                return response.json()
            except ValueError as error:
                raise PassingError("the archive's answer is no JSON") from error

    return persistently(once, asset.path, session.access)
