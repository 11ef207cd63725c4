"""Measures of how uniform an order of windows is."""

from __future__ import annotations

import numpy as np

from foundation.data.windows import WindowTable


def distance_from_uniform(table: WindowTable) -> float:
    r"""Return how much closer in the order temporal neighbours are, from 0 (uniform) to 1 (sorted by time).

    For windows of one recording that are neighbours in time, let g be the mean distance of their places in the
    order. A uniform order of n windows has

    .. math:: E[g] = (n + 1) / 3,

    and an order by time has g = 1. The statistic is 1 - (g - 1) / (E[g] - 1), at least 0.

    Args:
        table: n windows in their order, for example ``sampler.windows(0, len(sampler))``.

    Example:
        >>> def ordered(places):
        ...     zero = np.zeros(len(places), dtype=np.int64)
        ...     return WindowTable(zero, places, zero + 1, zero + 1, zero)
        >>> by_time = np.arange(20_000)
        >>> distance_from_uniform(ordered(by_time)), distance_from_uniform(ordered(by_time[::-1]))
        (1.0, 1.0)
        >>> distance_from_uniform(ordered(np.random.default_rng(0).permutation(by_time))) < 0.02
        True
    """
    order = np.lexsort((table.start_B, table.recording_B))
    same = np.diff(table.recording_B[order]) == 0
    if not same.any():
        return 0.0
    gap = float(np.abs(np.diff(order))[same].mean())
    uniform = (len(table) + 1) / 3
    return max(0.0, 1 - (gap - 1) / (uniform - 1)) if uniform > 1 else 0.0


def places_in_batches(table: WindowTable, batch_size: int, seconds: float) -> tuple[float, float]:
    """Return the number of distinct stretches of time in a batch, and its expectation in a uniform order.

    Args:
        table: windows in their order.
        batch_size: windows of a batch.
        seconds: length of a stretch of a recording that counts as one place.

    Returns:
        The mean over whole batches, and the mean over batches of the same windows in a uniformly random order.
    """
    place = table.recording_B * (1 << 40) + table.start_B // round(seconds * 1e9)
    _, place = np.unique(place, return_inverse=True)
    n = len(place) // batch_size
    shuffled = np.random.default_rng(0).permutation(place)
    means = [
        float(np.mean([len(np.unique(row)) for row in p[: n * batch_size].reshape(n, batch_size)]))
        for p in (place, shuffled)
    ]
    return means[0], means[1]
