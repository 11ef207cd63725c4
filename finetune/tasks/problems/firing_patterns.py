"""What a careful person measures of a unit's spikes: rates, intervals, bursts, refractoriness, autocorrelograms.

`finetune.tasks.problems.spike_statistics` has the 13 numbers that the row *firing rates* reads; the row *spike
statistics* reads these.
"""

from __future__ import annotations

import numpy as np

from finetune.tasks.problems.autocorrelograms import DECILES, LAGS, autocorrelograms, lag_edges
from finetune.tasks.problems.spike_statistics import train_statistics
from foundation.embedding.unit_facts import within
from foundation.store import Interval, StoredRecording

FIRST, LAST, INTERVALS, SUCCESSIVE = (
    1e-3,
    10.0,
    40,
    12,
)  # seconds; bins of intervals, and of each of two successive ones
IN_BURST = 0.01  # seconds; spikes closer than this are of one burst
LEAST = 3  # spikes of a burst, and intervals without which there are no such numbers
SHORT = (0.0015, 0.003, 0.006)  # seconds
BURSTS = 12
# Groups of features, as columns of `firing_patterns`; later groups come after earlier ones.
GROUPS = {
    "rates, intervals, bursts and refractoriness": 13 + BURSTS,
    "interval histogram and return map": INTERVALS + SUCCESSIVE**2,
    "autocorrelograms in log lags and by deciles of the rate": LAGS + DECILES * LAGS,
}


def firing_patterns(times: np.ndarray, domain: Interval) -> np.ndarray:
    """Return the statistics of one spike train.

    The columns are those of `GROUPS`: `train_statistics` (13) and `burst_statistics` (12); square roots of the shares
    of 40 lengths of interval from 1 ms to 10 s, and of 12 x 12 lengths of two successive ones (the return map); square
    roots of the `autocorrelograms` of all spikes (40) and by deciles of the local rate (10 x 40).

    Args:
        times: ``(S,)`` sorted seconds.
        domain: where the unit was observed.

    Returns:
        ``(649,)`` float64.

    Example:
        >>> found = firing_patterns(np.arange(0.0, 100.0, 0.05), Interval([0.0], [100.0]))
        >>> len(found) == sum(GROUPS.values()), int(found[25:65].argmax())
        (True, 16)
    """
    inside, part = within(times, domain)
    end_S = domain.union().end[part]
    all_L, by_decile_DL = autocorrelograms(inside, end_S)
    isi, follows = np.diff(inside), np.diff(part) == 0
    pairs = follows[1:] & follows[:-1]
    length = np.geomspace(FIRST, LAST, INTERVALS + 1)
    coarse = np.geomspace(FIRST, LAST, SUCCESSIVE + 1)
    kept = isi.clip(FIRST, LAST * (1 - 1e-9))
    histogram = np.histogram(kept[follows], length)[0]
    return_map = np.histogram2d(kept[:-1][pairs], kept[1:][pairs], (coarse, coarse))[0]
    parts = [
        train_statistics(times, domain),
        burst_statistics(isi, follows, all_L),
        np.sqrt(histogram / max(histogram.sum(), 1)),
        np.sqrt(return_map / max(return_map.sum(), 1)).ravel(),
        np.sqrt(all_L),
        np.sqrt(by_decile_DL).ravel(),
    ]
    return np.concatenate(parts)


def burst_statistics(isi: np.ndarray, follows: np.ndarray, autocorrelogram_L: np.ndarray) -> np.ndarray:
    """Return measures of bursts and of the time after a spike in which a unit does not fire.

    In order: shares of intervals below 1.5, 3 and 6 ms; the share of spikes in bursts (three or more with intervals
    below 10 ms), the mean number of spikes of a burst, and the logarithm of bursts a second of firing; the burst index
    of Royer et al. (Nat Neurosci 2012: peak of the autocorrelogram up to 10 ms against its mean from 40 to 50 ms, as a
    share of the larger); the logarithm of the lag at which the autocorrelogram first reaches half of its height, and
    its mean below 2 ms; the correlation of the logarithms of successive intervals; the entropy of their histogram; LvR
    (Shinomoto et al. 2009) with a refractoriness of 5 ms.

    Args:
        isi: ``(S - 1,)`` seconds between spikes.
        follows: ``(S - 1,)`` False where an interval reaches over unobserved time.
        autocorrelogram_L: ``(40,)`` of `autocorrelograms`.

    Returns:
        ``(12,)`` float64; 0 for a train with fewer than three intervals.

    Example:
        >>> isi = np.tile([0.004, 0.004, 0.004, 0.5], 100)
        >>> found = burst_statistics(isi, np.ones(400, bool), np.ones(40))
        >>> found[2:5].round(2).tolist()
        [0.75, 1.0, 4.0]
    """
    out, seconds = np.zeros(BURSTS), isi[follows]
    if len(seconds) < LEAST:
        return out
    out[:3] = [(seconds < limit).mean() for limit in SHORT]
    near = np.concatenate([[False], (isi < IN_BURST) & follows, [False]])
    edges = np.flatnonzero(np.diff(near.astype(np.int8)))
    spikes = edges[1::2] - edges[::2] + 1
    spikes = spikes[spikes >= LEAST]
    if len(spikes):
        out[3:5] = spikes.sum() / (len(isi) + 1), spikes.mean()
    out[5] = np.log(len(spikes) / max(seconds.sum(), 1e-9) + 0.001)
    start = lag_edges()[:-1]
    peak, later = autocorrelogram_L[start < 0.01].max(), autocorrelogram_L[(start >= 0.04) & (start < 0.05)].mean()
    out[6] = (peak - later) / max(peak, later, 1e-9)
    out[7] = np.log(start[np.argmax(autocorrelogram_L >= autocorrelogram_L.max() / 2)])
    out[8] = autocorrelogram_L[start < 0.002].mean()
    pairs = follows[1:] & follows[:-1]
    first, second = isi[:-1][pairs], isi[1:][pairs]
    logs = np.log(np.maximum(np.stack([first, second]), 1e-4))
    if len(first) >= LEAST and (logs.std(axis=1) > 1e-9).all():
        out[9] = np.corrcoef(logs)[0, 1]
    share = np.histogram(seconds.clip(FIRST, LAST), np.geomspace(FIRST, LAST, INTERVALS + 1))[0] / len(seconds)
    out[10] = -(share[share > 0] * np.log(share[share > 0])).sum()
    if len(first):
        total = np.maximum(first + second, 1e-9)
        out[11] = np.mean(3 * (1 - 4 * first * second / total**2) * (1 + 4 * 0.005 / total))
    return out


def unit_patterns(recording: StoredRecording, units: np.ndarray) -> np.ndarray:
    """Return ``(M, 649)`` float32 statistics of some units of a recording with spike times."""
    blocks = recording.spike_blocks
    assert blocks is not None  # of a recording with spike times
    spikes = blocks.to_spikes()
    rows = [firing_patterns(spikes.train(int(u)), recording.domain) for u in units]
    recording.__dict__.pop("spike_blocks", None)  # read again if it is needed again
    return np.stack(rows).astype(np.float32)
