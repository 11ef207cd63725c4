"""Which table of a file holds the spike trains."""

from __future__ import annotations

from typing import Any

from hdmf.common import DynamicTable, VectorIndex
from pynwb import NWBFile
from pynwb.misc import Units

from foundation.common.errors import SourceError
from ingest.nwb.read_log import Notes
from ingest.nwb.series.sampled_series import find_containers
from ingest.recipe.name_patterns import matches
from ingest.recipe.recipe_rules import UnitRules


def find_units(nwb: NWBFile, rules: UnitRules, notes: Notes) -> tuple[str, Any] | None:
    """Find the table of spike-sorted units.

    The first that an expression of the recipe's ``units.tables`` matches is taken, else the file's own ``units``, else
    the first by its path.

    Args:
        nwb: the open file.
        rules: which table is preferred.
        notes: gets every other table with spike times; without a recipe that names one they count as
            ``units_tables_left_out``.

    Returns:
        The path and the table; None if no table has spike times.

    Raises:
        SourceError: if the table that the recipe prefers is damaged, and another would be read in its place.
    """
    found: list[tuple[str, Any]] = [("units", nwb.units)] if has_spikes(nwb.units) else []
    elsewhere = [(path, item) for path, item in find_containers(nwb) if has_spikes(item) and _is_of_units(item)]
    found += sorted(elsewhere, key=lambda item: item[0])
    for part in notes.damaged:
        rank = _rank(part.path, rules)
        if part.neurodata_type == "Units" and rank < min((_rank(path, rules) for path, _ in found), default=rank):
            raise SourceError(f"{part.path}, which the recipe's units.tables names, cannot be read")
    unique = list({id(table): (path, table) for path, table in reversed(found)}.values())[::-1]
    if not unique:
        return None
    named = [one for pattern in rules.tables for one in unique if matches([pattern], one[0])]
    taken = (named or unique)[0]
    for path, table in unique:
        if table is not taken[1]:
            why = f"a table of {len(table)} units beside {taken[0]}; the recipe's units.tables chooses"
            notes.leave(path, why, "" if named else "units_tables_left_out")
    return taken


def _rank(path: str, rules: UnitRules) -> int:
    """Which expression of the recipe's ``units.tables`` names a table: the first is preferred; their number if none."""
    named = [matches([pattern], path) for pattern in rules.tables]
    return named.index(True) if True in named else len(named)


def has_spikes(table: Any) -> bool:
    """Whether an object is a table of units with spike times."""
    return isinstance(table, DynamicTable) and len(table) > 0 and "spike_times" in table.colnames


def _is_of_units(table: DynamicTable) -> bool:
    """Whether a table outside ``units`` has a row per unit, and not a row per spike or per trial."""
    return isinstance(table, Units) or (
        isinstance(table["spike_times"], VectorIndex) and not {"start_time", "timestamp"} & set(table.colnames)
    )
