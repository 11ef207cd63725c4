"""Select assets by their metadata, before any bytes are transferred; and match paths against globs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from fsspec.utils import glob_translate

from foundation.common.errors import SourceError
from ingest.sources.asset import Asset
from ingest.sources.source_settings import AssetFilters

WILDCARDS = "*?["
WEB_WILDCARDS = "*["


def chosen(assets: Sequence[Asset], filters: AssetFilters, source: str) -> list[Asset]:
    """Return the assets that pass all filters, sorted by path.

    Raises:
        SourceError: if none passes; the message counts what each filter excluded.

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
        raise SourceError(f"the filters exclude all {len(assets)} assets of {source!r}: {reasons}{hint}")
    return taken[: filters.max_assets]


def _reason(asset: Asset, filters: AssetFilters) -> str:
    """Return the filter that excludes an asset, or ``''``."""
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
    if filters.min_size is not None and asset.size < filters.min_size:
        return "min_size"
    if filters.max_size is not None and asset.size > filters.max_size:
        return "max_size"
    return ""


def is_glob(path: str) -> bool:
    """Return whether a path has wildcards. In a URL, ``?`` begins the query and is no wildcard.

    Example:
        >>> is_glob("sub-?/x.nwb"), is_glob("https://host/x.nwb?sig=a*b"), is_glob("https://host/sub-*/x.nwb?sig=a")
        (True, False, True)
    """
    if on_the_web(path):
        return any(c in web_path(path) for c in WEB_WILDCARDS)
    return any(c in path for c in WILDCARDS)


def on_the_web(path: str) -> bool:
    """Return whether a path is an HTTP URL."""
    return path.lower().startswith(("http://", "https://"))


def web_path(url: str) -> str:
    """Return the path of an HTTP URL, without its query.

    Example:
        >>> web_path("https://host/a/x.nwb?sig=a/b")
        '/a/x.nwb'
    """
    return re.sub(r"^https?://[^/?#]*|[?#].*$", "", url, flags=re.IGNORECASE | re.DOTALL)


def fixed_part(pattern: str) -> str:
    """Return the folder before a glob's first wildcard.

    Example:
        >>> fixed_part("sub-a/ses-*/x.nwb"), fixed_part("*.nwb")
        ('sub-a', '')
    """
    return before_wildcards(pattern).rpartition("/")[0]


def before_wildcards(pattern: str) -> str:
    """Return the fixed beginning of all paths that match a glob.

    Example:
        >>> before_wildcards("sub-a/ses-*/x.nwb"), before_wildcards("sub-a/x.nwb")
        ('sub-a/ses-', 'sub-a/x.nwb')
    """
    return pattern[: min((pattern.index(c) for c in WILDCARDS if c in pattern), default=len(pattern))]


def braces_hint(*patterns: str) -> str:
    """Return the hint for a glob with braces, which only shells expand; ``''`` without braces.

    Example:
        >>> braces_hint("sub-{a,b}/*.nwb")
        '; braces are not expanded: write *, ? or [ab], or give a list of globs (filters.path)'
        >>> braces_hint("sub-a/*.nwb")
        ''
    """
    if not any("{" in pattern and "}" in pattern for pattern in patterns):
        return ""
    return "; braces are not expanded: write *, ? or [ab], or give a list of globs (filters.path)"


def matches(path: str, pattern: str, by_name: bool = True) -> bool:
    """Return whether a path, or one of its parent folders, matches a glob.

    Args:
        path: relative to the glob's folder.
        pattern: ``*`` stays within a folder, ``**`` does not.
        by_name: match a glob without ``/`` against the file name in any folder.

    Example:
        >>> matches("sub-a/ses-1/x.nwb", "sub-?/**"), matches("sub-a/ses-1/x.nwb", "sub-?/*.nwb")
        (True, False)
        >>> matches("sub-a/x.nwb", "*.nwb"), matches("sub-a/x.nwb", "sub-[ab]/")
        (True, True)
    """
    if by_name and "/" not in pattern:
        path = path.rpartition("/")[2]
    expression = re.compile(glob_translate(pattern.rstrip("/")))
    parts = path.split("/")
    return any(expression.match("/".join(parts[: n + 1])) for n in range(len(parts)))
