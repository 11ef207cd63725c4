"""Autocorrelograms of spike trains in logarithmic lags, of all spikes and by deciles of the local rate.

C4 (Beau et al., Cell 2025) classifies units by them; NeuroPyxels computes them. Here lags are binned directly, and not
interpolated from lags of 1 ms, and the observed time at each lag is exact where observation has gaps.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

SHORTEST, LONGEST, LAGS = 1e-3, 1.0, 40  # seconds, and bins of equal width in the logarithm
DECILES = 10
SMOOTHING = 0.25  # seconds over which the local rate is averaged
MAX_REFERENCES = 20_000  # spikes that lags are counted from, evenly over the train


def lag_edges() -> np.ndarray:
    """Return ``(41,)`` borders of the lags in seconds, from 1 ms to 1 s."""
    return np.geomspace(SHORTEST, LONGEST, LAGS + 1)


def local_rate(times: np.ndarray) -> np.ndarray:
    """Return the firing rate around each spike: the reciprocal of the interval, averaged over 250 ms.

    Args:
        times: ``(S,)`` sorted seconds.

    Returns:
        ``(S,)`` Hz.

    Example:
        >>> rate_S = local_rate(np.arange(0.0, 10.0, 0.02))
        >>> float(rate_S[250].round(6))
        50.0
    """
    # The integral of the reciprocal interval is the number of the spike, interpolated in time.
    number_S = np.arange(len(times), dtype=np.float64)
    half = SMOOTHING / 2
    reached = np.minimum(times + half, times[-1:]) - np.maximum(times - half, times[:1])
    passed = np.interp(times + half, times, number_S) - np.interp(times - half, times, number_S)
    return passed / np.maximum(reached, 1e-9)


def autocorrelograms(times: np.ndarray, end_S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rate at each lag after a spike, relative to the mean rate at all lags.

    Args:
        times: ``(S,)`` sorted seconds.
        end_S: ``(S,)`` end of the observed interval that each spike lies in; lags do not reach beyond it.

    Returns:
        ``(40,)`` over all spikes, and ``(10, 40)`` by the decile of the local rate at the spike, from the slowest. Both
        are smoothed over neighbouring lags (Gaussian, standard deviation of one bin), and 0 where nothing was observed.

    Example:
        >>> times = np.arange(0.0, 100.0, 0.05)
        >>> all_L, by_decile_DL = autocorrelograms(times, np.full(len(times), 100.0))
        >>> bool(lag_edges()[all_L.argmax()] <= 0.05 < lag_edges()[all_L.argmax() + 1]), by_decile_DL.shape
        (True, (10, 40))
    """
    n = len(times)
    if n < DECILES:
        return np.zeros(LAGS), np.zeros((DECILES, LAGS))
    decile_S = np.empty(n, dtype=np.int64)
    decile_S[np.argsort(local_rate(times), kind="stable")] = np.arange(n) * DECILES // n
    reference = np.unique(np.linspace(0, n - 1, min(n, MAX_REFERENCES)).round().astype(np.int64))
    edges = lag_edges()
    counts_DL, seconds_DL = np.zeros((DECILES, LAGS)), np.zeros((DECILES, LAGS))
    left_R = (end_S - times)[reference]
    for decile in range(DECILES):
        here = left_R[decile_S[reference] == decile, None]
        seconds_DL[decile] = (np.minimum(here, edges[1:]) - edges[:-1]).clip(min=0).sum(axis=0)
    step = 1
    while len(reference):
        reference = reference[reference + step < n]
        lag = times[reference + step] - times[reference]
        near = (lag < LONGEST) & (end_S[reference + step] == end_S[reference])
        reference, lag = reference[near], lag[near]
        place = np.searchsorted(edges, lag, side="right") - 1
        cell = (decile_S[reference] * LAGS + place)[place >= 0]
        counts_DL += np.bincount(cell, minlength=DECILES * LAGS).reshape(DECILES, LAGS)
        step += 1
    mean_rate = counts_DL.sum() / max(seconds_DL.sum(), 1e-9)
    return _relative(counts_DL.sum(axis=0), seconds_DL.sum(axis=0), mean_rate), _relative(
        counts_DL, seconds_DL, mean_rate
    )


def _relative(counts: np.ndarray, seconds: np.ndarray, mean_rate: float) -> np.ndarray:
    relative = counts / np.maximum(seconds * max(mean_rate, 1e-9), 1e-9)
    smooth: np.ndarray = gaussian_filter1d(np.where(seconds > 0, relative, 0.0), 1.0, axis=-1, mode="nearest")
    return smooth
