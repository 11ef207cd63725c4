"""Divisions of the mouse's brain that regions are part of, by the ontology that ships with the recipes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import lru_cache

from foundation.common.settings.resources import config_folder

# The ten coarse parts of the International Brain Laboratory's "Cosmos" mapping of the Allen atlas.
DIVISIONS = ("Isocortex", "OLF", "HPF", "CTXsp", "CNU", "TH", "HY", "MB", "HB", "CB")


def divisions_of(regions: Sequence[str]) -> tuple[str, ...]:
    """Return the division of each region; a region that the ontology does not have is its own division.

    Example:
        >>> divisions_of(["CA1", "VISp5", "DG", "M1"])
        ('HPF', 'Isocortex', 'HPF', 'M1')
    """
    return tuple(_division(region) for region in regions)


def _division(region: str) -> str:
    parents = _parents()
    name: str | None = region
    while name is not None and name not in DIVISIONS:
        name = parents.get(name)
    return name or region


@lru_cache(maxsize=1)
def _parents() -> dict[str, str | None]:
    """Acronym -> acronym of the structure that it is part of."""
    with (config_folder() / "regions" / "allen_ccf.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    acronym = {row["id"]: row["acronym"] for row in rows}
    return {row["acronym"]: acronym.get(row["parent_id"]) for row in rows}
