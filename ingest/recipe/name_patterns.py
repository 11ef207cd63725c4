"""Match names of columns, tables and series with a recipe's regular expressions."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from itertools import chain, count

from foundation.common.output.printable import replace_unprintable
from ingest.recipe.pattern_cost import LONGEST_NAME, LONGEST_TEXT


def matches(patterns: Iterable[str], name: str) -> bool:
    """Return whether an expression matches the whole name, ignoring case."""
    name = name[:LONGEST_NAME]
    return any(re.fullmatch(pattern, name, re.IGNORECASE) for pattern in patterns)


def first_match(patterns: Iterable[str], names: Iterable[str]) -> str | None:
    """Return the name that the first matching expression matches."""
    names = list(names)
    for pattern in patterns:
        for name in names:
            if re.fullmatch(pattern, name[:LONGEST_NAME], re.IGNORECASE):
                return name
    return None


def standard_name(names: dict[str, list[str]], name: str) -> str:
    """Return the standard name of ``name``, or ``name`` itself.

    Example:
        >>> standard_name({"nrem": ["nrem", "sws"]}, "SWS"), standard_name({}, "IS")
        ('nrem', 'IS')
    """
    return next((standard for standard, patterns in names.items() if matches(patterns, name)), name)


def search_groups(patterns: Iterable[str], text: str) -> str | None:
    """Return the stripped first group of the first expression found in ``text``; None if none matches."""
    for pattern in patterns:
        found = re.search(pattern, text[:LONGEST_TEXT], re.IGNORECASE)
        if found and found.groups() and found.group(1):
            return str(found.group(1)).strip()
    return None


def safe_name(name: str) -> str:
    """Return a valid store name: no path separators, no reserved prefix.

    Example:
        >>> safe_name("cell_type"), safe_name("../../etc/x"), safe_name("__hidden"), safe_name("..")
        ('cell_type', '.._.._etc_x', '_hidden', '_')
    """
    name = re.sub(r"[/\\]", "_", replace_unprintable(name, "_")).strip()[:200]
    name = re.sub("^_{2,}", "_", name)
    return "_" if not name.strip(".") or name == "zarr.json" else name


def free_name(choices: list[str], taken: Container[str]) -> str:
    """Return the first free choice, or else the last one with a number.

    Example:
        >>> free_name(["a", "b"], {"a"}), free_name(["a"], {"a", "a_2"})
        ('b', 'a_3')
    """
    numbered = (f"{choices[-1]}_{n}" for n in count(2))
    return next(name for name in chain(choices, numbered) if name not in taken)
