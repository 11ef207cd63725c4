"""Report every object of a file that was not read."""

from __future__ import annotations

from typing import Any

from hdmf.build import GroupBuilder
from pynwb import NWBFile

from ingest.nwb.file.builder_parts import AnyBuilder, PartManager, path_of
from ingest.nwb.file.table_rows import column_names, column_parts
from ingest.nwb.read_log import Notes

# Shorter note paths for some places in the file.
SHORT = {"general/extracellular_ephys/electrodes": "electrodes"}
# Place or type -> why it is not read.
PLACES = {
    "scratch": "scratch data, which is never read",
    "stimulus/templates": "a template: presented stimuli are read from stimulus/presentation",
    "electrodes": "used only for the location and group of units, unless units.electrode_columns names it",
    "general/devices": "a device: see the units' columns probe and probe_description",
}
TYPES = {
    "ElectrodeGroup": "see the units' columns group and probe",
    "ImagingPlane": "see the units' columns plane and location",
    "LabMetaData": "about the experiment",
    "ImageSegmentation": "cells of a series that is not read",
    "PlaneSegmentation": "cells of a series that is not read",
    "Images": "images",
    "ElectricalSeries": "voltage",
    "ImageSeries": "images",
    "TimeSeries": "a series of a file without activity of units",
    "DynamicTable": "a table without times in its rows that is not the units table",
}


def leave_the_rest(nwb: NWBFile, notes: Notes) -> None:
    """Note every object of a file that no reader noted as left, with the reason.

    Objects are groups and datasets with a type of NWB or of an extension, and groups and datasets at places unknown to
    NWB. Members of a noted object (a series' data, a table's columns) are not noted separately.

    Args:
        nwb: the open file, after reading.
        notes: the notes so far; gets the rest. Nothing is counted, as these objects are left on purpose.
    """
    io = nwb.read_io
    if io is None or not isinstance(io.manager, PartManager):
        return
    paths = [note.path for note in (*notes.taken, *notes.left)]
    noted = {*paths, *(path.rpartition(", ")[0] for path in paths), *(path.rpartition("@")[0] for path in paths)}
    _look(io.read_builder(), io.manager, noted, notes)


def _look(group: GroupBuilder, manager: PartManager, noted: set[str], notes: Notes) -> None:
    for child in (*group.groups.values(), *group.datasets.values()):
        path = note_path(child)
        kind = manager.get_builder_dt(child)
        if path in noted:
            continue
        if kind is None:
            if isinstance(child, GroupBuilder) and (child.matched_spec is not None or _objects_in(child, manager)):
                _look(child, manager, noted, notes)
            elif child.matched_spec is None and (not isinstance(child, GroupBuilder) or not child.is_empty()):
                notes.leave(path, "not a part of NWB")
        elif isinstance(child, GroupBuilder) and manager.is_a(child, "DynamicTable"):
            _look_at_table(child, path, manager, noted, notes)
        elif isinstance(child, GroupBuilder) and not manager.is_a(child, "TimeSeries") and _objects_in(child, manager):
            _look(child, manager, noted, notes)
        else:
            notes.leave(path, _why(child, path, manager))


def _look_at_table(table: GroupBuilder, path: str, manager: PartManager, noted: set[str], notes: Notes) -> None:
    if path != "electrodes" and not any(one.startswith(f"{path}/") for one in noted):
        notes.leave(path, _why(table, path, manager))
        return
    named = column_names(table)
    parts = {part for name in named for part in column_parts(table, name)} | {"id"}
    for name in named:
        if f"{path}/{name}" not in noted:
            notes.leave(f"{path}/{name}", PLACES.get(path, "not a column that is read"))
    for name in table.datasets:
        if name not in parts and f"{path}/{name}" not in noted:
            notes.leave(f"{path}/{name}", "not in the table's colnames")


def _objects_in(group: GroupBuilder, manager: PartManager) -> bool:
    """Return whether a group holds groups that are separate objects."""
    return any(manager.get_builder_dt(one) or _objects_in(one, manager) for one in group.groups.values())


def place_of(nwb: NWBFile, container: Any) -> str:
    """Return the note path of a container; its name if the file is in memory."""
    manager: Any = getattr(nwb.read_io, "manager", None)
    builder = None if manager is None else manager.get_builder(container)
    return str(container.name) if builder is None else note_path(builder)


def note_path(builder: AnyBuilder) -> str:
    """Return the note path of an object."""
    path = path_of(builder)
    for place, short in SHORT.items():
        if path == place or path.startswith(f"{place}/"):
            return path.replace(place, short, 1)
    return path


def _why(builder: AnyBuilder, path: str, manager: PartManager) -> str:
    kind = manager.get_builder_dt(builder)
    for place, why in PLACES.items():
        if path == place or path.startswith(f"{place}/"):
            return f"{kind}: {why}"
    for parent, why in TYPES.items():
        if manager.is_a(builder, parent):
            return f"{kind}: {why}"
    if isinstance(builder, GroupBuilder) and not (builder.groups or builder.datasets or builder.links):
        return f"{kind}: empty"
    return f"{kind}: a type that is not read"
