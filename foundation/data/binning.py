"""Spikes and samples into bins. Times are cut in integer nanoseconds, so a spike never moves to a neighbouring bin."""

from __future__ import annotations

import numba
import numpy as np

NANOSECONDS = 1_000_000_000


def to_nanoseconds(seconds: np.ndarray | float) -> np.ndarray:
    """Seconds as int64 nanoseconds, rounded to the nearest.

    Example:
        >>> int(to_nanoseconds(0.1 * 3))
        300000000
    """
    return np.rint(np.asarray(seconds, dtype=np.float64) * NANOSECONDS).astype(np.int64)


@numba.njit(cache=True, nogil=True)
def count_spikes(
    times: np.ndarray,
    offsets_KN: np.ndarray,
    first_block: int,
    last_block: int,
    units: np.ndarray,
    start: int,
    width: int,
    out_NT: np.ndarray,
) -> None:
    """Add the spikes of some units in ``[start, start + T * width)`` to ``out_NT``.

    Args:
        times: ``(S,)`` int64 nanoseconds, sorted by (block, unit, time).
        offsets_KN: ``(K, N + 1)`` where each unit's spikes lie in each block.
        first_block, last_block: the blocks that overlap the window, last one included.
        units: ``(M,)`` which units.
        start, width: window start and bin width in nanoseconds.
        out_NT: ``(M, T)`` counts, added to in place.
    """
    n_bins = out_NT.shape[1]
    end = start + n_bins * width
    for block in range(first_block, last_block + 1):
        for row in range(len(units)):
            low = offsets_KN[block, units[row]]
            high = offsets_KN[block, units[row] + 1]
            stop = high
            while low < high:  # first spike at or after the window's start
                middle = (low + high) // 2
                if times[middle] < start:
                    low = middle + 1
                else:
                    high = middle
            while low < stop and times[low] < end:
                out_NT[row, (times[low] - start) // width] += 1
                low += 1


def rebin(data_TN: np.ndarray, position: float, samples_per_bin: float, n_bins: int, mean: bool) -> np.ndarray:
    """Samples on a grid of bins of another width; a sample is spread evenly over the bins that it spans.

    Args:
        data_TN: ``(T, N)`` samples.
        position: where the first bin starts, in samples from the first one.
        samples_per_bin: width of a bin in samples; below 1 the bins are finer than the samples.
        n_bins: number of bins.
        mean: the mean over each bin (values) instead of the sum (counts).

    Returns:
        ``(N, n_bins)`` float64. Time outside the samples, and missing samples, count as 0.

    Example:
        >>> rebin(np.array([[4.0], [8.0]]), 0.0, 0.5, 4, mean=False).tolist()
        [[2.0, 2.0, 4.0, 4.0]]
        >>> rebin(np.array([[4.0], [8.0]]), 0.0, 2.0, 1, mean=True).tolist()
        [[6.0]]
    """
    edges = np.round(position + np.arange(n_bins + 1) * samples_per_bin, 9)
    edges = np.clip(edges, 0.0, len(data_TN))
    first, last = int(edges[0]), min(int(np.ceil(edges[-1])), len(data_TN))
    local = np.nan_to_num(data_TN[first:last].astype(np.float64))
    total = np.concatenate([np.zeros((1, data_TN.shape[1])), np.cumsum(local, axis=0)])
    whole = np.minimum(edges.astype(np.int64), last) - first
    share = edges - first - whole
    padded = np.concatenate([local, np.zeros((1, data_TN.shape[1]))])
    at_edges = total[whole] + share[:, None] * padded[whole]
    binned_NT = np.diff(at_edges, axis=0).T
    return binned_NT / samples_per_bin if mean else binned_NT
