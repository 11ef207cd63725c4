"""Spikes laid out in blocks of time, so that windows of all units and trains of one unit are both cheap to read.

Inside a block spikes are sorted by (unit, time), and each block knows where each unit's spikes lie. A window of all
units touches the blocks it overlaps; one unit touches a short run in every block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foundation.store.recording import Spikes

SPIKES_PER_BLOCK = 100_000
SHORTEST_BLOCK = 10.0


@dataclass(frozen=True)
class SpikeBlocks:
    """Spikes of N units in K blocks of time.

    Args:
        times: ``(S,)`` seconds, block after block, inside a block unit after unit.
        edges: ``(K + 1,)`` seconds; block ``k`` holds the spikes in ``[edges[k], edges[k + 1])``.
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


def block_edges(spikes: Spikes, spikes_per_block: int = SPIKES_PER_BLOCK) -> np.ndarray:
    """``(K + 1,)`` equally spaced edges that put about ``spikes_per_block`` spikes into a block of 10 s or more."""
    if not len(spikes):
        return np.array([0.0, SHORTEST_BLOCK])
    first, last = float(spikes.times.min()), float(spikes.times.max())
    span = max(last - first, 1e-9)
    length = max(SHORTEST_BLOCK, span * spikes_per_block / len(spikes))
    start = np.floor(first)
    n_blocks = int(np.floor((last - start) / length)) + 1
    return start + length * np.arange(n_blocks + 1)


def to_blocks(spikes: Spikes, spikes_per_block: int = SPIKES_PER_BLOCK) -> SpikeBlocks:
    """Lay spikes out in blocks.

    Example:
        >>> blocks = to_blocks(Spikes.from_trains([[1.0, 15.0], [2.0]]), spikes_per_block=1)
        >>> blocks.times.tolist(), blocks.offsets.tolist()
        ([1.0, 2.0, 15.0], [[0, 1, 2], [2, 3, 3]])
    """
    edges = block_edges(spikes, spikes_per_block)
    n_blocks, n_units = len(edges) - 1, spikes.n_units
    unit = np.repeat(np.arange(n_units), spikes.counts)
    block = np.clip(np.searchsorted(edges, spikes.times, side="right") - 1, 0, n_blocks - 1)
    order = np.argsort(block * n_units + unit, kind="stable")
    counts = np.bincount(block * n_units + unit, minlength=n_blocks * n_units).reshape(n_blocks, n_units)
    ends = np.cumsum(counts.reshape(-1)).reshape(n_blocks, n_units)
    offsets = np.concatenate([ends[:, :1] - counts[:, :1], ends], axis=1).astype(np.int64)
    return SpikeBlocks(spikes.times[order], edges, offsets)
