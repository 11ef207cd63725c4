"""Spikes in blocks of time, which makes both windows of all units and trains of one unit cheap to read.

Every block but the last has the same number of spikes, a power of two, so that a chunk of the stored array holds whole
blocks and a block is read without its neighbours. Inside a block spikes are sorted by (unit, time), and each block
records where each unit's spikes lie. A window of all units touches the blocks it overlaps; one unit touches a short run
in every block. Trains are already sorted, so no spikes are sorted here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foundation.common.processes.compiled import compiled
from foundation.store.format.spike_ticks import first_not_before
from foundation.store.format.spill import empty, let_go, pieces
from foundation.store.recording import Spikes

SPIKES_PER_BLOCK = 1 << 16


@dataclass(frozen=True)
class SpikeBlocks:
    """Spikes of N units in K blocks of time.

    Args:
        times: ``(S,)`` seconds, block after block, inside a block unit after unit.
        edges: ``(K + 1,)`` seconds; the spikes of block ``k`` lie in ``[edges[k], edges[k + 1]]``. Spikes at the same
            time may lie on both sides of an edge.
        offsets: ``(K, N + 1)`` int64; unit ``n`` of block ``k`` has ``times[offsets[k, n]:offsets[k, n + 1]]``.
    """

    times: np.ndarray
    edges: np.ndarray
    offsets: np.ndarray

    @property
    def n_units(self) -> int:
        return self.offsets.shape[1] - 1

    def to_spikes(self) -> Spikes:
        """Return the same spikes unit after unit, as in a `Recording`."""
        counts_KN = np.diff(self.offsets, axis=1)
        unit = np.concatenate([np.repeat(np.arange(self.n_units), row) for row in counts_KN] or [np.empty(0, int)])
        # A stable sort keeps blocks, and therefore time, in order inside each unit.
        order = np.argsort(unit, kind="stable")
        return Spikes(self.times[order], np.concatenate([[0], np.cumsum(counts_KN.sum(axis=0))]))


def to_blocks(spikes: Spikes, spikes_per_block: int = SPIKES_PER_BLOCK) -> SpikeBlocks:
    """Arrange spikes in blocks.

    Example:
        >>> blocks = to_blocks(Spikes.from_trains([[1.0, 15.0], [2.0]]), spikes_per_block=2)
        >>> blocks.times.tolist(), blocks.edges.tolist(), blocks.offsets.tolist()
        ([1.0, 2.0, 15.0], [1.0, 15.0, 15.0], [[0, 1, 2], [2, 3, 3]])
    """
    edges, offsets_KN = layout(spikes.times, spikes.offsets, spikes_per_block)
    return SpikeBlocks(gather(spikes.times, spikes.offsets, offsets_KN), edges, offsets_KN)


# Slices of time per block in the first, rough count; spikes of one slice are then put in order.
SLICES_PER_BLOCK = 128
BLOCKS_AT_ONCE = 16


def layout(times: np.ndarray, offsets_N: np.ndarray, spikes_per_block: int) -> tuple[np.ndarray, np.ndarray]:
    """Return blocks of ``spikes_per_block`` spikes in order of time; simultaneous spikes in the order of their units.

    Args:
        times: ``(S,)`` seconds or ticks, unit after unit, sorted inside each unit.
        offsets_N: ``(N + 1,)`` position of each unit's first spike.
        spikes_per_block: spikes of every block except the last.

    Returns:
        ``edges (K + 1,)``: the first spike of every block, and the last of all. ``offsets_KN (K, N + 1)``: positions of
        each unit's spikes when block follows block, and unit follows unit inside a block.

    Example:
        >>> edges, offsets_KN = layout(np.array([1.0, 15.0, 2.0]), np.array([0, 2, 3]), 2)
        >>> edges.tolist(), offsets_KN.tolist()
        ([1.0, 15.0, 15.0], [[0, 1, 2], [2, 3, 3]])
    """
    n_spikes, n_units = len(times), len(offsets_N) - 1
    n_blocks = max(1, -(-n_spikes // spikes_per_block))
    offsets_N = np.ascontiguousarray(offsets_N, dtype=np.int64)
    if not n_spikes:
        return np.zeros(2), np.zeros((1, n_units + 1), dtype=np.int64)
    fired = np.diff(offsets_N) > 0
    smallest = times[offsets_N[:-1][fired]].min()
    largest = times[offsets_N[1:][fired] - 1].max()
    let_go(times)
    n_slices = n_blocks * SLICES_PER_BLOCK
    scale = n_slices / (float(largest) - float(smallest)) if largest > smallest else 0.0
    if not scale < 1e300:  # all spikes at nearly the same time: one slice holds them all
        scale = 0.0
    apart_4S = np.zeros((4, n_slices), dtype=np.int64)
    for piece in pieces(times):
        _count(times[piece], float(smallest), scale, apart_4S)
    counts = apart_4S.sum(axis=0)
    cuts_KN = np.empty((n_blocks + 1, n_units), dtype=np.int64)
    cuts_KN[0], cuts_KN[n_blocks] = offsets_N[:-1], offsets_N[1:]
    first = np.empty(n_blocks, dtype=times.dtype)
    first[0] = smallest
    reached = np.zeros(2, dtype=np.int64)
    start_N = offsets_N[:-1].copy()
    for k in range(1, n_blocks, BLOCKS_AT_ONCE):
        blocks = (k, min(k + BLOCKS_AT_ONCE, n_blocks))
        _cut(
            times,
            offsets_N,
            spikes_per_block,
            blocks,
            (float(smallest), scale),
            counts,
            reached,
            start_N,
            cuts_KN,
            first,
        )
        let_go(times)
    counts_KN = np.diff(cuts_KN, axis=0)
    ends_KN = np.cumsum(counts_KN.reshape(-1)).reshape(n_blocks, n_units)
    starts_K = ends_KN[:, :1] - counts_KN[:, :1] if n_units else np.zeros((n_blocks, 1), dtype=np.int64)
    edges = np.append(first, largest)
    return edges, np.concatenate([starts_K, ends_KN], axis=1)


def gather(values: np.ndarray, offsets_N: np.ndarray, offsets_KN: np.ndarray) -> np.ndarray:
    """Reorder values from unit after unit to the order of the blocks.

    Args:
        values: ``(S,)`` one per spike, unit after unit.
        offsets_N, offsets_KN: as in `layout`.

    Returns:
        ``(S,)`` values; a large array spills to disk (`foundation.store.format.spill`).

    Example:
        >>> edges, offsets_KN = layout(np.array([1.0, 15.0, 2.0]), np.array([0, 2, 3]), 2)
        >>> gather(np.array([10, 150, 20]), np.array([0, 2, 3]), offsets_KN).tolist()
        [10, 20, 150]
    """
    out = empty(len(values), values.dtype)
    place_N = np.array(offsets_N[:-1], dtype=np.int64)
    for first in range(0, len(offsets_KN), BLOCKS_AT_ONCE):
        some_KN = offsets_KN[first : first + BLOCKS_AT_ONCE]
        _gather(values, some_KN, place_N, out)
        let_go(values)
        let_go(out)
    return out


@compiled()
def _slice(time: float, smallest: float, scale: float, n_slices: int) -> int:
    if scale == 0.0:
        return 0
    return min(int((float(time) - smallest) * scale), n_slices - 1)


@compiled()
def _count(times: np.ndarray, smallest: float, scale: float, apart_4S: np.ndarray) -> None:
    """Count the spikes of every slice of time, in four counters: neighbouring spikes need not wait for each other.

    Neighbours mostly fall into the same slice.
    """
    for i in range(len(times)):
        apart_4S[i % 4, _slice(times[i], smallest, scale, apart_4S.shape[1])] += 1


@compiled()
def _cut(
    times: np.ndarray,
    offsets_N: np.ndarray,
    spikes_per_block: int,
    blocks: tuple[int, int],
    grid: tuple[float, float],
    counts: np.ndarray,
    reached: np.ndarray,
    start_N: np.ndarray,
    cuts_KN: np.ndarray,
    first: np.ndarray,
) -> None:
    """Fill ``cuts_KN (K + 1, N)``, the cut of each train at each block, and the first time of some blocks.

    ``reached`` holds the current slice of time and the number of spikes before it, ``start_N`` the position of that
    slice in every train; both carry over from one call to the next.
    """
    n_units, n_slices = len(offsets_N) - 1, len(counts)
    smallest, scale = grid
    slice_, before = reached
    end_N = np.empty(n_units, dtype=np.int64)  # position of the slice's end in every train
    ahead_N = np.zeros(n_units, dtype=np.int64)  # distance of the last slice from the one before
    for k in range(blocks[0], blocks[1]):
        rank = k * spikes_per_block
        while before + counts[slice_] <= rank:
            before += counts[slice_]
            slice_ += 1
        # The spikes of this slice, train after train.
        inside = np.empty(counts[slice_], dtype=times.dtype)
        filled = 0
        for n in range(n_units):
            low, high = start_N[n], offsets_N[n + 1]
            # Trains and slices are sorted: skip spikes of earlier slices. Start about as far ahead as last time,
            # then double the steps, so that only nearby spikes are examined.
            begin, step = low, max(1, ahead_N[n] - ahead_N[n] // 8)
            if low + step <= high and _slice(times[low + step - 1], smallest, scale, n_slices) < slice_:
                low += step
                step = max(1, ahead_N[n] // 8)
            while low + step <= high and _slice(times[low + step - 1], smallest, scale, n_slices) < slice_:
                low += step
                step *= 2
            top = min(low + step - 1, high)
            while low < top:
                middle = (low + top) // 2
                if _slice(times[middle], smallest, scale, n_slices) < slice_:
                    low = middle + 1
                else:
                    top = middle
            start_N[n], ahead_N[n] = low, low - begin
            while low < high and _slice(times[low], smallest, scale, n_slices) == slice_:
                inside[filled] = times[low]
                filled += 1
                low += 1
            end_N[n] = low
        edge = np.sort(inside)[rank - before]
        first[k] = edge
        # Spikes before the edge are in earlier blocks; spikes at the edge fill the block, unit after unit.
        missing = rank
        for n in range(n_units):
            cuts_KN[k, n] = first_not_before(times, start_N[n], end_N[n], edge)
            missing -= cuts_KN[k, n] - offsets_N[n]
        for n in range(n_units):
            while missing > 0 and cuts_KN[k, n] < offsets_N[n + 1] and times[cuts_KN[k, n]] == edge:
                cuts_KN[k, n] += 1
                missing -= 1
    reached[0], reached[1] = slice_, before


@compiled()
def _gather(values: np.ndarray, offsets_KN: np.ndarray, place_N: np.ndarray, out: np.ndarray) -> None:
    """Fill some blocks of ``out``; ``place_N`` holds the position of each unit's next value and is advanced."""
    for k in range(len(offsets_KN)):
        for n in range(len(place_N)):
            begin, end = offsets_KN[k, n], offsets_KN[k, n + 1]
            start = place_N[n]
            out[begin:end] = values[start : start + end - begin]
            place_N[n] = start + end - begin
