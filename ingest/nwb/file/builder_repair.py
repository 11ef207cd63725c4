"""Repair a file's builders before pynwb constructs them: unknown types, ids, tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from hdmf.build import DatasetBuilder, GroupBuilder

from foundation.common.errors import SourceError
from ingest.nwb.file.builder_parts import AnyBuilder, PartManager, is_inside, path_of, take_out, walk
from ingest.nwb.file.table_rows import drop_column, flatten_columns, mend_rows, pair_indices
from ingest.nwb.read_log import Notes

# Places with a fixed NWB type: an unknown extension type there is read as NWB's.
PLACES = {
    "units": "Units",
    "general/subject": "Subject",
    "general/extracellular_ephys/electrodes": "DynamicTable",
    "intervals/trials": "TimeIntervals",
    "intervals/epochs": "TimeIntervals",
    "intervals/invalid_times": "TimeIntervals",
}
# Dates that pynwb requires, and their values if the file has none that can be read.
NO_DATE = "0001-01-01T00:00:00+00:00"
DATES: dict[str, Any] = {
    "session_start_time": NO_DATE,
    "timestamps_reference_time": NO_DATE,
    "file_create_date": [NO_DATE],
}
VITAL = ("units", "units/spike_times", "units/spike_times_index")


def refuse_if_vital(path: str, why: str) -> None:
    """Raise if an unreadable part holds the units' spike times.

    Raises:
        SourceError: naming the part and what is wrong with it.
    """
    if path.partition("@")[0].strip("/") in VITAL:
        raise SourceError(f"{path.strip('/')} cannot be read: {why}")


def mend(root: GroupBuilder, manager: PartManager, notes: Notes) -> None:
    """Repair a file's builders for pynwb without inventing any number.

    Args:
        root: of the whole file.
        manager: the type map.
        notes: gets the changes and omissions; counts ``parts_left_out``, ``texts_filled_in`` and what `mend_rows`
            counts.

    Raises:
        SourceError: if the units' spike times are unreadable.
    """
    _leave_unknown(root, manager, notes)
    _mend_tables(root, manager, notes)
    if "general" not in root.groups:
        root.set_group(GroupBuilder("general", source=root.source))
    for name in [name for name in DATES if name not in root.datasets]:
        root.set_dataset(DatasetBuilder(name, data=DATES[name], source=root.source))
        if not any(note.path == name for note in notes.left):
            notes.leave(name, "not given, left empty", "texts_filled_in")
    _text_of_number(root, "general/subject/subject_id", notes)


def _why_unknown(builder: AnyBuilder, manager: PartManager) -> str:
    """Return why an object's type is unknown; ``''`` if it is known or the object has none."""
    name, namespace = manager.get_builder_dt(builder), manager.get_builder_ns(builder)
    if name is None or namespace is None:
        return ""
    catalog = manager.namespace_catalog
    if namespace not in catalog.namespaces:
        return f"its type {name} is one of the extension {namespace}, whose definition is not in the file"
    try:
        catalog.get_hierarchy(namespace, name)
    except (KeyError, ValueError, TypeError) as error:
        return f"its type {name} is not in the definition of {namespace} ({error})"
    return ""


def _leave_unknown(root: GroupBuilder, manager: PartManager, notes: Notes) -> None:
    """Remove objects of unknown types; at places with a fixed NWB type, set that type instead."""
    doomed: dict[int, AnyBuilder] = {}
    for builder in list(walk(root)):
        why = _why_unknown(builder, manager)
        if not why or is_inside(builder, doomed) or not _is_held(builder):
            continue
        path = path_of(builder)
        if path in PLACES:
            builder.set_attribute("namespace", "core")
            builder.set_attribute("neurodata_type", PLACES[path])
            notes.leave(f"{path}@neurodata_type", f"{why}: read as {PLACES[path]}", "parts_left_out")
            continue
        refuse_if_vital(path, why)
        notes.lose(path, why, manager.get_builder_dt(builder) or "")
        if manager.is_a(builder.parent, "DynamicTable"):
            drop_column(builder.parent, builder.name)
        doomed[id(builder)] = builder
    take_out(root, *doomed.values())


def _is_held(builder: AnyBuilder) -> bool:
    """Return whether a builder is still in its group: it may have been removed with its column."""
    holder = builder.parent
    return holder is not None and any(
        builder is members.get(builder.name) for members in (holder.groups, holder.datasets)
    )


def _mend_tables(root: GroupBuilder, manager: PartManager, notes: Notes) -> None:
    """Repair all tables; an additional units table that cannot be repaired is left out."""
    for builder in list(walk(root)):
        if not isinstance(builder, GroupBuilder) or not manager.is_a(builder, "DynamicTable"):
            continue
        pair_indices(builder, manager, notes)
        flatten_columns(builder, manager)
        try:
            mend_rows(builder, manager, notes)
        except SourceError as error:
            path = path_of(builder)
            if path == "units":
                raise
            notes.lose(path, str(error), manager.get_builder_dt(builder) or "")
            take_out(root, builder)


def _text_of_number(root: GroupBuilder, path: str, notes: Notes) -> None:
    """Convert a number to text where NWB expects a text."""
    builder = root.get(path)
    value = getattr(builder, "data", None)
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, int | float | np.number) and not isinstance(value, bool | np.bool_):
        text = str(int(value)) if float(value).is_integer() else str(value)
        builder["data"] = text
        notes.leave(path, f"the number {value}: read as the text {text!r}", "texts_filled_in")
