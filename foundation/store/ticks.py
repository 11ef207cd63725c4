"""Spike times as integers where integers give the source's float64 back, bit for bit."""

from __future__ import annotations

import numpy as np

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
    if len(times) and np.abs(times).max() > 1e9:
        return None
    for rate in RATES:
        if len(times) and np.abs(times).max() * rate > 2.0**53:
            continue
        probe = times[:4096]
        if not np.array_equal(np.rint(probe * rate) / rate, probe):
            continue
        ticks = np.rint(times * rate)
        if np.array_equal(ticks / rate, times):
            return ticks.astype(np.int64), rate
    return None


def from_ticks(ticks: np.ndarray, rate: float) -> np.ndarray:
    """``(S,)`` float64 seconds of integer ticks."""
    return ticks.astype(np.float64) / rate
