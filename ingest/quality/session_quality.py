"""Quality metrics of a recording: gaps in observation, silences of all units, clock jumps."""

from __future__ import annotations

from typing import Any

import numpy as np

from foundation.common.processes.compiled import compiled
from foundation.store import Interval, IrregularTimeSeries, Spikes, TimeSeries
from foundation.store.format.spill import let_go, pieces

LISTED = 20
# A silence must be this many times longer than the mean time between two spikes of the population.
UNLIKELY = 50.0
MOST_BINS = 1_000_000
# These trains nearly always suffice to rule out a silence.
TRAINS = 16
# A series is regular if most steps are close to their median; wheel and lick series are not.
REGULAR, TOLERANCE, PERIODS = 0.9, 0.5, 10.0


def spans(interval: Interval) -> dict[str, Any]:
    """Return intervals as JSON values: count, total seconds, the longest, and the longest 20 by time.

    Example:
        >>> spans(Interval([0.0, 5.0], [2.0, 6.0]))
        {'count': 2, 'seconds': 3.0, 'longest': 2.0, 'spans': [[0.0, 2.0], [5.0, 6.0]]}
    """
    lengths = interval.end - interval.start
    listed = np.sort(np.argsort(-lengths, kind="stable")[:LISTED])
    pairs = np.round(np.stack([interval.start[listed], interval.end[listed]], axis=1), 6)
    return {
        "count": len(interval),
        "seconds": round(float(lengths.sum()), 6),
        "longest": round(float(lengths.max(initial=0.0)), 6),
        "spans": pairs.tolist(),
    }


def gaps(domain: Interval) -> Interval:
    """Return the gaps between observed intervals.

    Example:
        >>> gaps(Interval([0.0, 10.0, 12.0], [5.0, 12.0, 20.0])).start.tolist()
        [5.0]
    """
    observed = domain.union()
    return Interval(observed.end[:-1], observed.start[1:])


def silences(spikes: Spikes, domain: Interval, least: float) -> Interval:
    """Return stretches of observed time without any spike, where the population's rate makes that very unlikely.

    Args:
        spikes: of all units.
        domain: the observed time.
        least: minimum seconds of a silence, which must also exceed 50 mean times between two spikes of the population
            (for Poisson spikes: a chance of e^-50).

    Example:
        >>> train = np.concatenate([np.arange(0, 10, 0.1), np.arange(40, 60, 0.1)])
        >>> found = silences(Spikes.from_trains([train]), Interval.single(0.0, 60.0), least=10.0)
        >>> np.round(found.start, 3).tolist(), found.end.tolist()
        ([9.9], [40.0])
    """
    observed = domain.union()
    seconds = observed.duration
    none = Interval(np.empty(0), np.empty(0))
    if not len(spikes) or seconds <= 0:
        return none
    least = max(least, UNLIKELY * seconds / len(spikes))
    first, last = float(observed.start[0]), float(observed.end[-1])
    # No stretch can hide inside a bin that is at most half as long.
    n_bins = int(min(max(1.0, np.ceil(2 * (last - first) / least)), MOST_BINS))
    if n_bins < MOST_BINS and _no_bin_is_empty(spikes, first, last, n_bins):
        return none
    low, high = np.full(n_bins, np.inf), np.full(n_bins, -np.inf)
    for piece in pieces(spikes.times):
        _extremes(spikes.times[piece], first, last, low, high)
    filled = np.isfinite(low)
    start = np.concatenate([[first], high[filled]])
    end = np.concatenate([low[filled], [last]])
    long = end - start > least
    found = Interval(start[long], end[long]).intersect(observed)
    return found.where(found.end - found.start > least)


def _no_bin_is_empty(spikes: Spikes, first: float, last: float, n_bins: int) -> bool:
    """Return whether the longest trains have a spike in every equal bin of ``[first, last]``."""
    filled = np.zeros(n_bins, dtype=bool)
    for unit in np.argsort(-spikes.counts, kind="stable")[:TRAINS].tolist():
        train = spikes.train(unit)
        train = train[np.searchsorted(train, first) : np.searchsorted(train, last, side="right")]
        filled[np.minimum(((train - first) / (last - first) * n_bins).astype(np.int64), n_bins - 1)] = True
        let_go(spikes.times)
        if filled.all():
            return True
    return False


@compiled()
def _extremes(times: np.ndarray, first: float, last: float, low: np.ndarray, high: np.ndarray) -> None:
    """Return the first and the last spike of each of equal bins of ``[first, last]``."""
    n_bins = len(low)
    for t in times:
        if first <= t <= last:
            k = min(int((t - first) / (last - first) * n_bins), n_bins - 1)
            low[k] = min(low[k], t)
            high[k] = max(high[k], t)


def clock_jumps(series: TimeSeries, domain: Interval, least: float) -> Interval:
    """Return pauses of a regular series within observed time: its clock jumped or samples are missing.

    Args:
        series: a behaviour. One with a rate cannot jump, and one of events (licks, rewards) has no regular steps.
        domain: the observed time.
        least: minimum seconds of a jump, which must also exceed ten median steps.

    Example:
        >>> times = np.concatenate([np.arange(0, 5, 0.01), np.arange(25, 30, 0.01)])
        >>> found = clock_jumps(IrregularTimeSeries(times, np.zeros((1000, 1))), Interval.single(0.0, 30.0), least=1.0)
        >>> np.round(found.start, 3).tolist(), found.end.tolist()
        ([4.99], [25.0])
    """
    none = Interval(np.empty(0), np.empty(0))
    if not isinstance(series, IrregularTimeSeries) or len(series) < 3:
        return none
    steps = np.diff(series.timestamps)
    period = float(np.median(steps))
    if np.mean(np.abs(steps - period) <= TOLERANCE * period) < REGULAR:
        return none
    least = max(least, PERIODS * period)
    long = np.flatnonzero(steps > least)
    found = Interval(series.timestamps[long], series.timestamps[long + 1]).intersect(domain)
    return found.where(found.end - found.start > least)
