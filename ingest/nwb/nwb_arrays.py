"""Arrays of NWB files, read whole only where the file holds what it declares."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from foundation.common.errors import SourceError
from foundation.store.format.spill import PIECE_BYTES, empty, let_go
from ingest.nwb.file.plain_errors import missing_filters_named

# Below this many bytes nothing is asked: reading is cheaper than asking.
SMALL = 1 << 20
# An array that is less than a quarter written is taken for a false claim, and so is one packed tighter than this.
LEAST_WRITTEN = 0.25
MOST_PACKED = 20_000
# What is worth an attack is judged more strictly: no recording of this size packs so well.
LARGE, MOST_PACKED_LARGE = 1 << 30, 2_000


def load(data: Any, what: str) -> Any:
    """All of a column or series: ``data[:]``, after a look at whether the file can hold it.

    A file of a few kilobytes may declare an array of terabytes; reading it would take the machine down.

    Args:
        data: an HDF5 dataset, a Zarr array, a wrapper of hdmf's around one, an array or a list.
        what: its name, for the error.

    Raises:
        SourceError: if the file holds too little of what the array's shape declares, or is compressed by a filter that
            is not installed.

    Example:
        >>> load([1, 2, 3], "column")
        [1, 2, 3]
    """
    refuse_false_claims(data, what)
    with missing_filters_named(data, what):
        return data[:]


def load_slowly(data: Any, what: str, change: Callable[[np.ndarray], np.ndarray] | None = None) -> np.ndarray:
    """All of an array of numbers, some megabytes at a time; a large one lies beside memory (see `scratch.empty`).

    Args:
        data: as in `load`.
        what: its name, for the error.
        change: applied to each piece: rows stay rows. None takes the values as they are.

    Raises:
        SourceError: if the file holds too little of what the array's shape declares.
        StoreError: if there is no room for a large one.

    Example:
        >>> load_slowly([1, 2, 3], "column", lambda part: part * 2.0).tolist()
        [2.0, 4.0, 6.0]
    """
    refuse_false_claims(data, what)
    with missing_filters_named(data, what):
        return _loaded(data, change)


def _loaded(data: Any, change: Callable[[np.ndarray], np.ndarray] | None) -> np.ndarray:
    changed = (lambda part: part) if change is None else change
    shape, dtype = getattr(data, "shape", None), getattr(data, "dtype", None)
    if not shape or not isinstance(dtype, np.dtype) or math.prod(shape) * dtype.itemsize <= PIECE_BYTES:
        return changed(np.asarray(data[:]))
    row_bytes = dtype.itemsize * math.prod(shape[1:])
    rows = max(1, PIECE_BYTES // max(1, row_bytes))
    chunks = getattr(data, "chunks", None)
    if chunks:  # no chunk is unpacked twice
        rows = -(-rows // chunks[0]) * chunks[0]
    like = changed(np.asarray(data[:0]))
    loaded = empty((shape[0], *like.shape[1:]), like.dtype)
    for low in range(0, shape[0], rows):
        piece = slice(low, min(low + rows, shape[0]))
        if change is None and isinstance(data, h5py.Dataset):
            data.read_direct(loaded, piece, piece)  # without a copy
        else:
            loaded[piece] = changed(np.asarray(data[piece]))
        let_go(loaded)
    return loaded


def refuse_false_claims(data: Any, what: str) -> None:
    """Refuse an array whose declared shape cannot be what its file holds.

    Raises:
        SourceError: naming the array, its shape and what there is of it.
    """
    array = getattr(data, "dataset", data)
    shape, dtype = getattr(array, "shape", None), getattr(array, "dtype", None)
    if not shape or not isinstance(dtype, np.dtype) or isinstance(array, np.ndarray):
        return
    declared = math.prod(shape) * dtype.itemsize
    if declared <= SMALL:
        return
    refuse_too_little(what, shape, declared, *_held(array, declared))


def refuse_too_little(what: str, shape: tuple[int, ...], declared: int, written: float, stored: float) -> None:
    """Refuse an array of which too little was written.

    Args:
        what: its name, for the error.
        shape: that it declares.
        declared: bytes of such a shape.
        written: bytes that were ever written, unpacked.
        stored: bytes that they take.

    Raises:
        SourceError: naming the array, its shape and what there is of it.
    """
    most_packed = MOST_PACKED if declared < LARGE else MOST_PACKED_LARGE
    if declared > SMALL and (written < LEAST_WRITTEN * declared or declared > most_packed * stored):
        raise SourceError(
            f"{what} declares {' x '.join(map(str, shape))} values ({_size(declared)}), but the file holds "
            f"{_size(stored)} for them: damaged, or never written; nothing of it is read"
        )


def _held(array: Any, declared: int) -> tuple[float, float]:
    """Bytes that were ever written, unpacked; and the bytes that they take in the file."""
    if isinstance(array, h5py.Dataset):
        stored = array.id.get_storage_size()
        if stored > array.file.id.get_filesize():
            return 0, 0
        if array.chunks is None:
            # A view of other datasets of this file has no bytes of its own.
            return (declared, declared) if array.is_virtual else (stored, stored)
        return array.id.get_num_chunks() * math.prod(array.chunks) * array.dtype.itemsize, stored
    if hasattr(array, "held_bytes"):  # of a Zarr asset
        found: tuple[float, float] = array.held_bytes
        return found
    return declared, declared


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
