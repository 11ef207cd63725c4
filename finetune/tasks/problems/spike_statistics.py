"""Plain statistics of a unit's activity: what a learned embedding has to beat."""

from __future__ import annotations

import numpy as np

from foundation.data.reading.reader import ActivityReader
from foundation.embedding.frozen_embeddings import spread_starts
from foundation.embedding.unit_facts import within
from foundation.models.parts.interval_tokens import FEATURES, interval_features
from foundation.store import Interval, StoredRecording

QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
BURST = 0.008
WINDOW, BIN = 40.0, 0.001  # seconds of a window in which intervals are counted, and of a bin


def train_statistics(times: np.ndarray, domain: Interval) -> np.ndarray:
    """Statistics of one spike train.

    Rate and its logarithm; quantiles of the logarithm of inter-spike intervals; their coefficient of variation CV and
    its local forms CV2 (Holt et al. 1996) and LV (Shinomoto et al. 2003); the share of intervals below 8 ms (bursts).
    Intervals that reach over unobserved time are not counted.

    Args:
        times: ``(S,)`` sorted seconds.
        domain: where the unit was observed.

    Returns:
        ``(13,)`` float64; a train with fewer than three intervals has 0 for all but its rates.

    Example:
        >>> regular = train_statistics(np.arange(0.0, 100.0, 0.1), Interval([0.0], [100.0]))
        >>> bool(abs(regular[0] - 10.0) < 1e-9), bool(abs(regular[9]) < 1e-6)
        (True, True)
    """
    times, part = within(times, domain)
    rate = len(times) / max(domain.union().duration, 1e-9)
    isi = np.diff(times)
    same_part = np.diff(part) == 0
    pairs = same_part[1:] & same_part[:-1]
    first, second = isi[:-1][pairs], isi[1:][pairs]
    isi = isi[same_part]
    out = np.zeros(13)
    out[0], out[1] = rate, np.log(rate + 0.01)
    if len(isi) < 3:
        return out
    out[2:9] = np.quantile(np.log(np.maximum(isi, 1e-4)), QUANTILES)
    out[9] = isi.std() / max(isi.mean(), 1e-9)
    if len(first):
        total = np.maximum(first + second, 1e-9)
        out[10] = np.mean(2 * np.abs(second - first) / total)
        out[11] = np.mean(3 * (second - first) ** 2 / total**2)
    out[12] = np.mean(isi < BURST)
    return out


def sampled_statistics(x_T: np.ndarray, rate: float) -> np.ndarray:
    """``(13,)`` the counterpart for sampled activity: mean, spread, skewness, quantiles and how fast it changes.

    Args:
        x_T: ``(T,)`` samples; NaN are dropped.
        rate: samples per second.
    """
    x_T = x_T[np.isfinite(x_T)].astype(np.float64)
    out = np.zeros(13)
    if len(x_T) < 4:
        return out
    centred = x_T - x_T.mean()
    spread = max(float(x_T.std()), 1e-9)
    out[0], out[1] = x_T.mean() * rate, np.log(np.abs(x_T.mean() * rate) + 0.01)
    out[2:9] = np.quantile(x_T, QUANTILES)
    out[9], out[10] = spread / max(abs(float(x_T.mean())), 1e-9), np.mean((centred / spread) ** 3)
    out[11] = np.mean(centred[1:] * centred[:-1]) / spread**2
    out[12] = np.mean(np.abs(np.diff(x_T))) / spread
    return out


def unit_statistics(recording: StoredRecording, units: np.ndarray) -> np.ndarray:
    """``(M, 13)`` statistics of some units of a recording."""
    if recording.activity is not None:
        series = recording.activity
        return np.stack([sampled_statistics(series.data[:, u], series.rate) for u in units])
    blocks = recording.spike_blocks
    assert blocks is not None  # a recording has spikes or samples
    spikes = blocks.to_spikes()
    rows = [train_statistics(spikes.train(int(u)), recording.domain) for u in units]
    recording.__dict__.pop("spike_blocks", None)  # read again if it is needed again
    return np.stack(rows)


def interval_statistics(reader: ActivityReader, windows: int, seed: int) -> np.ndarray | None:
    """What lies between the spikes of each unit: lengths of interval, of two successive ones, and an autocorrelogram.

    Args:
        reader: of a recording with spike times.
        windows: of 40 s (less where the observed time has no such stretch), at most.
        seed: of the choice of windows.

    Returns:
        ``(N, 223)`` float32, the mean of `foundation.models.parts.interval_tokens.interval_features` over the
        windows in which the unit fired; None if nothing was observed for a second without a gap.
    """
    longest = float(np.max(reader.domain.end - reader.domain.start, initial=0.0))
    n_bins = int(min(WINDOW, longest) / BIN)
    if n_bins * BIN < 1.0:
        return None
    total_NF, fired_N = np.zeros((reader.n_units, FEATURES)), np.zeros(reader.n_units)
    for start in spread_starts(reader, n_bins * BIN, windows, seed):
        batch = reader.read(reader.table([start], n_bins, BIN), bins_per_token=n_bins)
        total_NF += interval_features(batch.x_BNT, batch.dt_B, n_bins)[0, :, 0].numpy()
        fired_N += (batch.x_BNT[0] != 0).any(dim=1).numpy()
    return (total_NF / np.maximum(fired_N, 1)[:, None]).astype(np.float32)
