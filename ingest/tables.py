"""Columns of NWB tables as plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from hdmf.common import DynamicTableRegion, EnumData, VectorIndex


def scalar_columns(table: Any, skip: tuple[str, ...] = ()) -> tuple[dict[str, np.ndarray], list[str]]:
    """The columns of a table that hold one number or one text a row.

    Args:
        table: a DynamicTable of K rows.
        skip: columns that are read elsewhere.

    Returns:
        name -> ``(K,)`` array of numbers or text (``''`` where a text is missing), and the names of all other columns
        (ragged ones, arrays, regions of other tables).
    """
    kept: dict[str, np.ndarray] = {}
    left_out: list[str] = []
    for name in table.colnames:
        if name in skip:
            continue
        values = scalar_column(table[name])
        if values is None:
            left_out.append(name)
        else:
            kept[name] = values
    return kept, left_out


def scalar_column(column: Any) -> np.ndarray | None:
    """``(K,)`` numbers or text of one column, or None if it holds anything else."""
    if isinstance(column, VectorIndex | DynamicTableRegion):
        return None
    data = column.data[:]
    if isinstance(column, EnumData):
        elements = as_text(column.elements.data[:])
        return None if elements is None else elements[np.asarray(data, dtype=np.int64)]
    array = np.asarray(data) if not isinstance(data, list) or not _holds_containers(data) else np.array(data, object)
    if array.ndim != 1:
        return None
    if array.dtype.kind in "biuf":
        return array.astype(array.dtype.newbyteorder("="))
    return as_text(array)


def _holds_containers(data: list[Any]) -> bool:
    return any(hasattr(value, "object_id") for value in data)


def as_text(values: Any) -> np.ndarray | None:
    """Text of an array of texts, bytes, or objects with a name; None if there is something else in it.

    Example:
        >>> as_text([b"CA1", "CA3", None]).tolist()
        ['CA1', 'CA3', '']
        >>> as_text([[1, 2], "CA3"]) is None
        True
    """
    texts = []
    for value in values:
        if isinstance(value, bytes):
            texts.append(value.decode("utf-8", "replace"))
        elif isinstance(value, str):
            texts.append(str(value))
        elif value is None or (isinstance(value, float) and np.isnan(value)):
            texts.append("")
        elif isinstance(getattr(value, "name", None), str):  # a reference to an electrode group or a device
            texts.append(value.name)
        else:
            return None
    # NUL ends a text in NumPy's fixed-width arrays; no label holds one on purpose.
    return np.array([text.replace("\0", "") for text in texts], dtype=str)


def ragged_bounds(index: np.ndarray, total: int) -> np.ndarray:
    """``(N + 1,)`` offsets of a ragged column's rows.

    Args:
        index: ``(N,)`` where each row ends.
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
