"""Which assets are taken, decided by what is known of them before a byte is read."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from foundation.errors import ConfigError, SourceError
from ingest.sources.asset import Asset
from ingest.sources.patterns import matches


@dataclass(frozen=True)
class AssetFilters:
    """Which assets are taken. Every rule that is given must hold; texts may hold ``*`` and ``?``, case does not count.

    Args:
        path: globs of paths, of which one must fit.
        subject: names of subjects, as the archive states them or else as the path does (``sub-...``).
        session: names of sessions, likewise (``ses-...``).
        species: names of species, as the archive states them.
        modality: kinds of data, from the archive's metadata and the path (``ecephys``, ``ophys``, ``Units`` ...).
        least_size: bytes at least.
        most_size: bytes at most.
        assets: this many at most, the first by path.

    Raises:
        ConfigError: if a value is impossible.
    """

    path: list[str] = field(default_factory=list)
    subject: list[str] = field(default_factory=list)
    session: list[str] = field(default_factory=list)
    species: list[str] = field(default_factory=list)
    modality: list[str] = field(default_factory=list)
    least_size: int = 0
    most_size: int | None = None
    assets: int | None = None

    def __post_init__(self) -> None:
        if self.least_size < 0:
            raise ConfigError(f"least_size is {self.least_size}: allowed is a number of bytes, 0 or more")
        if self.most_size is not None and self.most_size < self.least_size:
            raise ConfigError(f"most_size is {self.most_size}: allowed is least_size ({self.least_size}) bytes or more")
        if self.assets is not None and self.assets < 1:
            raise ConfigError(f"assets is {self.assets}: allowed is 1 or more, or nothing for all")


def chosen(assets: Iterable[Asset], filters: AssetFilters, source: str) -> list[Asset]:
    """The assets that every rule lets through, sorted by path.

    Args:
        assets: what there is.
        filters: the rules.
        source: what was asked for, for the error.

    Raises:
        SourceError: if no asset is left.

    Example:
        >>> from foundation.store import Source
        >>> assets = [Asset(f"/d/{p}", p, 9, Source(p, ""), subject=p[4]) for p in ("sub-b/x.nwb", "sub-a/x.nwb")]
        >>> [asset.path for asset in chosen(assets, AssetFilters(subject=["A"]), "/d")]
        ['sub-a/x.nwb']
    """
    there = sorted(assets, key=lambda asset: asset.path)
    kept = [asset for asset in there if _passes(asset, filters)]
    if not kept:
        raise SourceError(
            f"none of the {len(there)} assets at {source!r} passes the filters: "
            "`foundation ingest --dry_run` without them lists what there is"
        )
    return kept[: filters.assets]


def _passes(asset: Asset, filters: AssetFilters) -> bool:
    if filters.path and not any(matches(asset.path, pattern) for pattern in filters.path):
        return False
    stated: dict[str, Sequence[str]] = {
        "subject": [asset.subject],
        "session": [asset.session],
        "species": [asset.species],
        "modality": asset.modality,
    }
    if any(asked and not _fits(stated[key], asked) for key in stated if (asked := getattr(filters, key))):
        return False
    return filters.least_size <= asset.size and (filters.most_size is None or asset.size <= filters.most_size)


def _fits(values: Sequence[str], patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(v.lower(), pattern.lower()) for v in values for pattern in patterns)


def listing(assets: Sequence[Asset]) -> str:
    """The assets, a line each, with their sizes and the total.

    Example:
        >>> from foundation.store import Source
        >>> print(listing([Asset("/d/a.nwb", "a.nwb", 1_500_000, Source("a.nwb", ""))]))
        1.5 MB  a.nwb
        1.5 MB  in 1 asset
    """
    total = sum(asset.size for asset in assets)
    rows = [(asset.size, asset.path) for asset in assets]
    rows.append((total, f"in {len(assets):,} asset{'' if len(assets) == 1 else 's'}"))
    sizes = [f"{size / 1e6:,.1f} MB" for size, _ in rows]
    width = max(map(len, sizes))
    return "\n".join(f"{size.rjust(width)}  {text}" for size, (_, text) in zip(sizes, rows, strict=True))
