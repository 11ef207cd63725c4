"""Names of columns, tables and series against the expressions of a recipe."""

from __future__ import annotations

import re
from collections.abc import Iterable


def matches(patterns: Iterable[str], name: str) -> bool:
    """Whether one of the expressions matches the whole name, upper and lower case alike."""
    return any(re.fullmatch(pattern, name, re.IGNORECASE) for pattern in patterns)


def first_match(patterns: Iterable[str], names: Iterable[str]) -> str | None:
    """The name that the first successful expression matches."""
    names = list(names)
    for pattern in patterns:
        for name in names:
            if re.fullmatch(pattern, name, re.IGNORECASE):
                return name
    return None


def standard_name(names: dict[str, list[str]], name: str) -> str:
    """The standard name of ``name``, or ``name`` itself.

    Example:
        >>> standard_name({"nrem": ["nrem", "sws"]}, "SWS"), standard_name({}, "IS")
        ('nrem', 'IS')
    """
    return next((standard for standard, patterns in names.items() if matches(patterns, name)), name)


def search_groups(patterns: Iterable[str], text: str) -> str | None:
    """The first group of the first expression that is found in ``text``, stripped; None where none is."""
    for pattern in patterns:
        found = re.search(pattern, text, re.IGNORECASE)
        if found and found.groups() and found.group(1):
            return str(found.group(1)).strip()
    return None
