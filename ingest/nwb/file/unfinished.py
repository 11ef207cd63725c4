"""Detect unfinished files: marked as being written, with missing chunks, or ending in fill values."""

from __future__ import annotations

import math
import os
from io import RawIOBase
from typing import Any, BinaryIO

import h5py
import numpy as np

from foundation.common.errors import SourceError
from foundation.store.format.spill import pieces
from ingest.nwb.file.file_kind import HDF5

# Suffixes of the temporary files of browsers and download tools.
SIBLINGS = (".part", ".partial", ".crdownload", ".download", ".aria2", ".dandidownload", ".filepart")
# Minimum run of fill values at the end of whole trains that counts as unwritten.
MIN_RUN = 8
# A single time of 0 at the end may be a time; two and more are fill values.
MIN_STAMPS = 2
BEING_WRITTEN = "the file is being written, or its writer ended before it was done"


def refuse_unfinished(path: str, file: BinaryIO | RawIOBase) -> None:
    """Raise if a file is marked as being written or downloaded.

    Args:
        path: its path; for local files, neighbouring files are checked too.
        file: open and seekable; reset to its beginning.

    Raises:
        SourceError: naming the mark.
    """
    file.seek(0)
    head = file.read(12) or b""
    file.seek(0)
    # Version 3 of the superblock marks a file open for writing; HDF5 clears the mark on closing.
    if head.startswith(HDF5) and len(head) == 12 and head[8] >= 3 and head[11] & 1:
        raise SourceError(
            "is being written: it is marked as open for writing; wait until its writer has closed it (`h5clear -s` "
            "clears the mark of a dead writer)"
        )
    local = path.removeprefix("file://")
    if "://" in local:
        return
    for suffix in SIBLINGS:
        if os.path.exists(local + suffix):
            name = os.path.basename(local) + suffix
            raise SourceError(f"is being fetched: {name} exists beside it; wait until it is gone, or remove it")


def state_of(path: str) -> tuple[int, int] | None:
    """Return size and modification time of a local file or folder; None if it does not exist."""
    try:
        state = os.stat(path.removeprefix("file://"))
    except (OSError, ValueError):
        return None
    return state.st_size, state.st_mtime_ns


def refuse_changed(path: str, before: tuple[int, int] | None) -> None:
    """Raise if a local file has changed.

    Args:
        path: of the file.
        before: its earlier `state_of`.

    Raises:
        SourceError: if its size or modification time differs.
    """
    if state_of(path) != before:
        raise SourceError(f"{path}: changed while being read: wait until its writer has closed it")


def unwritten(data: Any) -> str | None:
    """Return how many chunks of an HDF5 dataset were never written; None if all were, or if unknown.

    Zarr omits chunks of fill values only, so a missing chunk there is no sign of damage.
    """
    array = getattr(data, "dataset", data)
    if not isinstance(array, h5py.Dataset) or array.chunks is None or array.is_virtual or not array.size:
        return None
    declared = math.prod(-(-length // chunk) for length, chunk in zip(array.shape, array.chunks, strict=True))
    written = int(array.id.get_num_chunks())
    return None if written >= declared else f"{declared - written} of its {declared} chunks were never written"


def is_sparse(data: Any) -> bool:
    """Return whether unwritten chunks read as NaN, so that their samples count as missing."""
    array = getattr(data, "dataset", data)
    return unwritten(array) is not None and array.dtype.kind == "f" and bool(np.isnan(array.fillvalue))


def without_value(data: np.ndarray) -> int:
    """Return how many of ``(T, N)`` samples are NaN in all dimensions.

    Example:
        >>> without_value(np.array([[1.0, np.nan], [np.nan, np.nan]]))
        1
    """
    return sum(int(np.isnan(data[piece]).all(axis=1).sum()) for piece in pieces(data))


def refuse_unwritten(data: Any, what: str) -> None:
    """Raise if chunks of an HDF5 dataset were never written.

    Raises:
        SourceError: naming the dataset.
    """
    if (why := unwritten(data)) is not None:
        raise SourceError(f"{what}: {why}: {BEING_WRITTEN}")


def fill_run(values: np.ndarray) -> int:
    """Return the length of the run of zeros at the end of values, if earlier ones are above 0; else 0.

    Example:
        >>> fill_run(np.array([1.0, 2.0, 0.0, 0.0])), fill_run(np.zeros(3)), fill_run(np.array([0.0, 1.0]))
        (2, 0, 0)
    """
    # Most arrays do not end in 0, and then only the end is read.
    if not len(values) or values[-1] != 0:
        return 0
    others = np.flatnonzero(values)
    return len(values) - 1 - int(others[-1]) if len(others) and values[others].max() > 0 else 0


def zero_end(values: np.ndarray, min_run: int = 1) -> str | None:
    """Describe the fill values at the end; None if fewer than ``min_run``.

    Example:
        >>> zero_end(np.array([1.0, 2.0, 0.0, 0.0])), zero_end(np.array([1.0, 0.0]), min_run=2)
        ('the last 2 of 4 are 0', None)
    """
    run = fill_run(values)
    return f"the last {run} of {len(values)} are 0" if run >= min_run else None


def refuse_unfinished_trains(data: Any, times: np.ndarray, bounds: np.ndarray, what: str) -> None:
    """Raise if spike times end in fill values.

    Args:
        data: values in the file.
        times: ``(S,)`` the same values in memory, unit after unit.
        bounds: ``(N + 1,)`` offsets of each unit's times.
        what: their name for the error.

    Raises:
        SourceError: if chunks were never written, or the last times are 0 in a train that was above 0 before, or in
            whole trains at the end.
    """
    refuse_unwritten(data, what)
    run = fill_run(times)  # whole trains of zeros count from MIN_RUN on
    if (run >= MIN_RUN or len(times) - run not in bounds) and (why := zero_end(times, MIN_STAMPS)):
        raise SourceError(f"{what}: {why}: {BEING_WRITTEN}")


def refuse_unfinished_index(ends: np.ndarray, what: str) -> None:
    """Raise if the index of a ragged column ends in fill values.

    Raises:
        SourceError: naming the index.
    """
    if why := zero_end(np.asarray(ends)):
        raise SourceError(f"{what}: {why}: {BEING_WRITTEN}")
