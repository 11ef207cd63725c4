"""Quality metrics of each unit, from its spike train or samples only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foundation.common.processes.compiled import compiled
from foundation.store import COUNTS, Interval, Recording, RegularTimeSeries, Spikes
from foundation.store.format.spike_ticks import first_not_before
from foundation.store.format.spill import let_go, runs

# Tolerance of comparisons with a limit: the rounding error of 1.5 ms after a float subtraction.
ROUNDING = 1e-9
MOST_BINS = 1 << 40
# Nearer than this share of a bin to its end, the bin of a spike is computed; before, it is that of the spike before.
BORDER = 1e-3


@dataclass(frozen=True)
class UnitFigures:
    """Quality metrics of N units; NaN if unavailable.

    Args:
        rate: ``(N,)`` Hz over the observed time.
        presence_ratio: ``(N,)`` share of equal bins of observed time in which the unit fired.
        isi_violations: ``(N,)`` share of inter-spike intervals below the refractory period.
        contamination: ``(N,)`` estimated share of spikes that other neurons fired.
        duplicates: ``(N,)`` spikes at the same time as the spike before.
    """

    rate: np.ndarray
    presence_ratio: np.ndarray
    isi_violations: np.ndarray
    contamination: np.ndarray
    duplicates: np.ndarray


def unit_figures(recording: Recording, presence_bin: float, refractory: float) -> UnitFigures:
    """Compute the metrics of all units of a recording.

    Args:
        recording: spikes, sampled counts, or sampled values (which have no metrics).
        presence_bin: seconds; observed time is divided into equal bins of about that length.
        refractory: seconds within which no neuron fires twice.
    """
    if recording.spikes is not None:
        return train_figures(recording.spikes, recording.domain, presence_bin, refractory, recording.resolution)
    assert recording.activity is not None  # a recording has either spikes or samples
    if recording.activity_kind == COUNTS:
        return _count_figures(recording.activity, recording.domain, presence_bin)
    unknown = np.full(recording.n_units, np.nan)
    return UnitFigures(unknown, unknown, unknown, unknown, np.zeros(recording.n_units, dtype=np.int64))


def train_figures(
    spikes: Spikes, domain: Interval, presence_bin: float = 60.0, refractory: float = 0.0015, resolution: float = 0.0
) -> UnitFigures:
    """Compute the metrics of spike trains; only spikes inside the observed time count.

    Duplicates are removed before intervals are computed. With N spikes left in T seconds of observed time, of which
    v pairs lie closer than the refractory period r, ``contamination = 1 - sqrt(1 - v T / (N^2 r))`` (Llobet, Wyngaard
    and Barbour 2022, for spikes of many other neurons at random times), and 1 if there are more such pairs than that
    allows. If the ``resolution`` of times is coarser than r, both metrics are unknown.

    Example:
        >>> train = np.array([0.0, 0.001, 10.0, 50.0, 50.0, 70.0])
        >>> figures = train_figures(Spikes.from_trains([train]), Interval.single(0.0, 120.0))
        >>> figures.rate.tolist(), figures.presence_ratio.tolist(), figures.isi_violations.tolist()
        ([0.05], [1.0], [0.25])
        >>> figures.duplicates.tolist()
        [1]
    """
    observed = domain.union()
    seconds = observed.duration
    lengths = observed.end - observed.start
    before = np.concatenate([[0.0], np.cumsum(lengths)[:-1]]) if len(lengths) else np.empty(0)
    n_bins = int(min(max(1.0, seconds // presence_bin), MOST_BINS))
    counts = np.zeros((spikes.n_units, 6), dtype=np.int64)
    if seconds > 0:
        bins = (seconds / n_bins, n_bins)
        for first, last in runs(spikes.offsets):
            low, high = spikes.offsets[first], spikes.offsets[last]
            some = (spikes.times[low:high], spikes.offsets[first : last + 1] - low)
            _count(*some, observed.start, observed.end, before, *bins, refractory - ROUNDING, counts[first:last])
            let_go(spikes.times)
    inside, present, duplicates, intervals, short, pairs = counts.T
    distinct = inside - duplicates
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = inside / seconds
        violations = short / intervals
        rest = 1.0 - pairs * seconds / (distinct.astype(np.float64) ** 2 * refractory)
        contamination = np.where(distinct > 1, 1.0 - np.sqrt(np.maximum(rest, 0.0)), np.nan)
    if resolution > refractory:
        violations, contamination = (np.full(spikes.n_units, np.nan) for _ in range(2))
    presence = present / n_bins if seconds > 0 else np.full(spikes.n_units, np.nan)
    return UnitFigures(rate, presence, violations, contamination, duplicates.copy())


@compiled()
def _count(
    times: np.ndarray,
    offsets: np.ndarray,
    start_K: np.ndarray,
    end_K: np.ndarray,
    before_K: np.ndarray,
    bin_seconds: float,
    n_bins: int,
    refractory: float,
    out_N6: np.ndarray,
) -> None:
    """Count spikes, bins with a spike, duplicates, intervals, short intervals, and pairs below the refractory period.

    Intervals and pairs lie inside one observed interval. ``before_K``: observed seconds before each interval.
    """
    for n in range(len(offsets) - 1):
        begin, last_bin = offsets[n], -1
        inside, present, duplicates, intervals, short, pairs = 0, 0, 0, 0, 0, 0
        for k in range(len(start_K)):
            begin = first_not_before(times, begin, offsets[n + 1], start_K[k])
            end = first_not_before(times, begin, offsets[n + 1], end_K[k])
            inside += end - begin
            border = -np.inf  # before this time a spike is certainly in the last bin
            left, held = begin, 0  # `held` distinct spikes in times[left:j] are near enough to spike j
            near = -1  # the last spike that was near to the one before it
            previous = -np.inf
            for j in range(begin, end):
                time = times[j]
                if time >= border:
                    place = min(int((before_K[k] + time - start_K[k]) / bin_seconds), n_bins - 1)
                    if place != last_bin:
                        present += 1
                        last_bin = place
                    border = start_K[k] - before_K[k] + (place + 1 - BORDER) * bin_seconds
                step = time - previous
                previous = time
                if step >= refractory:  # so nearly always
                    continue
                if near != j - 1:
                    left, held = j - 1, 1
                near = j
                if step == 0.0:
                    duplicates += 1
                    intervals -= 1
                    continue
                while time - times[left] >= refractory:
                    if left == begin or times[left] != times[left - 1]:
                        held -= 1
                    left += 1
                short += 1
                pairs += held
                held += 1
            intervals += max(end - begin - 1, 0)
            begin = end
        out_N6[n] = (inside, present, duplicates, intervals, short, pairs)


def _count_figures(series: RegularTimeSeries, domain: Interval, presence_bin: float) -> UnitFigures:
    """Compute the metrics of sampled counts, reading bin by bin; missing samples count as unobserved."""
    n_units = series.data.shape[1]
    observed = np.flatnonzero(domain.contains(series.timestamps + 0.5 / series.rate))
    step = max(1, round(presence_bin * series.rate))
    events, samples = np.zeros(n_units), np.zeros(n_units)
    present, bins = np.zeros(n_units), np.zeros(n_units)
    for rows in np.array_split(observed, max(1, len(observed) // step)):
        if not len(rows):
            continue
        block = np.asarray(series.data[rows[0] : rows[-1] + 1])[rows - rows[0]].astype(np.float64)
        let_go(series.data)
        here = np.isfinite(block)
        events += np.where(here, block, 0.0).sum(axis=0)
        samples += here.sum(axis=0)
        present += (np.where(here, block, 0.0) > 0).any(axis=0)
        bins += here.any(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate, presence = events * series.rate / samples, present / bins
    unknown = np.full(n_units, np.nan)
    return UnitFigures(rate, presence, unknown, unknown, np.zeros(n_units, dtype=np.int64))
