"""Whether spike trains are sorted and finite: one compiled pass, as every train is looked at when it is read."""

from __future__ import annotations

import numpy as np

from foundation.common.processes.compiled import compiled
from foundation.store.format.spill import pieces


def first_wrong(times: np.ndarray, offsets: np.ndarray) -> int | None:
    """The first spike that is not finite, or earlier than the one before it of the same unit; None if there is none.

    Args:
        times: ``(S,)`` float64 seconds, unit after unit.
        offsets: ``(N + 1,)`` int64, rising from 0 to S.

    Example:
        >>> first_wrong(np.array([1.0, 2.0, 0.5, 0.4]), np.array([0, 2, 4]))
        3
        >>> first_wrong(np.array([1.0, 2.0, 0.5]), np.array([0, 2, 3])) is None
        True
    """
    for piece in pieces(times):
        found = _first_wrong(times, offsets, piece.start, piece.stop)
        if found >= 0:
            return int(found)
    return None


@compiled()
def _first_wrong(times: np.ndarray, offsets: np.ndarray, low: int, high: int) -> int:
    """The same for the spikes ``low`` to ``high - 1``; -1 if there is none."""
    n = np.searchsorted(offsets, low, side="right") - 1
    start = low
    while start < high:
        while offsets[n + 1] <= start:
            n += 1
        end = min(offsets[n + 1], high)
        first = max(start, offsets[n] + 1)
        wrong = 0
        for i in range(first, end):  # without a branch, so that it is compiled to vectors; NaN is never in order
            wrong += not (times[i] >= times[i - 1])
        # What is in order between two finite numbers is finite.
        if wrong or not (np.isfinite(times[start]) and np.isfinite(times[end - 1])):
            for i in range(start, end):
                if not np.isfinite(times[i]) or (i >= first and times[i] < times[i - 1]):
                    return i
        start = end
    return -1
