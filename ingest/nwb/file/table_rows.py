"""Repair tables in hdmf's builders: flatten columns, cut to complete rows, or leave out misfits."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from hdmf.build import DatasetBuilder, GroupBuilder, LinkBuilder, ReferenceBuilder
from hdmf.query import ReferenceResolver

from foundation.common.errors import SourceError
from ingest.nwb.file.builder_parts import PartManager, path_of, remove
from ingest.nwb.nwb_arrays import load
from ingest.nwb.read_log import Notes, is_damage

# Columns that every row needs.
ROW_TIMES = ("start_time", "stop_time", "timestamp")


def column_names(table: GroupBuilder) -> list[str]:
    """Return the columns of a table's ``colnames``, in order."""
    names = table.attributes.get("colnames")
    if names is None:
        return []
    return [name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in np.ravel(names)]


def drop_column(table: GroupBuilder, name: str) -> None:
    """Remove a column from a table, with its index and its name."""
    for one in column_parts(table, name):
        remove(table, one)
    remove(table, name)
    kept = [column for column in column_names(table) if column != name]
    table.attributes["colnames"] = np.array(kept, dtype=object)


def column_parts(table: GroupBuilder, name: str) -> list[str]:
    """Return a column's dataset and its indices, the outermost last; its length is the number of rows."""
    parts, index_of = [name], {}
    members: dict[str, Any] = {**table.datasets, **{key: link.builder for key, link in table.links.items()}}
    for key, member in members.items():
        target = member.attributes.get("target") if isinstance(member, DatasetBuilder) else None
        target = target.builder if isinstance(target, ReferenceBuilder | LinkBuilder) else target
        if isinstance(target, DatasetBuilder):
            index_of[id(target)] = key
    while parts[-1] in members and (index := index_of.get(id(members[parts[-1]]))) and index not in parts:
        parts.append(index)
    return parts


def mend_rows(table: GroupBuilder, manager: PartManager, notes: Notes) -> None:
    """Make all columns of a table equally long.

    A table of times is cut to the rows with all times; other tables get the most common length, and units tables that
    of their spike trains. Columns of another length are left out. Rows are renumbered if their ids have another length.

    Args:
        table: the builder of a DynamicTable.
        manager: the type map.
        notes: gets a note on each changed column; counts ``table_rows_cut``, ``table_ids_numbered`` and
            ``parts_left_out``.

    Raises:
        SourceError: if the units' spike trains do not fit the other columns.
    """
    path = path_of(table)
    for name in column_names(table):
        if name not in table.datasets and name not in table.links:
            drop_column(table, name)
            if not any(note.path == f"{path}/{name}" for note in notes.left):
                notes.lose(f"{path}/{name}", "named as a column, but not in the file")
    lengths = {name: _length(table, column_parts(table, name)[-1]) for name in column_names(table)}
    ids = _length(table, "id")
    known = [length for length in lengths.values() if length is not None]
    if not known or all(length == ids for length in lengths.values()):
        return
    times = [length for name, length in lengths.items() if name in ROW_TIMES and length is not None]
    if lengths.get("spike_times") is not None and manager.is_a(table, "Units"):
        whole = rows = _rows_of_trains(table, lengths, ids)
    elif times:
        whole, rows = max(times), min(times)
    else:
        whole = rows = _most_common(known, ids)
    for name, length in lengths.items():
        if length == rows:
            continue
        if not (length == whole and rows < whole and _cut(table, column_parts(table, name)[-1], rows)):
            drop_column(table, name)
            found = "no values" if length is None else f"{length} values"
            notes.lose(f"{path}/{name}", f"{found} for {rows} rows")
    if rows < whole:
        notes.leave(f"{path}, rows from {rows + 1} on", "not all times are given for them")
        notes["table_rows_cut"] += whole - rows
    if ids is not None and ids == whole and rows < whole and _cut(table, "id", rows):
        return
    if ids != rows and "id" in table.datasets:
        table.datasets["id"]["data"] = np.arange(rows)
        notes.leave(f"{path}/id", f"{ids} ids for {rows} rows: the rows are numbered", "table_ids_numbered")


def _rows_of_trains(table: GroupBuilder, lengths: dict[str, int | None], ids: int | None) -> int:
    """Return the number of spike trains if another column or the ids agree with it, or no column disagrees.

    Ids alone do not outvote an index that fits the spike times.
    """
    trains = lengths["spike_times"]
    assert trains is not None
    columns = [length for name, length in lengths.items() if name != "spike_times" and length is not None]
    others = [*columns, *([ids] if ids else [])]
    if not others or trains in others or (not columns and _index_fits(table)):
        return trains
    index, rows = column_parts(table, "spike_times")[-1], _most_common(others, ids)
    raise SourceError(f"{path_of(table)}.{index} is damaged: {trains} rows for {rows} units")


def _index_fits(table: GroupBuilder) -> bool:
    """Return whether the index assigns all spike times to units, and the first unit has a spike.

    An index that begins with 0 may hold starts and ends, with one row more than units.
    """
    index = column_parts(table, "spike_times")[1:]
    if len(index) != 1 or index[0] not in table.datasets:
        return False
    try:
        ends = np.asarray(load(table.datasets[index[0]].data, f"{path_of(table)}/{index[0]}"))
    except Exception:  # unreadable values fit nothing
        return False
    if ends.ndim != 1 or not len(ends) or ends.dtype.kind not in "iu":
        return False
    return bool(ends[0] > 0 and (ends[1:] >= ends[:-1]).all() and ends[-1] == _length(table, "spike_times"))


def _most_common(lengths: list[int], ids: int | None) -> int:
    """Return the most common column length; on a tie, that of the ids."""
    counts = Counter(lengths)
    return max(counts, key=lambda length: (counts[length], length == ids, length))


def _length(table: GroupBuilder, name: str) -> int | None:
    member: Any = table.datasets.get(name) or getattr(table.links.get(name), "builder", None)
    if not isinstance(member, DatasetBuilder):
        return None
    data = member.data
    shape = getattr(data, "shape", None)
    if shape is not None:
        return int(shape[0]) if len(shape) else None
    return len(data) if hasattr(data, "__len__") and not isinstance(data, str | bytes) else None


def _cut(table: GroupBuilder, name: str, rows: int) -> bool:
    """Cut a column, or the index of a ragged one, to this many rows; return False if impossible."""
    member = table.datasets.get(name)
    if member is None or isinstance(member.data, ReferenceResolver):
        return False
    try:
        member["data"] = load(member.data, f"{path_of(table)}/{name}")[:rows]
    except Exception:  # unreadable columns are left out
        return False
    return True


def flatten_columns(table: GroupBuilder, manager: PartManager) -> None:
    """Flatten ids, indices and columns of single values that lie in a file as ``(N, 1)`` or ``(1, N)``.

    Intervals and spike times without an index (a row per unit) are unchanged.

    Args:
        table: the builder of a DynamicTable; changed in place.
        manager: the type map.
    """
    for name, dataset in table.datasets.items():
        if name == "id" or manager.is_a(dataset, "VectorIndex"):
            _flatten(table, name)
    for name in column_names(table):
        dataset = table.datasets.get(name)
        if dataset is None or name == "obs_intervals":
            continue
        ragged = len(column_parts(table, name)) > 1
        is_vector = (
            name in ROW_TIMES
            or (name == "spike_times" and ragged)
            or manager.is_a(dataset, "DynamicTableRegion")
            or (not ragged and name != "spike_times" and _is_row_of(dataset, table.datasets.get("id")))
        )
        if is_vector:
            _flatten(table, name)


def pair_indices(table: GroupBuilder, manager: PartManager, notes: Notes) -> None:
    """Pair an index without a target with the column of its name: ``X_index`` with ``X``.

    Args:
        table: the builder of a DynamicTable; changed in place.
        manager: the type map.
        notes: gets each pair; counts ``parts_left_out``.
    """
    for name, index in table.datasets.items():
        column = table.datasets.get(name.removesuffix("_index"))
        if column is None or column is index or "target" in index.attributes or not manager.is_a(index, "VectorIndex"):
            continue
        index.set_attribute("target", column)
        path = f"{path_of(table)}/{name}@target"
        notes.leave(path, f"not given: taken for the index of {column.name} by its name", "parts_left_out")


def _is_row_of(dataset: DatasetBuilder, ids: DatasetBuilder | None) -> bool:
    """Return whether a column is a single row with one value per id."""
    rows = 0 if ids is None else np.size(ids.data)
    return rows > 1 and np.shape(dataset.data) == (1, rows)


def _flatten(table: GroupBuilder, name: str) -> None:
    dataset = table.datasets[name]
    shape = () if isinstance(dataset.data, ReferenceResolver) else np.shape(dataset.data)
    if len(shape) != 2 or 1 not in shape:
        return
    try:
        values = load(dataset.data, f"{path_of(table)}/{name}")
    except Exception as error:  # unreadable columns are left out later
        if not is_damage(error):
            raise
        return
    dataset["data"] = np.asarray(values).reshape(-1)  # the builder's setter refuses to overwrite
