"""Compare ingested assets with the current list of their dandiset's version.

Archives keep serving a replaced or removed asset under its old id; only the version's list shows the change.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from foundation.common.errors import ConfigError, SourceError
from foundation.common.output.printable import printable
from foundation.store import Catalog, Store
from foundation.store.commit.membership import VersionAssets, note_version, retire
from ingest.run.ingest_report import FAILED, Receipt
from ingest.sources import AccessSettings, Archive, Asset
from ingest.sources.asset_filters import matches
from ingest.sources.dandi.archives import FORM, known_archives, parse_address

log = logging.getLogger(__name__)


def list_again(
    source: str, assets: Sequence[Asset], archives: Sequence[Archive], access: AccessSettings
) -> VersionAssets | None:
    """List a version of a dandiset again.

    Args:
        source: the requested address.
        assets: the assets found there.
        archives: archives in addition to the built-in ones.
        access: retries and timeouts of requests.

    Returns:
        The version's assets below the same folder; None outside an archive, for an asset named without its dandiset, or
        if the archive does not answer (then a warning is logged).
    """
    address = parse_address(source, known_archives(archives))
    if address is None or not address.dandiset:
        return None
    from ingest.sources.dandi.dandiset import list_version

    within = assets[0].path if address.asset else address.within
    try:
        return list_version(replace(address, version=assets[0].source.version, within=within, asset=""), access)
    except SourceError as error:
        log.warning("cannot check whether %s still holds the ingested assets: %s", source, error)
        return None


def hold_to(listed: VersionAssets, store: Store, assets: Sequence[Asset], receipts: Sequence[Receipt]) -> list[Receipt]:
    """Turn receipts of assets that left their version into failures, and retire their recordings.

    Args:
        listed: the version's current assets; written into the store.
        store: the store.
        assets: the ingested assets.
        receipts: a receipt per asset, by path.

    Raises:
        StoreError: if the store cannot be written.
    """
    identities = {asset.path: asset.source.asset for asset in assets}
    paths = set(listed.assets.values())
    note_version(store, listed)
    held = []
    for receipt in receipts:
        if identities.get(receipt.path, "") in listed.assets:
            held.append(receipt)
            continue
        what = "replaced" if receipt.path in paths else "removed"
        note = f"{listed} holds it no longer: it was {what} since it was listed; run again"
        if receipt.id:
            retire(store, receipt.id, note)
        held.append(replace(receipt, status=FAILED, id="", note=note))
    return held


def outdated(listed: VersionAssets, catalog: Catalog) -> list[str]:
    """Return the paths of recordings whose version no longer holds their assets."""
    return [r.path for r in catalog.records if r.source.version == listed.version and listed.lacks(r.source)]


def _within(path: str, folder: str) -> bool:
    return not folder or matches(path, folder, by_name=False)


@dataclass(frozen=True)
class Pruned:
    """The result of `prune`.

    Args:
        version: the version, for example ``dandi/000003@draft``.
        paths: of the retired recordings.
        kept: number of the dandiset's recordings that stay in the catalog.
    """

    version: str
    paths: list[str]
    kept: int

    def __str__(self) -> str:
        lines = [f"retired: {printable(path)}" for path in self.paths]
        what = f"{len(self.paths)} recording{'' if len(self.paths) == 1 else 's'} retired, {self.kept} of it count"
        return "\n".join([*lines, f"{self.version}: {what}"])


def prune(store: Store, source: str, archives: Sequence[Archive] = (), access: AccessSettings | None = None) -> Pruned:
    """Retire a dandiset's recordings that a version does not hold. Deletes nothing.

    A retired recording is not in the catalog. It stays in the store, readable by id, and returns to the catalog when
    its asset is ingested from a version that holds it.

    Args:
        store: the store.
        source: the address of a version (``dandi://<archive>/<dandiset>@<version>``), or of a folder in it.
        archives: archives in addition to the built-in ones.
        access: retries and timeouts of requests.

    Raises:
        ConfigError: if the source is not the address of a dandiset.
        SourceError: if the version cannot be listed; then nothing is retired.
        StoreError: if the store cannot be written.
    """
    address = parse_address(source, known_archives(archives))
    if address is None or not address.dandiset or address.asset:
        raise ConfigError(f"prune is {source!r}: expected the address of a dandiset's version; write {FORM}")
    from ingest.sources.dandi.dandiset import list_version

    listed = list_version(address, access or AccessSettings())
    note_version(store, listed)
    catalog = Catalog.refresh(store)
    gone = [row for row in catalog.records if listed.lacks(row.source) and _within(row.path, address.within)]
    for row in gone:
        retire(store, row.id, f"{listed} does not hold its asset")
    kept = Catalog.refresh(store) if gone else catalog
    same = [r for r in kept.records if (r.source.archive, r.source.dandiset) == (listed.archive, listed.dandiset)]
    return Pruned(str(listed), [row.path for row in gone], len(same))
