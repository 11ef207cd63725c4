"""The identity of units: measured properties of a unit, as numbers from which a model can make the unit's rows.

It describes when a unit fires after itself, and how its activity covaries with the others': log rate and log
variability, the intervals between its spikes and its lags up to 400 ms (as `interval_tokens` counts them), the
autocorrelation of its activity in bins of 0.1 s, its correlation with the mean of the other units at lags to 0.3 s, and
the sizes of its loadings on the five principal axes of the population. It does not depend on the order of units; for
recordings without spike times the entries for intervals are 0.

It is measured once over a recording's time and kept in the model, so it does not depend on what a window shows or
hides. Leave time whose activity must not be seen out of ``time``.
"""

from __future__ import annotations

import numpy as np
import torch

from foundation.data.reading.reader import ActivityReader
from foundation.models.parts.interval_tokens import DECADES, INTERVALS, LAGS, ROUNDING, SHORTEST
from foundation.models.parts.made_rows import AUTOCORRELATION, AXES, COUPLING, IDENTITY
from foundation.store import StoredRecording
from foundation.store.interval import Interval
from foundation.store.stored_spikes import StoredSpikes

BIN = 0.1  # seconds, or more if a recording is coarser
LONGEST, MOST = 100, 400  # bins of a window, and number of windows, evenly over the time
SIZE = 4.0  # brings square roots of shares to the size of the other numbers


def unit_identity(recording: StoredRecording, time: Interval | None = None) -> torch.Tensor:
    """Measure the identity of a recording's units.

    Args:
        recording: of a store.
        time: intervals to read, in order; by default all observed time.

    Returns:
        ``(N, F)`` float32, `foundation.models.parts.made_rows.IDENTITY` numbers per unit; always finite.
    """
    time = recording.observed if time is None else time
    trains = _trains(recording, time) if recording.record.kind == "spikes" else None
    identity_NF = np.concatenate([*_activity(recording, time), *_intervals(trains, recording.n_units)], axis=1)
    assert identity_NF.shape[1] == IDENTITY
    return torch.from_numpy(np.nan_to_num(identity_NF, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32))


def _activity(recording: StoredRecording, time: Interval) -> list[np.ndarray]:
    """Return rate, variability, autocorrelation, coupling and loadings of units, from their activity in bins."""
    reader, n_units = ActivityReader(recording), recording.n_units
    sampled = recording.record.kind != "spikes" and recording.resolution
    width = recording.resolution * max(1, round(BIN / recording.resolution)) if sampled else BIN
    starts, bins = _windows(time, width)
    found = [np.zeros((n_units, size)) for size in (1, 1, AUTOCORRELATION, 2 * COUPLING + 1, AXES)]
    if not len(starts):
        return found
    x_WNT = reader.read(reader.table(starts, bins, width), dtype=torch.float32).x_BNT.numpy().astype(np.float64)
    there_WT = np.arange(x_WNT.shape[2]) < bins[:, None]
    x_WNT = np.where(np.isfinite(x_WNT) & there_WT[:, None, :], x_WNT, 0.0)
    count = there_WT.sum()
    mean_N = x_WNT.sum(axis=(0, 2)) / count
    spread_N = _spread(x_WNT, mean_N, there_WT, count)
    if recording.is_counts:
        found[0] = np.log(np.maximum(mean_N / width, 1e-2))[:, None] / 2
        found[1] = np.log((spread_N**2 + 1e-3) / (mean_N + 1e-3))[:, None]
        x_WNT = np.sqrt(x_WNT)
        mean_N = x_WNT.sum(axis=(0, 2)) / count
        spread_N = _spread(x_WNT, mean_N, there_WT, count)
    z_WNT = (x_WNT - mean_N[:, None]) / np.where(spread_N > 0, spread_N, 1.0)[:, None] * there_WT[:, None, :]
    others_WNT = z_WNT.sum(axis=1, keepdims=True) - z_WNT
    scale_N = _spread(others_WNT, np.zeros(n_units), there_WT, count)
    others_WNT = others_WNT / np.where(scale_N > 0, scale_N, 1.0)[:, None]
    lags = range(1, AUTOCORRELATION + 1)
    found[2] = SIZE * np.stack([_lagged(z_WNT, z_WNT, there_WT, lag) for lag in lags], axis=1)
    lags = range(-COUPLING, COUPLING + 1)
    found[3] = SIZE * np.stack([_lagged(z_WNT, others_WNT, there_WT, lag) for lag in lags], axis=1)
    together_NN = np.einsum("wnt,wmt->nm", z_WNT, z_WNT, optimize=True) / count
    axes = min(AXES, n_units)
    loading_NK = np.linalg.eigh(together_NN)[1][:, ::-1][:, :axes]
    found[4][:, :axes] = np.abs(loading_NK) * np.sqrt(n_units)
    return found


def _windows(time: Interval, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Return starts and numbers of bins of windows within spans of time, evenly thinned if there are many."""
    starts: list[float] = []
    bins: list[int] = []
    for start, end in zip(time.start.tolist(), time.end.tolist(), strict=True):
        left = int((end - start) / width + 1e-6)
        for first in range(0, left, LONGEST):
            starts.append(start + first * width)
            bins.append(min(LONGEST, left - first))
    chosen = np.unique(np.linspace(0, max(len(starts) - 1, 0), min(len(starts), MOST)).astype(int))
    return np.array(starts)[chosen], np.array(bins, dtype=np.int64)[chosen]


def _spread(x_WNT: np.ndarray, mean_N: np.ndarray, there_WT: np.ndarray, count: int) -> np.ndarray:
    """Return ``(N,)`` standard deviations over unmasked bins."""
    left_WNT = (x_WNT - mean_N[:, None]) * there_WT[:, None, :]
    spread_N: np.ndarray = np.sqrt((left_WNT**2).sum(axis=(0, 2)) / count)
    return spread_N


def _lagged(a_WNT: np.ndarray, b_WNT: np.ndarray, there_WT: np.ndarray, lag: int) -> np.ndarray:
    """Return ``(N,)`` mean products of a unit's activity with other activity at a lag in bins; 0 without a pair."""
    n_bins = there_WT.shape[1]
    if abs(lag) >= n_bins:
        return np.zeros(a_WNT.shape[1])
    first, second = slice(max(0, -lag), n_bins - max(0, lag)), slice(max(0, lag), n_bins + min(0, lag))
    pairs = (there_WT[:, first] & there_WT[:, second]).sum()
    mean_N: np.ndarray = (a_WNT[:, :, first] * b_WNT[:, :, second]).sum(axis=(0, 2)) / max(pairs, 1)
    return mean_N


def _trains(recording: StoredRecording, time: Interval) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for each unit its spike times within given intervals, and the interval of each spike."""
    spikes = StoredSpikes(recording)
    parts: list[list[np.ndarray]] = [[] for _ in range(recording.n_units)]
    for k in range(spikes.n_blocks):
        times_S, count_N = spikes.block(k)
        for unit, train in enumerate(np.split(times_S, np.cumsum(count_N)[:-1])):
            if len(train):
                parts[unit].append(train)
    found = []
    for of_unit in parts:
        train = np.sort(np.concatenate(of_unit)) if of_unit else np.empty(0)
        train = train[time.contains(train)]
        found.append((train, np.searchsorted(time.start, train, side="right")))
    return found


def _intervals(trains: list[tuple[np.ndarray, np.ndarray]] | None, n_units: int) -> list[np.ndarray]:
    """Return ``(N, 40)`` and ``(N, 38)`` roots of shares of a unit's interspike intervals and lags in one span."""
    intervals_NF, lags_NF = np.zeros((n_units, INTERVALS)), np.zeros((n_units, len(LAGS) - 1))
    for unit, (train, span) in enumerate(trains or []):
        for order in range(1, len(train)):
            seconds = (train[order:] - train[:-order])[span[order:] == span[:-order]]
            if order == 1:
                steps = np.log10(np.maximum(seconds, SHORTEST / 2) / SHORTEST) * (INTERVALS / DECADES)
                place = np.clip(np.floor(steps + ROUNDING), 0, INTERVALS - 1).astype(int)
                intervals_NF[unit] = np.bincount(place, minlength=INTERVALS)
            near = seconds[seconds < LAGS[-1]]
            if not len(near):
                break
            lags_NF[unit] += np.histogram(near, LAGS)[0]
    return [SIZE * np.sqrt(x / np.maximum(x.sum(axis=1, keepdims=True), 1)) for x in (intervals_NF, lags_NF)]
