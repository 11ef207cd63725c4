"""Unfold spike times that restart in every trial along the session, if the file has the trials; else refuse them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from foundation.common.errors import SourceError
from ingest.nwb.spikes.time_units import MIN_RATIO

# Minimum trials and spikes to detect times that restart.
MIN_TRIALS, MIN_SPIKES, MIN_TRAIN = 5, 100, 20
# Times lie within the longest trial, and trials extend this many times beyond it.
LONGER, MIN_LATER = 1.5, 5.0
# Trains that decrease this often mix trials; with this share of intervals below 1 ms they may.
MIN_FALLS, TOO_SHORT, MIN_SHORT_SHARE = 3, 0.001, 0.05
# Spikes fit their trials if the first share lies inside, and do not if less than the second does.
FIT, MISFIT = 0.9, 0.5
MAX_UNITS = 64


@dataclass(frozen=True)
class Trials:
    """The K trials of a file.

    Args:
        start, stop: ``(K,)`` seconds.
        names: numbers by which spikes may refer to trials, such as the table's ids; each ``(K,)``.
        table: the table of trials, if any: a region of rows refers to trials only if it is of this table.
    """

    start: np.ndarray
    stop: np.ndarray
    names: tuple[np.ndarray, ...] = ()
    table: Any = None

    def __len__(self) -> int:
        return len(self.start)

    @property
    def longest(self) -> float:
        """Seconds of the longest trial; the longest step between starts if no trial has an end."""
        lengths = (self.stop - self.start)[np.isfinite(self.stop - self.start)]
        lengths = lengths if len(lengths) else np.diff(np.unique(self.start[np.isfinite(self.start)]))
        return float(lengths.max(initial=0.0))

    @property
    def end(self) -> float:
        """Time of the last trial's start or end."""
        both = np.concatenate([self.start, self.stop])
        return float(both[np.isfinite(both)].max(initial=-np.inf))

    def region_rows(self, rows: np.ndarray, table: Any) -> np.ndarray | None:
        """Return the rows of a region of the trials' table; None for another table or missing rows."""
        if table is None or table is not self.table or not len(rows):
            return None
        return rows if rows.min() >= 0 and rows.max() < len(self) else None

    def rows(self, named: np.ndarray) -> np.ndarray | None:
        """Return the trial rows of numbers: values of a column, or counted from 1 or 0; None if they do not match."""
        if not len(named) or not len(self):
            return None
        for names in self.names:
            order = np.argsort(names, kind="stable")
            place = np.minimum(np.searchsorted(names[order], named), len(names) - 1)
            if len(np.unique(names)) == len(names) and (names[order][place] == named).all():
                return order[place]
        low, high = int(named.min()), int(named.max())
        if low >= 1 and high == len(self):
            return named - 1
        return named if low >= 0 and high < len(self) else None


def unfold(times: np.ndarray, bounds: np.ndarray, rows: np.ndarray, trials: Trials) -> np.ndarray | None:
    """Unfold times that restart in every trial along the session.

    Args:
        times: ``(S,)`` seconds, unit after unit.
        bounds: ``(N + 1,)`` offsets of each unit's spikes.
        rows: ``(S,)`` the trial of each spike.
        trials: the trials.

    Returns:
        ``(S,)`` seconds from the session's start, sorted inside each unit; None if times already lie in their trials,
        or fit them neither way.

    Example:
        >>> trials = Trials(np.array([0.0, 10.0, 20.0]), np.array([5.0, 15.0, 25.0]))
        >>> unfold(np.array([1.0, 4.0, 2.0, 0.5]), np.array([0, 3, 4]), np.array([0, 1, 2, 2]), trials).tolist()
        [1.0, 14.0, 22.0, 20.5]
    """
    start = trials.start[rows]
    length = np.where(np.isfinite(trials.stop[rows]), trials.stop[rows] - start, trials.longest)
    margin = 0.1 * length
    with np.errstate(invalid="ignore"):
        as_it_is = (times >= start - margin) & (times <= start + length + margin)
        from_start = (times >= -margin) & (times <= length + margin)
    if as_it_is.mean() >= MISFIT or from_start.mean() < FIT:
        return None
    laid = times + start
    for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        laid[first:last].sort()
    return laid


def refuse_unlabelled_trials(times: np.ndarray, bounds: np.ndarray, trials: Trials) -> str | None:
    """Raise if times restart in every trial, so that all trials overlap the first.

    All times must lie within one trial's length while trials extend much further, and trains must decrease again and
    again.

    Returns:
        A warning for sorted trains too dense for a neuron: overlapping trials that were sorted, or fast multi-unit
            activity. None if nothing is suspicious, or if trials extend so far that the times are more likely in
            another unit.

    Raises:
        SourceError: with the recipe setting for the trial of each spike.
    """
    starts = trials.start[np.isfinite(trials.start)]
    finite = times[np.isfinite(times)]
    if len(starts) < MIN_TRIALS or len(finite) < MIN_SPIKES:
        return None
    low, high, longest = float(finite.min()), float(finite.max()), trials.longest
    if high > LONGER * longest or low < -longest or starts.max() <= MIN_LATER * max(high, longest):
        return None
    falls, short = _falls_and_short_share(times, bounds)
    where = (
        f"all lie from {low:.3g} to {high:.3g} s, and the {len(starts)} trials begin from {starts.min():.3g} to "
        f"{starts.max():.3g} s"
    )
    advice = "set the recipe's spike_times.trials to the column with the trial of each spike"
    if falls >= MIN_FALLS:
        raise SourceError(f"spike times restart in every trial: {where}; {advice}")
    if short < MIN_SHORT_SHARE or trials.end >= MIN_RATIO * high:
        return None
    return f"spike times may restart in every trial: {where}, and {short:.0%} of intervals are below 1 ms; {advice}"


def _falls_and_short_share(times: np.ndarray, bounds: np.ndarray) -> tuple[float, float]:
    """Return how often the median train decreases, and the share of all intervals below `TOO_SHORT`."""
    lengths = np.diff(bounds)
    units = np.flatnonzero(lengths >= MIN_TRAIN)
    if not len(units):
        return 0.0, 0.0
    falls, short, steps = [], 0, 0
    for unit in units[np.linspace(0, len(units) - 1, min(len(units), MAX_UNITS)).astype(np.int64)].tolist():
        train = times[bounds[unit] : bounds[unit + 1]]
        falls.append(int((np.diff(train) < 0).sum()))
        step = np.diff(np.sort(train))
        short += int(((step > 0) & (step < TOO_SHORT)).sum())
        steps += len(step)
    return float(np.median(falls)), short / steps
