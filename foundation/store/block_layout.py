"""Which spikes belong into which block, without sorting all of them: trains are sorted already."""

from __future__ import annotations

import numba
import numpy as np

# Slices of time per block in the first, rough count; the spikes of one slice are then put in order.
SLICES_PER_BLOCK = 32


def layout(times: np.ndarray, offsets_N: np.ndarray, spikes_per_block: int) -> tuple[np.ndarray, np.ndarray]:
    """Blocks of ``spikes_per_block`` spikes in order of time; spikes of one time in the order of their units.

    Args:
        times: ``(S,)`` seconds or ticks, unit after unit, sorted inside each unit.
        offsets_N: ``(N + 1,)`` where each unit's spikes begin.
        spikes_per_block: spikes of every block but the last.

    Returns:
        ``edges (K + 1,)``: the first spike of every block, and the last of all. ``offsets_KN (K, N + 1)``: where each
        unit's spikes lie when block follows block, and unit follows unit inside a block.

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
    cuts_KN, first = _cuts(times, offsets_N, spikes_per_block, n_blocks, n_blocks * SLICES_PER_BLOCK)
    counts_KN = np.diff(cuts_KN, axis=0)
    ends_KN = np.cumsum(counts_KN.reshape(-1)).reshape(n_blocks, n_units)
    starts_K = ends_KN[:, :1] - counts_KN[:, :1] if n_units else np.zeros((n_blocks, 1), dtype=np.int64)
    edges = np.append(first, times[_last(times, offsets_N)])
    return edges, np.concatenate([starts_K, ends_KN], axis=1)


def gather(values: np.ndarray, offsets_N: np.ndarray, offsets_KN: np.ndarray, low: int, high: int) -> np.ndarray:
    """Values of spikes ``low`` to ``high - 1`` in the order of the blocks, from values unit after unit.

    Args:
        values: ``(S,)`` one a spike, unit after unit.
        offsets_N, offsets_KN: as in `layout`.
        low, high: which spikes, counted block after block.
    """
    out = np.empty(high - low, dtype=values.dtype)
    skipped_KN = np.cumsum(np.diff(offsets_KN, axis=1), axis=0)
    first, last = (int(np.searchsorted(offsets_KN[:, -1], place, side="right")) for place in (low, max(low, high - 1)))
    before_N = skipped_KN[first - 1] if first else np.zeros(offsets_KN.shape[1] - 1, dtype=np.int64)
    _gather(values, offsets_N, offsets_KN, before_N, first, min(last, len(offsets_KN) - 1), low, high, out)
    return out


@numba.njit(cache=True, nogil=True)
def _last(times: np.ndarray, offsets_N: np.ndarray) -> int:
    best = -1
    for n in range(len(offsets_N) - 1):
        end = offsets_N[n + 1] - 1
        if end >= offsets_N[n] and (best < 0 or times[end] > times[best]):
            best = end
    return best


@numba.njit(cache=True, nogil=True)
def _search(times: np.ndarray, low: int, high: int, value: float) -> int:
    """The first spike of ``low`` to ``high - 1`` that is not before ``value``."""
    while low < high:
        middle = (low + high) // 2
        if times[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@numba.njit(cache=True, nogil=True)
def _cuts(
    times: np.ndarray, offsets_N: np.ndarray, spikes_per_block: int, n_blocks: int, n_slices: int
) -> tuple[np.ndarray, np.ndarray]:
    """``cuts_KN (K + 1, N)``: where each unit's train is cut into blocks; and the first time of every block."""
    n_units = len(offsets_N) - 1
    smallest, largest = times[offsets_N[0]], times[offsets_N[0]]
    for n in range(n_units):
        if offsets_N[n + 1] > offsets_N[n]:
            smallest = min(smallest, times[offsets_N[n]])
            largest = max(largest, times[offsets_N[n + 1] - 1])
    scale = n_slices / (float(largest) - float(smallest)) if largest > smallest else 0.0
    if not scale < 1e300:  # spikes less than an atom of time apart: one slice holds them all
        scale = 0.0
    counts = np.zeros(n_slices, dtype=np.int64)
    for i in range(len(times)):
        counts[min(int((float(times[i]) - float(smallest)) * scale), n_slices - 1)] += 1
    cuts_KN = np.empty((n_blocks + 1, n_units), dtype=np.int64)
    cuts_KN[0] = offsets_N[:-1]
    cuts_KN[n_blocks] = offsets_N[1:]
    first = np.empty(n_blocks, dtype=times.dtype)
    first[0] = smallest
    before = 0
    slice_ = 0
    start_N = offsets_N[:-1].copy()  # where this slice begins in every train
    for k in range(1, n_blocks):
        rank = k * spikes_per_block
        while before + counts[slice_] <= rank:
            before += counts[slice_]
            slice_ += 1
        # The spikes of this slice, train after train.
        inside = np.empty(counts[slice_], dtype=times.dtype)
        filled = 0
        for n in range(n_units):
            i = start_N[n]
            high = offsets_N[n + 1]
            # Trains are sorted and so are slices: skip what lies in slices before.
            low, top = i, high
            while low < top:
                middle = (low + top) // 2
                if min(int((float(times[middle]) - float(smallest)) * scale), n_slices - 1) < slice_:
                    low = middle + 1
                else:
                    top = middle
            start_N[n] = low
            while low < high and min(int((float(times[low]) - float(smallest)) * scale), n_slices - 1) == slice_:
                inside[filled] = times[low]
                filled += 1
                low += 1
        edge = np.sort(inside)[rank - before]
        first[k] = edge
        # Spikes before the edge are in earlier blocks; of those at the edge, so many as are missing, unit after unit.
        missing = rank
        for n in range(n_units):
            cuts_KN[k, n] = _search(times, start_N[n], offsets_N[n + 1], edge)
            missing -= cuts_KN[k, n] - offsets_N[n]
        for n in range(n_units):
            while missing > 0 and cuts_KN[k, n] < offsets_N[n + 1] and times[cuts_KN[k, n]] == edge:
                cuts_KN[k, n] += 1
                missing -= 1
    return cuts_KN, first


@numba.njit(cache=True, nogil=True)
def _gather(
    values: np.ndarray,
    offsets_N: np.ndarray,
    offsets_KN: np.ndarray,
    before_N: np.ndarray,
    first: int,
    last: int,
    low: int,
    high: int,
    out: np.ndarray,
) -> None:
    place_N = offsets_N[:-1] + before_N
    for k in range(first, last + 1):
        for n in range(len(place_N)):
            begin, end = offsets_KN[k, n], offsets_KN[k, n + 1]
            source = place_N[n] - begin
            place_N[n] += end - begin
            start, stop = max(begin, low), min(end, high)
            if start < stop:
                out[start - low : stop - low] = values[source + start : source + stop]
