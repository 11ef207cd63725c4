"""Checks of spike times (sorted, finite) and their conversion to integer ticks before they are stored.

Ticks are stored only if they reproduce the source's float64 times bit for bit.
"""

from __future__ import annotations

import numpy as np

from foundation.common.processes.compiled import compiled
from foundation.store.format.spill import empty, let_go, pieces


def first_wrong(times: np.ndarray, offsets: np.ndarray) -> int | None:
    """Return the first spike that is not finite or earlier than its unit's previous spike; None if all are in order.

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
    """Return the same for the spikes ``low`` to ``high - 1``; -1 if all are in order."""
    n = np.searchsorted(offsets, low, side="right") - 1
    start = low
    while start < high:
        while offsets[n + 1] <= start:
            n += 1
        end = min(offsets[n + 1], high)
        first = max(start, offsets[n] + 1)
        wrong = 0
        for i in range(first, end):  # branch-free, so that it compiles to vector code; NaN is never in order
            wrong += not (times[i] >= times[i - 1])
        # Sorted values between two finite numbers are finite.
        if wrong or not (np.isfinite(times[start]) and np.isfinite(times[end - 1])):
            for i in range(start, end):
                if not np.isfinite(times[i]) or (i >= first and times[i] < times[i - 1]):
                    return i
        start = end
    return -1


# Common sampling rates, then decimal resolutions; the first that reproduces every time is used.
SAMPLING_RATES = (30000.0, 20000.0, 25000.0, 24414.0625, 24000.0, 32000.0, 32552.0, 40000.0, 48828.125, 15000.0)
RATES = (*SAMPLING_RATES, 1e4, 1e3, 1e5, 1e6, 1e7, 1e8, 1e9)
LATEST = 1e9
# Number of spikes on which a rate is tested before it is tested on all.
FIRST = 4096


@compiled()
def first_not_before(times: np.ndarray, low: int, high: int, value: float) -> int:
    """Return the first spike from ``low`` to ``high - 1`` at or after a time; ``high`` if all are earlier.

    Example:
        >>> first_not_before(np.array([1.0, 2.0, 2.0, 5.0]), 0, 4, 2.0)
        1
    """
    while low < high:
        middle = (low + high) // 2
        if times[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


def to_ticks(times: np.ndarray, largest: float | None = None) -> tuple[np.ndarray, float] | None:
    """Return integer ticks and their rate if ``ticks / rate`` equals ``times`` bit for bit.

    Args:
        times: ``(S,)`` float64 seconds.
        largest: the largest absolute time, if known.

    Returns:
        ``(ticks, rate)``, or None when no known rate reproduces the times. Ticks are int32 where all of them fit,
        otherwise int64; large arrays spill to disk (`foundation.store.format.spill`).

    Example:
        >>> ticks, rate = to_ticks(np.array([0.04435, 0.0511]))
        >>> ticks.tolist(), rate
        ([887, 1022], 20000.0)
        >>> to_ticks(np.array([0.1234567890123])) is None
        True
    """
    times = np.ascontiguousarray(times, dtype=np.float64)
    if largest is None:
        largest = max((_largest(times[piece]) for piece in pieces(times)), default=0.0)
    if largest > LATEST:
        return None
    for rate in RATES:
        if largest * rate > 2.0**53 or not _fill(times[:FIRST], rate, np.empty(min(FIRST, len(times)), np.int64)):
            continue
        ticks = empty(len(times), np.int32 if np.rint(largest * rate) < 2**31 else np.int64)
        if _fill_slowly(times, rate, ticks):
            return ticks, rate
    return None


def _largest(times: np.ndarray) -> float:
    return max(-float(times.min()), float(times.max()))


def _fill_slowly(times: np.ndarray, rate: float, ticks: np.ndarray) -> bool:
    for piece in pieces(times):
        if not _fill(times[piece], rate, ticks[piece]):
            return False
        let_go(ticks)
    return True


@compiled()
def _fill(times: np.ndarray, rate: float, ticks: np.ndarray) -> bool:
    """Write ticks; return True if they reproduce every time."""
    wrong = 0
    for i in range(len(times)):  # branch-free, so that it compiles to vector code
        tick = np.rint(times[i] * rate)
        wrong += tick / rate != times[i]
        ticks[i] = tick
    return wrong == 0


def from_ticks(ticks: np.ndarray, rate: float) -> np.ndarray:
    """Return ``(S,)`` float64 seconds of integer ticks."""
    return ticks.astype(np.float64) / rate
