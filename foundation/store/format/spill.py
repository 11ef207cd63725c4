"""Arrays larger than memory should hold: in files without a name, taken up and let go piece by piece.

A recording is worked on as ordinary arrays, however large its file is. Those of `LARGE` bytes and more share `MEMORY`
bytes of memory; what does not fit there lies in a temporary file (``$TMPDIR``) without a name, so that it is gone with
the last array on it, also when the process is killed. What has been worked on there is let go: its pages stay in the
file and no longer count as memory of the process.
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
    """Memory of one large array, which goes back to be used again when nothing lies in it any more.

    A system that clears gigabytes of fresh pages for every file takes longer for it than reading the file does.
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
        """A block of ``size`` bytes or up to twice as many; None if there is no room."""
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
    """An array of undefined content: in memory if it is small or there is room for it, otherwise in a temporary file.

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
            # Room is taken now: a write to a full disk through a mapping would end the process.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            held = mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise StoreError(
            f"{size / 1e9:.1f} GB of temporary space in {tempfile.gettempdir()} cannot be had: "
            f"{error.strerror or error}; make room, or name another folder in the variable TMPDIR"
        ) from error
    if hasattr(mmap, "MADV_RANDOM"):  # else a look at one value brings megabytes into memory
        held.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(held, dtype=dtype).reshape(shape)


def let_go(array: np.ndarray) -> None:
    """Say that an array of `empty`, or a view of one, is not needed in memory for now; its content stays."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def pieces(array: np.ndarray) -> Iterator[slice]:
    """The rows of an array in pieces of some megabytes; each is let go when the next one is asked for.

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
    """Units ``first`` to ``last - 1`` after one another, so that each run has ``most`` spikes or is a single unit.

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
