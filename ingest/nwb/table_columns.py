"""Columns of NWB tables as plain arrays."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import h5py
import numpy as np
from hdmf.common import DynamicTableRegion, EnumData, VectorIndex

from foundation.store.format.finite import missing_as_nan
from ingest.nwb.nwb_arrays import load
from ingest.nwb.nwb_texts import plain_text
from ingest.nwb.read_log import Notes
from ingest.recipe.name_patterns import free_name, safe_name

ARRAY_SIZE = 1024


def read_columns(
    table: Any, path: str, counter: str, notes: Notes, skip: tuple[str, ...] = (), array_size: int = ARRAY_SIZE
) -> dict[str, np.ndarray]:
    """Return the columns of a table that a recording can hold.

    Args:
        table: a DynamicTable of K rows.
        path: its place in the file.
        counter: counts the columns left out.
        notes: gets each of them with the reason; counts ``values_not_finite``, which become NaN, and
            ``parts_left_out``, columns that cannot be read.
        skip: columns read elsewhere.
        array_size: maximum values per row of kept arrays.

    Returns:
        name -> ``(K, ...)`` array of numbers or ``(K,)`` text (``''`` where a text is missing). Lists of texts become
        one text, joined by ``; ``; lists of numbers become rows of the longest list's length, with NaN at their ends.
    """
    columns: dict[str, np.ndarray] = {}
    for name in table.colnames:
        if name in skip:
            continue
        with notes.part(f"{path}/{name}"):
            values = read_column(table[name], f"{path}/{name}", array_size)
            if isinstance(values, str):
                notes.leave(f"{path}/{name}", values, counter)
            elif len(values) != len(table):
                notes.leave(f"{path}/{name}", f"{len(values)} values for {len(table)} rows", counter)
            else:
                columns[free_name([safe_name(name)], columns)] = finite_values(values, f"{path}/{name}", notes)
                if lost := _without_row(table[name]):
                    notes.leave(f"{path}/{name}, its end", f"{lost} values behind the end of the last row's")
                    notes["column_values_dropped"] += lost
    return columns


def finite_values(values: np.ndarray, path: str, notes: Notes) -> np.ndarray:
    """Return a column with NaN for numbers that are not finite; ``notes`` gets its path and ``values_not_finite``."""
    finite, count = missing_as_nan(values)
    if count:
        notes.take(path, f"{count} of its values are not finite: missing")
        notes["values_not_finite"] += count
    return finite


def read_column(column: Any, path: str, array_size: int = ARRAY_SIZE) -> np.ndarray | str:
    """Return ``(K, ...)`` numbers or ``(K,)`` text of a column, or why it is left, from its shape if possible."""
    if isinstance(column, VectorIndex):
        return _lists(column, path, array_size)
    if isinstance(column, DynamicTableRegion):
        return "rows of another table"
    data = column.data
    if (names := _names_of(column)) is not None:
        return _named(np.asarray(load(data, path)), names, path)
    shape, kind = np.shape(data), getattr(getattr(data, "dtype", None), "kind", "O")
    if kind == "V":
        return "references to series"
    size = math.prod(shape[1:])
    if size > array_size:
        return f"{size} values in each row: more than the {array_size} that are kept"
    return _plain(load(data, path))


def _names_of(column: Any) -> Any:
    """Return the meaning of a column's numbers: number -> name of an HDF5 enum, names of an EnumData; else None."""
    if isinstance(column, EnumData):
        return load(column.elements.data, "the names of an EnumData")
    return enum_names(column.data)


def enum_names(data: Any) -> dict[int, str] | None:
    """Return number -> name of an HDF5 enum; None for any other array."""
    dtype = getattr(data, "dtype", None)
    names = h5py.check_enum_dtype(dtype) if isinstance(dtype, np.dtype) else None
    return None if names is None else {int(number): plain_text(name) for name, number in names.items()}


def _named(numbers: np.ndarray, names: Any, path: str) -> np.ndarray | str:
    """Return the names of numbers; booleans for the names ``true`` and ``false``; '' for unnamed numbers."""
    if not isinstance(names, dict):
        texts = as_text(names)
        if texts is None:
            return "names that are not texts"
        names = dict(enumerate(texts.tolist()))
    if numbers.ndim == 2 and numbers.shape[1] == 1:
        numbers = numbers[:, 0]
    if numbers.ndim != 1:
        return "an array of names in each row"
    if {name.lower() for name in names.values()} == {"false", "true"}:
        return np.array([names.get(number, "").lower() == "true" for number in numbers.tolist()], dtype=bool)
    return np.array([names.get(number, "") for number in numbers.tolist()], dtype=str)


def _plain(data: Any) -> np.ndarray | str:
    array = np.array(data, object) if isinstance(data, list) and _holds_containers(data) else np.asarray(data)
    if array.dtype.kind in "biuf":
        array = array.astype(array.dtype.newbyteorder("="))
        return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.ndim == 2 and array.dtype in (np.dtype("S1"), np.dtype("U1")):  # characters, as MATLAB writes words
        array = np.ascontiguousarray(array).view(f"{array.dtype.kind}{max(1, array.shape[1])}")
    if array.ndim != 1:
        array = array.reshape(len(array), -1)
        if array.shape[1] != 1:
            return "an array of texts in each row"
        array = array[:, 0]
    texts = as_text(array)
    return "neither numbers nor text" if texts is None else texts


def _lists(index: VectorIndex, path: str, array_size: int) -> np.ndarray | str:
    target = index.target
    if isinstance(target, VectorIndex):
        return "lists of lists in each row"
    if isinstance(target, DynamicTableRegion):
        return "rows of another table"
    bounds = ragged_bounds(load(index.data, path), len(target.data))
    if (names := _names_of(target)) is not None:
        named = _named(np.asarray(load(target.data, path)), names, path)
        return named if isinstance(named, str) else _joined(named.astype(str), bounds)
    if getattr(getattr(target.data, "dtype", None), "kind", "O") in "biuf":
        longest = int(np.diff(bounds).max(initial=0))
        size = longest * math.prod(np.shape(target.data)[1:])
        if size > array_size:
            return f"a list in each row, of up to {size} values: more than the {array_size} that are kept"
        return _padded(np.asarray(load(target.data, path)), bounds, longest)
    texts = as_text(load(target.data, path))
    if texts is None:
        return "a list in each row"
    return _joined(texts, bounds)


def _joined(texts: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    rows = [texts[start:end].tolist() for start, end in pairwise(bounds)]
    return np.array(["; ".join(row) for row in rows], dtype=str)


def _without_row(column: Any) -> int:
    """Return how many values of a ragged column lie after its last row."""
    if not isinstance(column, VectorIndex) or isinstance(column.target, VectorIndex):
        return 0
    total = len(column.target.data)
    return total - (int(column.data[-1]) if len(column.data) else 0)


def _padded(values: np.ndarray, bounds: np.ndarray, longest: int) -> np.ndarray:
    """Return ``(K, longest, ...)`` float64, padded with NaN."""
    padded = np.full((len(bounds) - 1, longest, *values.shape[1:]), np.nan)
    for row, (start, end) in enumerate(pairwise(bounds)):
        padded[row, : end - start] = values[start:end]
    return padded


def _holds_containers(data: list[Any]) -> bool:
    return any(hasattr(value, "object_id") for value in data)


def as_text(values: Any) -> np.ndarray | None:
    """Return the texts of an array of texts, bytes or named objects; None for anything else.

    Strips blanks and NULs around a text.

    Example:
        >>> as_text([b"CA1", "CA3  ", None]).tolist()
        ['CA1', 'CA3', '']
        >>> as_text([[1, 2], "CA3"]) is None
        True
    """
    texts = []
    for value in values:
        if isinstance(value, bytes | str):
            texts.append(plain_text(value))
        elif value is None or (isinstance(value, float) and np.isnan(value)):
            texts.append("")
        elif isinstance(getattr(value, "name", None), str):  # a reference to an electrode group or a device
            texts.append(plain_text(value.name))
        else:
            return None
    return np.array(texts, dtype=str)


def ragged_bounds(index: np.ndarray, total: int) -> np.ndarray:
    """Return ``(N + 1,)`` offsets of a ragged column's rows.

    Args:
        index: ``(N,)`` end of each row.
        total: length of the values.

    Raises:
        ValueError: if the ends do not rise inside ``[0, total]``.

    Example:
        >>> ragged_bounds(np.array([2, 2, 5]), 5).tolist()
        [0, 2, 2, 5]
    """
    ends = np.asarray(index).astype(np.int64)
    bounds = np.concatenate([[0], ends])
    if (np.diff(bounds) < 0).any():
        row = int(np.argmax(np.diff(bounds) < 0))
        raise ValueError(f"row {row} ends at {bounds[row + 1]}, before it starts at {bounds[row]}")
    if bounds[-1] > total:
        row = int(np.argmax(bounds[1:] > total))
        raise ValueError(f"row {row} ends at {bounds[row + 1]}, but there are {total} values")
    return bounds
