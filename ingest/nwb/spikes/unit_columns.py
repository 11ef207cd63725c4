"""The units table of an NWB file: labels, brain regions and other properties of units."""

from __future__ import annotations

from typing import Any

import numpy as np
from pynwb import NWBFile

from foundation.store import Units
from ingest.nwb.nwb_arrays import load
from ingest.nwb.read_log import Notes
from ingest.nwb.spikes.electrodes import UnitElectrodes, devices, group_names, unit_electrodes
from ingest.nwb.table_columns import read_columns
from ingest.recipe.name_patterns import first_match, free_name, matches, safe_name, search_groups
from ingest.recipe.recipe_rules import RegionRules, UnitRules
from ingest.recipe.regions import atlas_for

STANDARD = ("cell_type", "location", "quality", "group", "probe")
SPECIAL = ("spike_times", "obs_intervals")
UNKNOWN_REGION = -1


def read_units(table: Any, rules: UnitRules, notes: Notes, path: str = "units", nwb: NWBFile | None = None) -> Units:
    """Return the properties from a table with a row per unit (spike-sorted units, or imaged cells).

    Args:
        table: a DynamicTable.
        rules: which columns hold which label.
        notes: gets a note on each column; counts columns left out as ``unit_columns_left_out`` and unreadable ones as
            ``parts_left_out``.
        path: the table's path in the file.
        nwb: the open file, for its electrodes and devices.

    Returns:
        ``id``; ``cell_type``, ``location``, ``quality``, ``group``, ``probe`` and ``probe_description`` if known;
        values of the units' electrodes (``x``, ``y``, ``z``...); and every other valid column under its own name.
    """
    electrodes, n_damaged = None, len(notes.damaged)
    with notes.part(f"{path}/electrodes"):
        electrodes = unit_electrodes(table, rules.electrodes, None if nwb is None else nwb.electrodes)
    if electrodes is not None:
        notes.take(f"{path}/{electrodes.column}", "the electrodes of each unit")
    unread = rules.electrodes if len(notes.damaged) > n_damaged else []
    named = [name for name in table.colnames if matches(unread, name)] if electrodes is None else [electrodes.column]
    skip = (*SPECIAL, *named)
    dropped = tuple(name for name in table.colnames if matches(rules.drop, name))
    for name in dropped:
        notes.leave(f"{path}/{name}", "the recipe drops it")
    found = read_columns(table, path, "unit_columns_left_out", notes, (*skip, *dropped), rules.array_size)
    probes: dict[str, np.ndarray] = {}
    from_electrodes: dict[str, np.ndarray | None] = {}
    with notes.part("electrodes, groups of"):
        groups = group_names(table, electrodes)
        probes = devices(groups, nwb)
        from_electrodes = {"group": groups, "probe": probes.get("probe")}
    if electrodes is not None and "location" in electrodes.table.colnames:
        with notes.part("electrodes/location"):
            from_electrodes["location"] = electrodes.values("location")

    columns: dict[str, np.ndarray] = {"id": np.arange(len(table))}
    with notes.part(f"{path}/id"):
        columns["id"] = np.asarray(load(table.id.data, f"{path}/id")).astype(np.int64)
    taken: dict[str, list[str]] = {}
    for standard in STANDARD:
        values, name = _standard(standard, found, rules)
        label = _filled(values, from_electrodes.get(standard))
        if label is None:
            continue
        if standard == "location":
            label = np.array([search_groups(rules.location_patterns, v) or v for v in label.tolist()], dtype=str)
        if label.dtype.kind == "U":
            label = np.array(["" if matches(rules.missing, v) else v for v in label.tolist()], dtype=str)
        columns[standard] = label
        if name:
            taken[name] = [*taken.get(name, []), standard]
        if values is None or label.tolist() != values.tolist():
            notes.take(f"{path}/{name or 'electrodes'}", f"{standard}, {_known(label)}")
        else:
            notes.take(f"{path}/{name}", f"{standard}, {_known(label)}")
    for name, values in found.items():
        # A column used as a label is kept again only if it holds more than the label.
        if name in taken:
            continue
        kept = free_name([name, f"source_{name}"], columns)
        columns[kept] = values
        notes.take(f"{path}/{name}", f"column {kept}")
    if "probe_description" in probes:
        columns.setdefault("probe_description", probes["probe_description"])
    if electrodes is not None:
        columns |= _electrode_columns(electrodes, rules, columns, notes)
    return Units(len(table), columns)


def with_regions(units: Units, rules: RegionRules, species: str, notes: Notes) -> Units:
    """Add the columns ``region`` (an acronym, or ``''``) and ``region_id`` (or -1) beside ``location``.

    Args:
        units: with the column ``location``; without it they are returned unchanged.
        rules: the atlas, and meanings of the file's names.
        species: from the file; without a rule, names of animals other than mice are unchanged.
        notes: gets ``regions_unknown``: units whose location is not in the atlas.
    """
    atlas = atlas_for(rules, species)
    if "location" not in units:
        return units
    texts = units.text("location")
    if atlas is None:
        names = ", ".join(sorted(set(texts.tolist()) - {""})[:20])
        notes.leave("location", f"no atlas is known for {species or 'an unnamed species'}: kept as it is ({names})")
        return units
    found = {text: atlas.find(text, rules.names) for text in sorted(set(texts.tolist()) - {""})}
    structures = [found.get(text) for text in texts.tolist()]
    unknown = [text for text, structure in found.items() if structure is None]
    notes["regions_unknown"] += int(np.isin(texts, unknown).sum())
    for text, structure in found.items():
        if structure is None:
            notes.leave(f"location {text!r}", "no such name in the atlas: region stays unknown")
        else:
            notes.take(f"location {text!r}", f"region {structure.acronym} ({structure.id}, {structure.name})")
    columns = dict(units)
    for name in ("region", "region_id"):
        if name in columns:
            columns[free_name([f"source_{name}"], columns)] = columns.pop(name)
    columns["region"] = np.array(["" if one is None else one.acronym for one in structures], dtype=str)
    columns["region_id"] = np.array([UNKNOWN_REGION if one is None else one.id for one in structures], dtype=np.int64)
    return Units(len(units), columns)


def _standard(standard: str, found: dict[str, np.ndarray], rules: UnitRules) -> tuple[np.ndarray | None, str]:
    """Return the first non-empty column of a rule, and its name."""
    names = [name for name, values in found.items() if values.ndim == 1]
    while (name := first_match(getattr(rules, standard), names)) is not None:
        values = found[name]
        # A quality may be a number (an isolation distance); the other labels are always names.
        if standard != "quality" and values.dtype.kind != "U":
            values = values.astype(str)
        if values.dtype.kind != "U" or not all(matches(rules.missing, v) for v in values.tolist()):
            return values, name
        names.remove(name)
    return None, ""


def _filled(values: np.ndarray | None, others: np.ndarray | None) -> np.ndarray | None:
    """Return ``values``, filled with ``others`` where a text is missing."""
    if values is None or others is None or values.dtype.kind != "U" or others.dtype.kind != "U":
        return others if values is None else values
    return np.array([a or b for a, b in zip(values.tolist(), others.tolist(), strict=True)], dtype=str)


def _electrode_columns(
    electrodes: UnitElectrodes, rules: UnitRules, columns: dict[str, np.ndarray], notes: Notes
) -> dict[str, np.ndarray]:
    kept: dict[str, np.ndarray] = {}
    for name in electrodes.table.colnames:
        if not matches(rules.electrode_columns, name):
            continue
        values = None
        with notes.part(f"electrodes/{name}"):
            values = electrodes.values(name)
        if values is None or (values.dtype.kind == "f" and not np.isfinite(values).any()):
            continue
        own = free_name([safe_name(name), safe_name(f"electrode_{name}")], columns | kept)
        kept[own] = values
        how = "the most frequent" if values.dtype.kind == "U" else "the mean"
        notes.take(f"electrodes/{name}", f"column {own}: {how} of a unit's electrodes")
    return kept


def _known(values: np.ndarray) -> str:
    known = int((values != "").sum()) if values.dtype.kind == "U" else len(values)
    return f"known of {known} of {len(values)}"
