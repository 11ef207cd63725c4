"""Which assets of a source are taken, decided before a byte of them moves."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from foundation.common.errors import SourceError
from ingest.sources.asset import Asset
from ingest.sources.asset_filter_settings import AssetFilters
from ingest.sources.path_patterns import braces_hint, matches


def chosen(assets: Sequence[Asset], filters: AssetFilters, source: str) -> list[Asset]:
    """The assets that pass, sorted by path.

    Raises:
        SourceError: if none does; the message says how many each filter left out.

    Example:
        >>> from foundation.store import Source
        >>> assets = [Asset(f"/d/{p}", p, 9, Source(p, ""), subject=p[4]) for p in ("sub-a/x.nwb", "sub-b/x.nwb")]
        >>> [asset.path for asset in chosen(assets, AssetFilters(subject=["a"]), "/d")]
        ['sub-a/x.nwb']
    """
    left_out: dict[str, int] = {}
    taken = []
    for asset in sorted(assets, key=lambda asset: asset.path):
        reason = _reason(asset, filters)
        if reason:
            left_out[reason] = left_out.get(reason, 0) + 1
        else:
            taken.append(asset)
    if not taken:
        reasons = ", ".join(f"{count} by {reason}" for reason, count in left_out.items())
        hint = braces_hint(*filters.path)
        raise SourceError(f"the filters leave nothing of the {len(assets)} assets of {source!r}: {reasons}{hint}")
    return taken[: filters.most_assets]


def _reason(asset: Asset, filters: AssetFilters) -> str:
    """The filter that leaves an asset out, or ``''``."""
    for key in ("subject", "session", "species"):
        patterns, value = getattr(filters, key), getattr(asset, key)
        if patterns and not value:
            return f"{key} (not stated)"
        values = [value]
        if key == "species":  # "Mus musculus - House mouse"
            values = [part.lower() for part in (value, *value.split(" - "))]
            patterns = [pattern.lower() for pattern in patterns]
        if patterns and not any(fnmatchcase(value, pattern) for value in values for pattern in patterns):
            return f"{key} ({'|'.join(getattr(filters, key))})"
    if filters.path and not any(matches(asset.path, pattern) for pattern in filters.path):
        return f"path ({'|'.join(filters.path)})"
    if filters.modality:
        stated = [kind.lower() for kind in asset.modality]
        if not stated:
            return "modality (not stated)"
        if not any(fnmatchcase(kind, pattern.lower()) for kind in stated for pattern in filters.modality):
            return f"modality ({'|'.join(filters.modality)})"
    if filters.least_size is not None and asset.size < filters.least_size:
        return "least_size"
    if filters.most_size is not None and asset.size > filters.most_size:
        return "most_size"
    return ""
