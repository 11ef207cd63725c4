"""Large arrays that spill to unnamed temporary files and are read and released piece by piece.

Code works on ordinary arrays, however large the recording's file. Arrays of `LARGE` bytes and more share `MEMORY`
bytes of memory; further arrays lie in a temporary file (``$TMPDIR``) without a name, which disappears with the last
array on it, even if the process is killed. Released pages stay in the file and no longer count as the process's memory.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from foundation.common.errors import StoreError

LARGE = 1 << 24
MEMORY = 1 << 29
PIECE_BYTES = 1 << 23


class _Block:
    """Memory of one large array, reused once the array is gone.

    Clearing gigabytes of fresh pages for every file would take longer than reading the file.
    """

    in_use = 0
    spare: ClassVar[list[mmap.mmap]] = []

    def __init__(self, memory: mmap.mmap) -> None:
        self.memory = memory
        address = np.frombuffer(memory, np.uint8).ctypes.data
        self.__array_interface__ = {"shape": (len(memory),), "typestr": "|u1", "data": (address, False), "version": 3}
        type(self).in_use += len(memory)

    def __del__(self) -> None:
        type(self).in_use -= len(self.memory)
        self.spare.append(self.memory)

    @classmethod
    def take(cls, size: int) -> _Block | None:
        """Return a block of ``size`` bytes or up to twice as many; None if there is no room."""
        cls.spare.sort(key=len)
        for k, memory in enumerate(cls.spare):
            if size <= len(memory) <= 2 * size:
                return cls(cls.spare.pop(k))
        while cls.spare and cls.in_use + sum(map(len, cls.spare)) + size > MEMORY:
            cls.spare.pop(0)
        if cls.in_use + size > MEMORY:
            return None
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            memory.madvise(mmap.MADV_HUGEPAGE)
        return cls(memory)


def empty(shape: int | tuple[int, ...], dtype: np.dtype | type | str) -> np.ndarray:
    """Return an uninitialised array: in memory if it is small or fits, otherwise in a temporary file.

    Raises:
        StoreError: if there is no room for the file.

    Example:
        >>> array = empty((3_000_000, 2), np.float64)
        >>> array[:] = 1.0
        >>> let_go(array)
        >>> array.shape, float(array.sum())
        ((3000000, 2), 6000000.0)
    """
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < LARGE:
        return np.empty(shape, dtype)
    if (block := _Block.take(size)) is not None:
        return np.asarray(block)[:size].view(dtype).reshape(shape)
    try:
        with tempfile.TemporaryFile() as file:
            # Reserve the space now: writing to a full disk through a mapping would kill the process.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            held = mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise StoreError(
            f"{size / 1e9:.1f} GB of temporary space cannot be allocated in {tempfile.gettempdir()}: "
            f"{error.strerror or error}; free space, or set TMPDIR to another folder"
        ) from error
    if hasattr(mmap, "MADV_RANDOM"):  # otherwise reading one value loads megabytes
        held.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(held, dtype=dtype).reshape(shape)


def let_go(array: np.ndarray) -> None:
    """Release the memory of an array of `empty`, or a view of one; its content stays."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def pieces(array: np.ndarray) -> Iterator[slice]:
    """Yield the rows of an array in pieces of a few megabytes, releasing each piece before the next.

    Example:
        >>> array = np.arange(2_500_000.0)
        >>> [(piece.start, piece.stop) for piece in pieces(array)]
        [(0, 1048576), (1048576, 2097152), (2097152, 2500000)]
    """
    rows = max(1, PIECE_BYTES // max(1, array.dtype.itemsize * math.prod(array.shape[1:])))
    for low in range(0, len(array), rows):
        yield slice(low, min(low + rows, len(array)))
        let_go(array)


def runs(offsets: np.ndarray, most: int = PIECE_BYTES // 8) -> Iterator[tuple[int, int]]:
    """Yield consecutive runs of units, ``first`` to ``last - 1``, of at most ``most`` spikes or a single unit each.

    Example:
        >>> list(runs(np.array([0, 3, 4, 9, 9]), most=4))
        [(0, 2), (2, 3), (3, 4)]
    """
    first, n_units = 0, len(offsets) - 1
    while first < n_units:
        last = int(np.searchsorted(offsets, offsets[first] + most, side="right")) - 1
        last = min(max(last, first + 1), n_units)
        yield first, last
        first = last
