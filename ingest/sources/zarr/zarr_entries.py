"""The files of a Zarr asset in an archive: listed, checked against checksums, fetched, and downloaded whole."""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from foundation.common.errors import SourceError
from foundation.common.files.locks import put_in_place
from ingest.sources.asset import Asset, check_path
from ingest.sources.download_cache import free_bytes, part_of
from ingest.sources.http.http_session import PatientSession
from ingest.sources.http.remote_file import HttpFile, RefusedError
from ingest.sources.source_retry import PassingError, persistently
from ingest.sources.source_settings import AccessSettings

log = logging.getLogger(__name__)

CHECKSUM = "dandi-zarr-checksum"
PAGES = 1_000_000
ATTEMPTS = 2
THREADS = 8


@dataclass(frozen=True)
class Entry:
    """One file of a Zarr asset: its bytes and their md5."""

    size: int
    md5: str


def list_entries(asset: Asset, session: PatientSession) -> dict[str, Entry]:
    """Return key -> entry from the archive's list, verified against the asset's checksum.

    Raises:
        SourceError: if listing fails, a key leads out of the asset's folder, or the checksum differs.
    """
    stated = asset.digests.get(CHECKSUM)
    if stated is None:
        raise SourceError(f"{asset.path}: no checksum in the archive yet: its upload is not finished")
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
            raise SourceError(f"{asset.path}: the archive's list of its files is invalid: {error!r}") from error
        # Follow next-page URLs on the same server only.
        url = f"{asset.url}files/?{following.partition('?')[2]}" if following else None
    found = checksum(entries)
    if found != stated.lower():
        raise SourceError(
            f"{asset.path}: {CHECKSUM} is {found}: expected {stated}; it changed since it was "
            "listed, or its upload is not finished; run again"
        )
    return entries


def checksum(entries: dict[str, Entry]) -> str:
    """Return the archive's checksum of a Zarr asset: over the tree of its files' names, sizes and digests.

    Example:
        >>> checksum({".zgroup": Entry(24, "e20297935e73dd0154104d4ea53040ab")})
        '3e105d25c18895df96d616bb7dd8b5ef-1--24'
    """
    from zarr_checksum.tree import ZarrChecksumTree

    tree = ZarrChecksumTree()
    for key, entry in entries.items():
        tree.add_leaf(Path(key), entry.size, entry.md5)
    return str(tree.process())


class EntryFetcher:
    """Fetches the entries of one Zarr asset, each checked against its md5.

    Open assets are read from the archive's storage, without an API request per entry. After the first refusal, this
    entry and all further ones are requested from the API.

    Args:
        asset: the Zarr asset.
        entries: key -> size and md5, from `list_entries`.
        session: of the asset's archive.
    """

    def __init__(self, asset: Asset, entries: dict[str, Entry], session: PatientSession) -> None:
        self.asset, self.entries, self.session = asset, entries, session
        self._direct: bool | None = None if asset.content_url else False
        self._lock = threading.Lock()

    def __call__(self, key: str) -> bytes:
        """Return the bytes of an entry; fetch them once more if the md5 differs.

        Raises:
            SourceError: if fetching fails or the md5 differs again.
        """
        entry, name = self.entries[key], f"{self.asset.path}/{key}"
        if not entry.size:
            return b""
        found = ""
        for _ in range(ATTEMPTS):
            data = self._fetch(key, name, entry.size)
            found = hashlib.md5(data, usedforsecurity=False).hexdigest()
            # Multipart uploads have a digest of digests: only their sizes can be checked.
            if found == entry.md5 or not re.fullmatch(r"[0-9a-f]{32}", entry.md5):
                return data
            log.info("%s: md5 is %s, expected %s", name, found, entry.md5)
        raise SourceError(f"{name}: md5 is {found}: expected {entry.md5}; the content was discarded")

    def _fetch(self, key: str, name: str, size: int) -> bytes:
        if self._direct is None:
            with self._lock:  # one thread tries, the others wait
                if self._direct is None:
                    data = self._directly(key, name, size)
                    self._direct = data is not None
                    if data is not None:
                        return data
        if self._direct and (data := self._directly(key, name, size)) is not None:
            return data
        self._direct = False
        url = f"{self.asset.url}files/?prefix={quote(key, safe='')}&download=true"
        return HttpFile(url, self.session, name, size).read(0, size)

    def _directly(self, key: str, name: str, size: int) -> bytes | None:
        """Return the bytes from the archive's storage; None if it refuses."""
        url = f"{self.asset.content_url.rstrip('/')}/{quote(key)}"
        try:
            return HttpFile(url, self.session, name, size).read(0, size)
        except RefusedError as error:
            log.info("%s; using the archive's API for the entries of %s", error, self.asset.path)
            return None


def _page(url: str, asset: Asset, session: PatientSession) -> Any:
    def once() -> Any:
        with session.once("GET", url, headers={"Accept": "application/json"}) as response:
            if response.status_code == 404:
                raise SourceError(f"{asset.path}: not found (404): removed or replaced since it was listed")
            if not response.ok:
                raise SourceError(f"{asset.path}: the archive does not list its files: HTTP {response.status_code}")
            try:
                return response.json()
            except ValueError as error:
                raise PassingError("the archive's answer is not JSON") from error

    return persistently(once, asset.path, session.access)


def download_zarr(
    place: Path, entries: dict[str, Entry], fetch: Callable[[str], bytes], name: str, access: AccessSettings
) -> None:
    """Download a Zarr asset to the cache; entries of an earlier run with the right md5 are kept.

    The caller must hold the asset's lock.

    Args:
        place: destination folder.
        entries: key -> size and md5; the keys were checked by `check_path`.
        fetch: returns the checked bytes of a key.
        name: for messages.
        access: the cache.

    Raises:
        SourceError: if an entry cannot be fetched, its md5 differs, or the disk is too small.
    """
    part = part_of(place)
    try:
        missing = [key for key, entry in entries.items() if not _is_there(part / key, entry)]
        needed = sum(entries[key].size for key in missing)
        if free_bytes(access) < needed:
            raise SourceError(
                f"{name}: {needed} bytes needed, {free_bytes(access)} free in {str(place.parent)!r}: free "
                "space, set another folder (access.cache), or stream (access.mode)"
            )
        part.mkdir(parents=True, exist_ok=True)
        for stray in [path for path in part.rglob("*") if path.is_file()]:
            if stray.relative_to(part).as_posix() not in entries:
                stray.unlink()

        def bring(key: str) -> None:
            _write(part / key, fetch(key))

        with ThreadPoolExecutor(THREADS) as pool:
            try:
                for _ in pool.map(bring, missing):
                    pass
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        if place.exists():
            shutil.rmtree(place)
        put_in_place(part, place)
    except OSError as error:
        raise SourceError(f"{name}: cannot be written to {str(place.parent)!r}: {error.strerror or error}") from error


def _is_there(path: Path, entry: Entry) -> bool:
    if not path.is_file() or path.stat().st_size != entry.size:
        return False
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == entry.md5


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)  # a partial entry fails its md5 and is fetched again
