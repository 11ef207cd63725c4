"""Arrays of NWB files, read only if the file can hold their declared shape."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from foundation.common.errors import SourceError
from foundation.store.format.spill import PIECE_BYTES, empty, let_go
from ingest.nwb.file.plain_errors import missing_filters_named

# Below this many bytes an array is read unchecked: reading is cheaper than checking.
SMALL = 1 << 20
# An array less than a quarter written, or compressed more than this, is rejected.
LEAST_WRITTEN = 0.25
MOST_PACKED = 20_000
# Larger arrays, worth an attack, are judged more strictly: no real recording of this size compresses so well.
LARGE, MOST_PACKED_LARGE = 1 << 30, 2_000


def load(data: Any, what: str) -> Any:
    """Read a whole column or series (``data[:]``) after checking that the file can hold it.

    A file of a few kilobytes may declare an array of terabytes; reading it would exhaust the machine.

    Args:
        data: an HDF5 dataset, a Zarr array, a wrapper of hdmf's around one, an array or a list.
        what: its name for the error.

    Raises:
        SourceError: if the file holds too few bytes for the declared shape, or is compressed by a filter that
            is not installed.

    Example:
        >>> load([1, 2, 3], "column")
        [1, 2, 3]
    """
    refuse_false_claims(data, what)
    with missing_filters_named(data, what):
        return data[:]


def load_slowly(data: Any, what: str, change: Callable[[np.ndarray], np.ndarray] | None = None) -> np.ndarray:
    """Read an array of numbers in pieces of some megabytes; a large one is kept in a file (see `spill.empty`).

    Args:
        data: as in `load`.
        what: its name for the error.
        change: applied to each piece, preserving rows. None keeps the values.

    Raises:
        SourceError: if the file holds too few bytes for the declared shape.
        StoreError: if there is no disk space for a large one.

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
    if chunks:  # decompress each chunk once
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
    """Raise if the file cannot hold the declared shape of an array.

    Raises:
        SourceError: naming the array, its shape and its stored bytes.
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
    """Raise if too few bytes of an array were written.

    Args:
        what: its name for the error.
        shape: the declared shape.
        declared: bytes of that shape.
        written: written bytes, uncompressed.
        stored: written bytes, as stored.

    Raises:
        SourceError: naming the array, its shape and its stored bytes.
    """
    most_packed = MOST_PACKED if declared < LARGE else MOST_PACKED_LARGE
    if declared > SMALL and (written < LEAST_WRITTEN * declared or declared > most_packed * stored):
        raise SourceError(
            f"{what} declares {' x '.join(map(str, shape))} values ({_size(declared)}), but the file holds "
            f"{_size(stored)} for them: damaged, or never written; nothing of it is read"
        )


def _held(array: Any, declared: int) -> tuple[float, float]:
    """Return the written bytes, uncompressed and as stored."""
    if isinstance(array, h5py.Dataset):
        stored = array.id.get_storage_size()
        if stored > array.file.id.get_filesize():
            return 0, 0
        if array.chunks is None:
            # A virtual dataset has no bytes of its own.
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
