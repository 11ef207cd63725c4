"""The assets of a dandiset: of the version that is asked for, with what the archive states of each."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import requests
from dandi.dandiapi import DandiAPIClient, RemoteDandiset
from dandi.exceptions import NotFoundError
from pydantic import ValidationError

from foundation.common.errors import SourceError
from foundation.store.commit.membership import VersionAssets
from ingest.sources.asset import Asset
from ingest.sources.asset_filters import before_wildcards, braces_hint, is_glob, matches
from ingest.sources.dandi.archives import Address
from ingest.sources.dandi.asset_metadata import DandisetFacts, asset_from, is_nwb, licence_of
from ingest.sources.dandi.dandi_client import connect
from ingest.sources.source_retry import cause_of
from ingest.sources.source_settings import AccessSettings

log = logging.getLogger(__name__)

LISTINGS = 3
THREADS = 4


def find_in_archive(address: Address, access: AccessSettings) -> list[Asset]:
    """The NWB assets that an address names, as its version of the dandiset holds them.

    Raises:
        SourceError: if there is no such dandiset, version, folder or asset, it may not be read, or holds no NWB asset.
    """
    with connect(address.archive, access) as client, _explained(address):
        if not address.dandiset:
            return [_single_asset(client, address)]
        dandiset = _dandiset(client, address)
        about = DandisetFacts(
            dandiset.version_id, licence_of(dandiset.get_raw_metadata()), dandiset.embargo_status.value != "OPEN"
        )
        if address.asset:
            row = client.get(f"{dandiset.version_api_path}assets/{address.asset}/info/")
            return [asset_from(row, row.get("metadata") or {}, address, about)]
        rows = _within(_rows(client, dandiset, address), address, dandiset.version_id)
        pairs = list(zip(rows, _metadata(client, dandiset, rows), strict=True))
        return [asset_from(row, metadata, address, about) for row, metadata in pairs]


def list_version(address: Address, access: AccessSettings) -> VersionAssets:
    """List the assets of a version of a dandiset: ids and paths, of the folder or glob that the address names.

    Raises:
        SourceError: if there is no such dandiset or version, or it may not be read.
    """
    with connect(address.archive, access) as client, _explained(address):
        dandiset = _dandiset(client, address)
        rows = _rows(client, dandiset, address, metadata=False)
        assets = {str(row["asset_id"]): str(row["path"]) for row in rows}
        prefix = before_wildcards(address.within)
        return VersionAssets(address.archive.name, address.dandiset, dandiset.version_id, assets, prefix)


def _dandiset(client: DandiAPIClient, address: Address) -> RemoteDandiset:
    """The dandiset at the version that is asked for; never at another one instead."""
    name = f"{address.archive.name}/{address.dandiset}"
    try:
        dandiset = client.get_dandiset(address.dandiset, lazy=False)
    except NotFoundError as error:
        raise SourceError(f"there is no dandiset {address.dandiset} in archive {address.archive.name}") from error
    if not address.version:
        published = dandiset.most_recent_published_version is not None
        kind = "its newest published version" if published else "as no version is published"
        log.info("%s: no version was asked for: %s is taken, %s", name, dandiset.version_id, kind)
        return dandiset
    if address.version == dandiset.draft_version.identifier:
        return dandiset.for_version(dandiset.draft_version)
    try:
        return dandiset.for_version(address.version)
    except NotFoundError as error:
        known = ", ".join(version.identifier for version in dandiset.get_versions())
        raise SourceError(f"{name} has no version {address.version}: there are {known}") from error


def _rows(
    client: DandiAPIClient, dandiset: RemoteDandiset, address: Address, metadata: bool = True
) -> list[dict[str, Any]]:
    """Return the archive's list of assets; listed again where a draft changed in the meantime, so that none is missed.

    An asset that changes gets another id. A list is taken if the draft was left alone meanwhile, or if the list before
    held the same ids.
    """
    # The archive knows prefixes, and takes them for capitals and small letters alike: the exact choice is made here.
    prefix = before_wildcards(address.within)
    query = {"path": prefix or None, "order": "path", "metadata": str(metadata).lower()}
    before, known = _state(dandiset), None
    for _ in range(LISTINGS):
        # The client takes the size of a page from the first one: a server may give fewer than it is asked for.
        found = client.paginate(f"{dandiset.version_api_path}assets/", params=dict(query))
        rows = {str(row["asset_id"]): row for row in found}
        after = _state(dandiset)
        # The server's own validation touches a draft too, and changes no asset of it.
        if before == after or known == rows.keys():
            return list(rows.values())
        log.info("%s changed while it was listed: it is listed again", dandiset)
        before, known = after, rows.keys()
    raise SourceError(
        f"the draft of {address.archive.name}/{address.dandiset} changes faster than it can be listed: try again when "
        "its upload is finished, or name a published version"
    )


def _state(dandiset: RemoteDandiset) -> tuple[Any, ...]:
    if dandiset.version_id != "draft":
        return ()
    version = dandiset.get_version("draft")
    return version.modified, version.asset_count, version.size


def _within(rows: list[dict[str, Any]], address: Address, version: str) -> list[dict[str, Any]]:
    """The rows that are meant: exactly that file, else what is in that folder, else what the glob fits; NWB only."""
    within = address.within
    where = f"{address.archive.name}/{address.dandiset}@{version}"
    exact = [row for row in rows if row["path"] == within]
    if exact:
        return exact
    meant = [row for row in rows if not within or row["path"].startswith(f"{within}/")]
    if not meant and is_glob(within):
        meant = [row for row in rows if matches(row["path"], within, by_name=False)]
    if not meant:
        near = sorted({row["path"][: row["path"].find("/", len(within)) + 1] or row["path"] for row in rows})[:3]
        hint = f"; similar: {', '.join(near)} (write {within}* for a beginning of names)" if near else ""
        raise SourceError(f"there is no folder, file or glob {within!r} in {where}{braces_hint(within) or hint}")
    taken = [row for row in meant if is_nwb(row)]
    if not taken:
        raise SourceError(f"none of the {len(meant)} assets in {where}{'/' + within if within else ''} is an NWB asset")
    if len(taken) < len(meant):
        log.info("%s: %d of %d assets are NWB assets; the others are left", where, len(taken), len(meant))
    return taken


def _metadata(client: DandiAPIClient, dandiset: RemoteDandiset, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The metadata of each asset: from the list, or asked for one by one where a server does not list them."""

    def of(row: dict[str, Any]) -> dict[str, Any]:
        given = row.get("metadata")
        return given if given else client.get(f"{dandiset.version_api_path}assets/{row['asset_id']}/") or {}

    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(of, rows)


def _single_asset(client: DandiAPIClient, address: Address) -> Asset:
    row = client.get(f"/assets/{address.asset}/info/")
    log.info("asset %s was named without its dandiset: its recording will not say which it is in", address.asset)
    return asset_from(row, row.get("metadata") or {}, address, DandisetFacts())


@contextmanager
def _explained(address: Address) -> Iterator[None]:
    """Whatever the client raises becomes a `SourceError`."""
    where = f"archive {address.archive.name}, " + (f"dandiset {address.dandiset}" if address.dandiset else "")
    where = where.rstrip(", ")
    try:
        yield
    except SourceError as error:
        raise SourceError(f"{where}: {error}") if address.archive.name not in str(error) else error from error
    except (NotFoundError, requests.HTTPError) as error:
        status = getattr(getattr(error, "response", None), "status_code", 404)
        what = f"asset {address.asset}" if address.asset else f"version {address.version or 'draft'}"
        if status == 404:
            raise SourceError(f"{where}: there is no {what}: it was never there, or is gone") from error
        raise SourceError(f"{where}: the archive answers HTTP {status}") from error
    except (ValidationError, KeyError, TypeError, ValueError, AssertionError, requests.RequestException) as error:
        raise SourceError(f"{where}: the archive's answer is not understood: {cause_of(error)}") from error
