"""List the assets of a dandiset's version with their metadata."""

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
    """Return the NWB assets at an address.

    Raises:
        SourceError: if the dandiset, version, folder or asset does not exist, is not readable, or holds no NWB asset.
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
    """List the assets of a version of a dandiset: ids and paths below the address's folder or glob.

    Raises:
        SourceError: if the dandiset or version does not exist or is not readable.
    """
    with connect(address.archive, access) as client, _explained(address):
        dandiset = _dandiset(client, address)
        rows = _rows(client, dandiset, address, metadata=False)
        assets = {str(row["asset_id"]): str(row["path"]) for row in rows}
        prefix = before_wildcards(address.within)
        return VersionAssets(address.archive.name, address.dandiset, dandiset.version_id, assets, prefix)


def _dandiset(client: DandiAPIClient, address: Address) -> RemoteDandiset:
    """Return the dandiset at exactly the requested version."""
    name = f"{address.archive.name}/{address.dandiset}"
    try:
        dandiset = client.get_dandiset(address.dandiset, lazy=False)
    except NotFoundError as error:
        raise SourceError(f"there is no dandiset {address.dandiset} in archive {address.archive.name}") from error
    if not address.version:
        published = dandiset.most_recent_published_version is not None
        kind = "its newest published version" if published else "no version is published"
        log.info("%s: no version given: using %s, %s", name, dandiset.version_id, kind)
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
    """Return the archive's list of assets; repeated if a draft changes meanwhile.

    A changed asset gets a new id. The list is accepted if the draft did not change while listing, or if the previous
    list held the same ids.
    """
    # The archive filters by prefix and ignores case; the exact match is made here.
    prefix = before_wildcards(address.within)
    query = {"path": prefix or None, "order": "path", "metadata": str(metadata).lower()}
    before, known = _state(dandiset), None
    for _ in range(LISTINGS):
        # The client takes the page size from the first page: a server may return fewer rows than requested.
        found = client.paginate(f"{dandiset.version_api_path}assets/", params=dict(query))
        rows = {str(row["asset_id"]): row for row in found}
        after = _state(dandiset)
        # The server's validation also updates a draft's date without changing its assets.
        if before == after or known == rows.keys():
            return list(rows.values())
        log.info("%s changed while listing: listing it again", dandiset)
        before, known = after, rows.keys()
    raise SourceError(
        f"the draft of {address.archive.name}/{address.dandiset} changed during every listing: try again when "
        "its upload is finished, or name a published version"
    )


def _state(dandiset: RemoteDandiset) -> tuple[Any, ...]:
    if dandiset.version_id != "draft":
        return ()
    version = dandiset.get_version("draft")
    return version.modified, version.asset_count, version.size


def _within(rows: list[dict[str, Any]], address: Address, version: str) -> list[dict[str, Any]]:
    """Return the NWB rows of an address: exactly that file, else that folder's, else the glob's."""
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
        log.info("%s: %d of %d assets are NWB assets; the others are skipped", where, len(taken), len(meant))
    return taken


def _metadata(client: DandiAPIClient, dandiset: RemoteDandiset, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Return each asset's metadata: from the list, or one request per asset where the list has none."""

    def of(row: dict[str, Any]) -> dict[str, Any]:
        given = row.get("metadata")
        return given if given else client.get(f"{dandiset.version_api_path}assets/{row['asset_id']}/") or {}

    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(of, rows)


def _single_asset(client: DandiAPIClient, address: Address) -> Asset:
    row = client.get(f"/assets/{address.asset}/info/")
    log.info("asset %s was named without its dandiset: its recording will have no dandiset", address.asset)
    return asset_from(row, row.get("metadata") or {}, address, DandisetFacts())


@contextmanager
def _explained(address: Address) -> Iterator[None]:
    """Turn every error of the client into a `SourceError`."""
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
            raise SourceError(f"{where}: there is no {what}: it never existed or was deleted") from error
        raise SourceError(f"{where}: the archive answers HTTP {status}") from error
    except (ValidationError, KeyError, TypeError, ValueError, AssertionError, requests.RequestException) as error:
        raise SourceError(f"{where}: the archive's answer is invalid: {cause_of(error)}") from error
