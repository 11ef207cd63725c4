"""Construct an NWBFile from all valid parts of a file; the others are left out and reported."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any, cast

from hdmf.backends.io import HDMFIO
from hdmf.build import DatasetBuilder, GroupBuilder
from hdmf.spec import AttributeSpec, DatasetSpec
from pynwb import NWBFile

from foundation.common.errors import SourceError
from ingest.nwb.file.builder_parts import (
    AnyBuilder,
    PartError,
    PartManager,
    Unread,
    is_inside,
    path_of,
    remove,
    take_out,
    walk,
)
from ingest.nwb.file.builder_repair import DATES, NO_DATE, mend, refuse_if_vital
from ingest.nwb.file.table_rows import column_names, drop_column
from ingest.nwb.nwb_texts import unwrap_single_texts
from ingest.nwb.read_log import Damage, Notes, reason
from ingest.nwb.series.time_axis import flatten_time_stamps

log = logging.getLogger(__name__)

# Each kind of failure costs another round.
MOST_ROUNDS = 500
# Members of a series that its values and times do not depend on.
REMARKS = ("description", "comments", "control", "control_description")
IDENTITY = ("namespace", "neurodata_type", "object_id", "nwb_version")


def constructed(io: HDMFIO, unread: list[Unread], notes: Notes) -> NWBFile:
    """Return the file of hdmf's builders, without parts that cannot be read or constructed.

    pynwb constructs all objects of a file or none: this removes an object that fails and tries the rest again. Missing
    texts that NWB requires, and that no number depends on, are filled in.

    Args:
        io: the open file; its manager is a `PartManager`.
        unread: parts that ``io.read_builder()`` could not read.
        notes: gets each omitted part with the reason; counts ``parts_left_out``, ``texts_filled_in``, and what `mend`
            counts.

    Raises:
        SourceError: if the units' spike times, or the whole file, cannot be read.
    """
    root = io.read_builder()
    manager = io.manager
    assert isinstance(manager, PartManager)
    take_out(root, *(gone for item in unread if (gone := _leave_unread(item, manager, notes)) is not None))
    with notes.part("the file's texts"):
        unwrap_single_texts(root)
    with notes.part("the file's time stamps"):
        flatten_time_stamps(root)
    mend(root, manager, notes)
    rounds = 0
    while rounds < MOST_ROUNDS:
        try:
            nwb = manager.construct(root)
        except PartError as failure:
            log.debug("%s cannot be constructed", path_of(failure.builder), exc_info=True)
            lost = notes["parts_left_out"]
            _mend_failures(root, [failure, *_alike(root, failure, manager)], manager, notes)
            rounds += notes["parts_left_out"] > lost
        else:
            nwb.read_io = io
            return nwb
    raise SourceError(f"more than {MOST_ROUNDS} of its parts cannot be read")


def _leave_unread(item: Unread, manager: PartManager, notes: Notes) -> AnyBuilder | None:
    """Note an unreadable part; return the series or column to remove with it."""
    refuse_if_vital(item.path, item.why)
    holder: Any = item.holder
    while holder is not None and manager.get_builder_dt(holder) is None:
        holder = holder.parent
    if holder is not None and (manager.is_a(holder, "TimeSeries") or manager.is_a(holder, "VectorData")):
        within = item.path.removeprefix(path_of(holder)).lstrip("/@")
        _lose(holder, f"{within}: {item.why}", manager, notes)
        return cast(AnyBuilder, holder)
    notes.lose(item.path, item.why)
    return None


def _lose(builder: AnyBuilder, why: str, manager: PartManager, notes: Notes) -> None:
    """Note an object to remove, with its content."""
    path = path_of(builder)
    refuse_if_vital(path, why)
    notes.lose(path, why, manager.get_builder_dt(builder) or "")
    if isinstance(builder, GroupBuilder):  # its content is lost with it
        notes.damaged += [Damage(path_of(inner), manager.get_builder_dt(inner) or "") for inner in walk(builder)]


def _alike(root: GroupBuilder, failure: PartError, manager: PartManager) -> list[PartError]:
    """Return the failures of other objects of the same type."""
    kind = (manager.get_builder_ns(failure.builder), manager.get_builder_dt(failure.builder))
    found = []
    for builder in walk(root):
        if builder is failure.builder or (manager.get_builder_ns(builder), manager.get_builder_dt(builder)) != kind:
            continue
        try:
            manager.construct(builder)
        except PartError as other:
            if other.builder is builder:
                found.append(other)
    return found


def _mend_failures(root: GroupBuilder, failures: list[PartError], manager: PartManager, notes: Notes) -> None:
    """Repair several objects and remove those that cannot be repaired, in one walk."""
    manager.clear_cache()
    doomed: dict[int, AnyBuilder] = {}
    for failure in failures:
        if not is_inside(failure.builder, doomed) and not _mend_failure(root, failure, manager, notes):
            doomed[id(failure.builder)] = failure.builder
    take_out(root, *doomed.values())


def _mend_failure(root: GroupBuilder, failure: PartError, manager: PartManager, notes: Notes) -> bool:
    """Fill in missing texts of an object; otherwise remove as little of it as possible.

    Returns:
        Whether the object stays; if not, ``notes`` list it and the caller removes it.
    """
    builder, why = failure.builder, reason(failure.error)
    path = path_of(builder)
    if filled := _fill_in(builder, why, manager):
        notes.leave(path or "the file", f"{', '.join(filled)}: not given, left empty", "texts_filled_in")
        return True
    for names in _suspects(builder, why, manager):
        kept = _members(builder)
        for name in names:
            _remove(builder, name, manager)
        if _constructs(builder, manager):
            for name in names:
                refuse_if_vital(f"{path}/{name}", why)
                notes.lose(f"{path}/{name}".lstrip("/"), why)
            return True
        for members, before in kept:
            members.clear()
            members.update(before)
    if builder is root:
        raise SourceError(why)
    _lose(builder, why, manager, notes)
    return False


def _constructs(builder: AnyBuilder, manager: PartManager) -> bool:
    """Return whether an object can be constructed with its missing texts filled in."""
    for _ in range(10):
        try:
            manager.construct(builder)
        except PartError as failure:
            if failure.builder is not builder or not _fill_in(builder, reason(failure.error), manager):
                return False
        else:
            return True
        finally:
            manager.clear_cache()
    return False


def _fill_in(builder: AnyBuilder, why: str, manager: PartManager) -> list[str]:
    """Fill in the texts that an object's type requires; return their names."""
    filled = []
    for argument in re.findall(r"missing argument '(\w+)'", why):
        spec = manager.type_map.get_map(builder).get_carg_spec(argument)
        place = _place(builder, spec, manager)
        if place is None or spec.dtype not in ("text", "utf8", "ascii", "isodatetime") or spec.shape is not None:
            return []
        holder, name = place
        value = NO_DATE if spec.dtype == "isodatetime" else ""
        if _value(holder, name) == value:
            return []  # already filled in, without success
        kind = "attributes" if isinstance(spec, AttributeSpec) else "datasets"
        if isinstance(holder, GroupBuilder) and holder.obj_type.get(name, kind) != kind:
            return []  # something else has the name
        if isinstance(spec, AttributeSpec):
            holder.set_attribute(name, value)
        elif isinstance(holder, GroupBuilder):
            holder.set_dataset(DatasetBuilder(name, data=value, source=holder.source))
        else:
            return []
        filled.append(name)
    return filled


def _value(holder: AnyBuilder, name: str) -> Any:
    """Return an attribute, or the data of a dataset, by name; None if missing."""
    dataset = holder.datasets.get(name) if isinstance(holder, GroupBuilder) else None
    value = holder.attributes.get(name) if dataset is None else dataset.data
    return value if isinstance(value, str) else None


def _place(builder: AnyBuilder, spec: Any, manager: PartManager) -> tuple[AnyBuilder, str] | None:
    """Return the group or dataset of a spec and its name there; None if missing."""
    top = manager.type_map.get_map(builder).spec
    if not isinstance(spec, AttributeSpec | DatasetSpec) or getattr(spec, "data_type", None) is not None:
        return None
    names: list[str] = []
    while spec is not None and spec is not top:
        names.insert(0, spec.name)
        spec = spec.parent
    holder: Any = builder
    for name in names[:-1]:
        holder = None if holder is None or name is None else {**holder.groups, **holder.datasets}.get(name)
    return None if holder is None or not names or names[-1] is None else (holder, names[-1])


def _suspects(builder: AnyBuilder, why: str, manager: PartManager) -> Iterator[list[str]]:
    """Yield members to try removing: first those named by the error, then each one."""
    if not isinstance(builder, GroupBuilder):
        return
    if manager.is_a(builder, "DynamicTable"):
        yield from ([name] for name in column_names(builder))
        return
    own = [name for name in (*builder.datasets, *builder.links, *builder.attributes) if name not in IDENTITY]
    general = builder.groups.get("general") if builder.parent is None else None
    own += [f"general/{name}" for name in general.datasets] if general is not None else []
    if manager.is_a(builder, "TimeSeries"):
        own = [name for name in own if name in REMARKS]
    named = re.findall(r"incorrect (?:type|shape) for '?(\w+)", why)
    if found := [name for name in own if name.rpartition("/")[2] in named]:
        yield found
    yield from ([name] for name in own)


def _remove(builder: AnyBuilder, name: str, manager: PartManager) -> None:
    assert isinstance(builder, GroupBuilder)
    if manager.is_a(builder, "DynamicTable"):
        drop_column(builder, name)
        return
    if builder.parent is None and name in DATES:
        builder.datasets[name] = DatasetBuilder(name, data=DATES[name], parent=builder, source=builder.source)
        return
    group, _, member = name.rpartition("/")
    remove(builder.groups[group] if group else builder, member)


def _members(builder: AnyBuilder) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return all member dictionaries that `_remove` may change, with copies."""
    if not isinstance(builder, GroupBuilder):
        return []
    groups = [builder, *([builder.groups["general"]] if "general" in builder.groups else [])]
    found = [members for one in groups for members in (one.groups, one.datasets, one.links, one.attributes)]
    return [(members, dict(members)) for members in [*found, *(one.obj_type for one in groups)]]
