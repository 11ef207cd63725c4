"""Which version of a dandiset holds which assets, and which recordings are retired because their asset was withdrawn.

Commits never change and name only the version that a recording was first read from. ``versions/`` holds the last known
assets of each version, ``retired/`` the retired recordings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from foundation.common.digests import json_digest
from foundation.common.errors import StoreError
from foundation.store.catalog_row import CatalogRows
from foundation.store.commit.atomic_files import to_json
from foundation.store.recording import Source
from foundation.store.storage import Store

RETIRED, VERSIONS = "retired", "versions"
ATTEMPTS = 20


@dataclass(frozen=True)
class VersionAssets:
    """The assets of a version of a dandiset, as its archive lists them.

    Args:
        archive, dandiset, version: identify the version.
        assets: asset id -> path, of every asset below ``prefix``.
        prefix: common beginning of the paths of all listed assets, ignoring case; ``''`` for a whole version.
    """

    archive: str
    dandiset: str
    version: str
    assets: Mapping[str, str]
    prefix: str = ""

    def covers(self, path: str) -> bool:
        """Return True if the listing covers this path."""
        return path.lower().startswith(self.prefix.lower())

    def lacks(self, source: Source) -> bool:
        """Return True if a recording's asset belongs to this dandiset but not to this version."""
        same = (source.archive, source.dandiset) == (self.archive, self.dandiset)
        return same and self.covers(source.path) and source.asset not in self.assets

    def __str__(self) -> str:
        return f"{self.archive}/{self.dandiset}@{self.version}"


def note_version(store: Store, listed: VersionAssets) -> None:
    """Record the assets of a version; entries for paths outside the listing are kept.

    Raises:
        StoreError: if other runs keep changing the same file.
    """
    name = f"{VERSIONS}/{_key(listed.archive, listed.dandiset, listed.version)}.json"
    about = {"archive": listed.archive, "dandiset": listed.dandiset, "version": listed.version}
    for _ in range(ATTEMPTS):
        version = store.version(name)
        known = (store.read_json(name) or {}).get("assets", {})
        kept = {asset: path for asset, path in known.items() if not listed.covers(path)}
        content = {**about, "assets": {**kept, **listed.assets}}
        if store.swap(name, to_json(content), version):
            return
    raise StoreError(f"other runs keep changing {store.name}/{name}: run this command again")


def versions_column(store: Store, rows: CatalogRows) -> pa.Array:
    """Return ``(R,)`` lists of texts: the versions of each row's dandiset that are known to hold its asset.

    A version whose listing was never completed is known from the recordings that were first read from it.
    """
    names = [f"{VERSIONS}/{name}" for name in store.names(VERSIONS) if name.endswith(".json")]
    known: dict[tuple[str, str], dict[str, Mapping[str, str]]] = {}
    for one in store.read_many(names):
        if one is not None:
            known.setdefault((one["archive"], one["dandiset"]), {})[one["version"]] = one["assets"]
    archives, dandisets, versions, assets = (
        rows.texts(f"source.{name}") for name in ("archive", "dandiset", "version", "asset")
    )
    sources = zip(archives, dandisets, versions, assets, strict=True)
    return pa.array([_versions(source, known) for source in sources], pa.list_(pa.string()))


def _versions(
    source: tuple[str, str, str, str], known: Mapping[tuple[str, str], Mapping[str, Mapping[str, str]]]
) -> list[str]:
    archive, dandiset, version, asset = source
    if not archive:
        return []
    listed = known.get((archive, dandiset), {})
    found = {name for name, assets in listed.items() if asset in assets}
    return sorted(found if version in listed else found | {version})


def retire(store: Store, identity: str, reason: str) -> None:
    """Retire a recording. It stays in the store and can be read by its id."""
    store.write_json(f"{RETIRED}/{identity}.json", {"id": identity, "reason": reason})


def recall(store: Store, identity: str) -> None:
    """Bring back a retired recording."""
    name = f"{RETIRED}/{identity}.json"
    if store.read_bytes(name) is not None:
        store.remove(name)


def retired(store: Store) -> set[str]:
    """Return the ids of the retired recordings."""
    return {name.removesuffix(".json") for name in store.names(RETIRED) if name.endswith(".json")}


def _key(*parts: str) -> str:
    return json_digest(parts)[:20]
