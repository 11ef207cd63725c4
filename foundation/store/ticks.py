"""Spike times as integers where integers give the source's float64 back, bit for bit."""

from __future__ import annotations

import numpy as np

from foundation.store.scratch import pieces

# Sampling rates in use, then decimal resolutions; the first that reproduces every time is taken.
SAMPLING_RATES = (30000.0, 20000.0, 25000.0, 24414.0625, 24000.0, 32000.0, 32552.0, 40000.0, 48828.125, 15000.0)
RATES = (*SAMPLING_RATES, 1e4, 1e3, 1e5, 1e6, 1e7, 1e8, 1e9)


def to_ticks(times: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Integer ticks and their rate, when ``ticks / rate`` equals ``times`` bit for bit.

    Args:
        times: ``(S,)`` float64 seconds.

    Returns:
        ``(ticks, rate)`` with int64 ticks, or None when no known rate reproduces the times.

    Example:
        >>> ticks, rate = to_ticks(np.array([0.04435, 0.0511]))
        >>> ticks.tolist(), rate
        ([887, 1022], 20000.0)
        >>> to_ticks(np.array([0.1234567890123])) is None
        True
    """
    times = np.asarray(times, dtype=np.float64)
    rate = tick_rate(times)
    return None if rate is None else (np.rint(times * rate).astype(np.int64), rate)


def tick_rate(times: np.ndarray) -> float | None:
    """The first known rate of which all times are whole ticks, bit for bit; None if there is none.

    Example:
        >>> tick_rate(np.array([0.04435, 0.0511]))
        20000.0
    """
    largest = max((float(np.abs(times[piece]).max()) for piece in pieces(times)), default=0.0)
    if largest > 1e9:
        return None
    for rate in RATES:
        if largest * rate > 2.0**53 or not _whole(times[:4096], rate):
            continue
        if all(_whole(times[piece], rate) for piece in pieces(times)):
            return rate
    return None


def _whole(times: np.ndarray, rate: float) -> bool:
    return np.array_equal(np.rint(times * rate) / rate, times)


def from_ticks(ticks: np.ndarray, rate: float) -> np.ndarray:
    """``(S,)`` float64 seconds of integer ticks."""
    return ticks.astype(np.float64) / rate
