"""Columns of tables as a vector each, where a writer such as MATLAB made a matrix of one row or column of it."""

from __future__ import annotations

import numpy as np
from hdmf.build import DatasetBuilder, GroupBuilder
from hdmf.query import ReferenceResolver

from ingest.nwb.file.builder_parts import PartManager, path_of
from ingest.nwb.file.table_rows import ROW_TIMES, column_names, column_parts
from ingest.nwb.nwb_arrays import load
from ingest.nwb.read_log import Notes, is_damage


def flatten_columns(table: GroupBuilder, manager: PartManager) -> None:
    """Flatten ids, indices and columns of single values that lie in a file as ``(N, 1)`` or ``(1, N)``.

    Intervals stay, and so do spike times without an index, which are a row for each unit.

    Args:
        table: the builder of a DynamicTable; changed in place.
        manager: knows the types.
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
    """Pair an index that does not say of which column it is with the column of its name: ``X_index`` with ``X``.

    Args:
        table: the builder of a DynamicTable; changed in place.
        manager: knows the types.
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
    """Return whether a column is a single row with a value for each of several ids."""
    rows = 0 if ids is None else np.size(ids.data)
    return rows > 1 and np.shape(dataset.data) == (1, rows)


def _flatten(table: GroupBuilder, name: str) -> None:
    dataset = table.datasets[name]
    shape = () if isinstance(dataset.data, ReferenceResolver) else np.shape(dataset.data)
    if len(shape) != 2 or 1 not in shape:
        return
    try:
        values = load(dataset.data, f"{path_of(table)}/{name}")
    except Exception as error:  # a column that cannot be read is left out where it is looked at
        if not is_damage(error):
            raise
        return
    dataset["data"] = np.asarray(values).reshape(-1)  # the builder's own setter refuses to overwrite
