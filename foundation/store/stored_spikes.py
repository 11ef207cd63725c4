"""The spikes of a stored recording, a block at a time."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import zarr

from foundation.store.chunks import Chunks
from foundation.store.stored import StoredRecording
from foundation.store.ticks import from_ticks


class StoredSpikes:
    """Blocks of spikes that are read when they are asked for; see `SpikeBlocks` for what a block is.

    Args:
        recording: a recording of spikes.

    Raises:
        StoreError: if a block cannot be read.
    """

    def __init__(self, recording: StoredRecording) -> None:
        # The group itself is not kept: its metadata are many times larger than those of three arrays.
        group = recording.group
        name = "spikes/ticks" if "spikes/ticks" in group else "spikes/times"
        stored, self._edges, self._offsets = group[name], group["spikes/edges"], group["spikes/offsets"]
        assert isinstance(stored, zarr.Array)
        self._chunks = Chunks(recording.store, f"recordings/{recording.record['digest']}/{name}", stored)
        self.rate = float(np.asarray(stored.attrs["rate"])) if name == "spikes/ticks" else 1.0

    @cached_property
    def edges(self) -> np.ndarray:
        """``(K + 1,)`` seconds; the spikes of block ``k`` lie in ``[edges[k], edges[k + 1]]``."""
        return np.asarray(self._edges[...], dtype=np.float64)  # type: ignore[index]

    @cached_property
    def offsets(self) -> np.ndarray:
        """``(K, N + 1)`` int64: where each unit's spikes lie in each block."""
        return np.asarray(self._offsets[...], dtype=np.int64)  # type: ignore[index]

    def ticks(self, k: int) -> np.ndarray:
        """``(S,)`` the spikes of block ``k``, unit after unit; seconds are these over `rate`."""
        low, high = int(self.offsets[k, 0]), int(self.offsets[k, -1])
        rows, parts = self._chunks.rows, []
        for chunk in range(low // rows, -(-high // rows)):
            first = chunk * rows
            parts.append(self._chunks[chunk][max(low - first, 0) : high - first])
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty(0)

    @property
    def n_blocks(self) -> int:
        return len(self.edges) - 1

    def block(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """``times`` ``(S,)`` the same in float64 seconds, and ``counts`` ``(N,)`` spikes of each unit."""
        return from_ticks(self.ticks(k), self.rate), np.diff(self.offsets[k])
