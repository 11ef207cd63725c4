"""Spikes laid out in blocks of time, so that windows of all units and trains of one unit are both cheap to read.

Every block but the last has the same number of spikes, a power of two, so that a chunk of the stored array holds whole
blocks and a block is read without its neighbours. Inside a block spikes are sorted by (unit, time), and each block
knows where each unit's spikes lie. A window of all units touches the blocks it overlaps; one unit touches a short run
in every block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foundation.store.format.block_layout import gather, layout
from foundation.store.recording import Spikes

SPIKES_PER_BLOCK = 1 << 16


@dataclass(frozen=True)
class SpikeBlocks:
    """Spikes of N units in K blocks of time.

    Args:
        times: ``(S,)`` seconds, block after block, inside a block unit after unit.
        edges: ``(K + 1,)`` seconds; the spikes of block ``k`` lie in ``[edges[k], edges[k + 1]]``. Spikes of one time
            may lie on both sides of an edge.
        offsets: ``(K, N + 1)`` int64; unit ``n`` of block ``k`` has ``times[offsets[k, n]:offsets[k, n + 1]]``.
    """

    times: np.ndarray
    edges: np.ndarray
    offsets: np.ndarray

    @property
    def n_units(self) -> int:
        return self.offsets.shape[1] - 1

    def to_spikes(self) -> Spikes:
        """The same spikes unit after unit, as a `Recording` holds them."""
        counts_KN = np.diff(self.offsets, axis=1)
        unit = np.concatenate([np.repeat(np.arange(self.n_units), row) for row in counts_KN] or [np.empty(0, int)])
        # A stable sort keeps blocks, and so time, in order inside each unit.
        order = np.argsort(unit, kind="stable")
        return Spikes(self.times[order], np.concatenate([[0], np.cumsum(counts_KN.sum(axis=0))]))


def to_blocks(spikes: Spikes, spikes_per_block: int = SPIKES_PER_BLOCK) -> SpikeBlocks:
    """Lay spikes out in blocks.

    Example:
        >>> blocks = to_blocks(Spikes.from_trains([[1.0, 15.0], [2.0]]), spikes_per_block=2)
        >>> blocks.times.tolist(), blocks.edges.tolist(), blocks.offsets.tolist()
        ([1.0, 2.0, 15.0], [1.0, 15.0, 15.0], [[0, 1, 2], [2, 3, 3]])
    """
    edges, offsets_KN = layout(spikes.times, spikes.offsets, spikes_per_block)
    return SpikeBlocks(gather(spikes.times, spikes.offsets, offsets_KN), edges, offsets_KN)
