"""Globs of paths, with the same meaning for folders, objects and archives."""

from __future__ import annotations

import re

from fsspec.utils import glob_translate

WILDCARDS = "*?["


def is_glob(path: str) -> bool:
    """Whether a path has wildcards."""
    return any(c in path for c in WILDCARDS)


def fixed_part(pattern: str) -> str:
    """The folder before a glob's first wildcard.

    Example:
        >>> fixed_part("sub-a/ses-*/x.nwb"), fixed_part("*.nwb")
        ('sub-a', '')
    """
    fixed = pattern[: min(pattern.index(c) for c in WILDCARDS if c in pattern)]
    return fixed.rpartition("/")[0]


def matches(path: str, pattern: str) -> bool:
    """Whether a path, or a folder that it is in, has the form of a glob. One without ``/`` is for the name alone.

    Example:
        >>> matches("sub-a/ses-1/x.nwb", "sub-?/**"), matches("sub-a/ses-1/x.nwb", "sub-?/*.nwb")
        (True, False)
        >>> matches("sub-a/x.nwb", "*.nwb"), matches("sub-a/x.nwb", "sub-[ab]/")
        (True, True)
    """
    if "/" not in pattern:
        path = path.rpartition("/")[2]
    expression = re.compile(glob_translate(pattern.rstrip("/")))
    parts = path.split("/")
    return any(expression.match("/".join(parts[: n + 1])) for n in range(len(parts)))
