"""Read the table of spike trains: find it, read its trains, and find where its units were observed."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from hdmf.common import DynamicTable, DynamicTableRegion, VectorIndex
from pynwb import NWBFile
from pynwb.misc import Units

from foundation.common.errors import SourceError
from foundation.store import Interval, Spikes
from foundation.store.format.finite import is_finite
from foundation.store.format.spill import let_go
from ingest.nwb.file.unfinished import refuse_unfinished_index, refuse_unfinished_trains
from ingest.nwb.nwb_arrays import load, load_slowly
from ingest.nwb.read_log import Notes
from ingest.nwb.series.sampled_series import find_containers
from ingest.nwb.spikes.spike_times import Change, change_slowly, clean_trains, count_outside
from ingest.nwb.spikes.trial_times import Trials, refuse_unlabelled_trials, unfold
from ingest.nwb.table_columns import ragged_bounds
from ingest.quality.read_counts import Quality
from ingest.recipe.name_patterns import matches
from ingest.recipe.recipe_rules import SpikeTimeRules, UnitRules

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpikeTrains:
    """The spike trains of a units table.

    Args:
        spikes: clean trains, in seconds from the session's start.
        windows: the trials used to unfold times that restart in each trial; else None.
    """

    spikes: Spikes
    windows: Interval | None = None


@dataclass(frozen=True)
class _Stored:
    """Spike times in seconds, as laid out in the file.

    Args:
        times: ``(S,)``, unit after unit.
        bounds: ``(N + 1,)`` offsets of each unit's times.
        lists: ``(S,)`` the list of each time within its unit, if units have one list per trial.
        lists_per_unit: ``(N,)`` number of lists per unit.
    """

    times: np.ndarray
    bounds: np.ndarray
    lists: np.ndarray | None = None
    lists_per_unit: np.ndarray | None = None


def read_spikes(
    table: Any,
    path: str,
    notes: Notes,
    strict: bool,
    *,
    rules: SpikeTimeRules,
    seconds: Change | None = None,
    trials: Trials | None = None,
) -> SpikeTrains:
    """Read the spike trains of a units table.

    Args:
        table: the units table.
        path: its path in the file.
        notes: gets the corrections of `clean_trains`, and ``spike_times_unfolded`` if times restart in every trial;
            counts ``spikes_dropped_without_unit`` (those behind the last unit's end) and ``spike_times_suspicious`` if
            sorted times may restart in every trial.
        strict: refuse instead of correcting.
        rules: columns with the trial of each spike, and whether to check times.
        seconds: converts stored times to seconds (see `seconds_of`); None if they are seconds.
        trials: the trials of the file.

    Raises:
        SourceError: if the table's index does not fit its spike times, or times restart in every trial and the trials
            are unknown; with ``strict``, if a train needs correction or may mix trials.
    """
    stored = _stored_trains(table, path, seconds)
    times, bounds = stored.times, stored.bounds
    if lost := len(times) - int(bounds[-1]):
        notes.leave(f"{path}/spike_times, its end", f"{lost} spikes behind the end of the last unit's")
        notes["spikes_dropped_without_unit"] += lost
    windows = None
    if trials is not None:
        rows = _trial_of_each_spike(table, path, rules, stored, trials)
        laid = None if rows is None else unfold(times, bounds, rows, trials)
        if laid is not None:
            times, windows = laid, _windows(trials)
            notes["spike_times_unfolded"] += 1
        elif rules.check:
            _warn(refuse_unlabelled_trials(times, bounds, trials), f"{path}/spike_times", notes, strict)
    spikes = clean_trains(times, bounds, notes, strict)
    how = "" if windows is None else f", which restarted in each of {len(trials or ())} trials"
    notes.take(f"{path}/spike_times", f"{len(spikes)} spikes of {spikes.n_units} units{how}")
    return SpikeTrains(spikes, windows)


def _warn(why: str | None, path: str, notes: Notes, strict: bool) -> None:
    if why is None:
        return
    if strict:
        raise SourceError(f"{path}: {why}")
    log.warning("%s: %s", path, why)
    notes.take(path, f"suspicious: {why}")
    notes["spike_times_suspicious"] += 1


def _windows(trials: Trials) -> Interval | None:
    good = np.isfinite(trials.start) & (trials.stop > trials.start)
    return Interval(trials.start[good], trials.stop[good]).union() if good.any() else None


def _trial_of_each_spike(
    table: Any, path: str, rules: SpikeTimeRules, stored: _Stored, trials: Trials
) -> np.ndarray | None:
    """Return ``(S,)`` trial rows of spikes, from lists per trial or a column; None without either."""
    if stored.lists is not None:
        return stored.lists if np.all(stored.lists_per_unit == len(trials)) else None
    for name in table.colnames:
        column = table[name]
        if name == "spike_times" or not matches(rules.trials, name) or not isinstance(column, VectorIndex):
            continue
        if isinstance(column.target, VectorIndex) or len(column.target.data) != len(stored.times):
            continue
        named = np.asarray(load(column.target.data, f"{path}/{name}"))
        ends = np.asarray(load(column.data, f"{path}/{name}_index")).astype(np.int64)
        if named.ndim != 1 or named.dtype.kind not in "iuf" or not np.array_equal(ends, stored.bounds[1:]):
            continue
        whole = np.rint(named) if np.isfinite(named).all() else None
        if whole is not None and (whole == named).all():
            numbers = whole.astype(np.int64)
            if isinstance(column.target, DynamicTableRegion):
                return trials.region_rows(numbers, column.target.table)
            return trials.rows(numbers)
    return None


def _stored_trains(table: Any, path: str, seconds: Change | None) -> _Stored:
    column = table["spike_times"]
    if not isinstance(column, VectorIndex):
        return _without_index(column, path, len(table), seconds)
    lists, inner = None, column.target
    if isinstance(inner, VectorIndex):  # one list of times per unit and trial
        inner, lists = inner.target, inner
    times = load_slowly(inner.data, f"{path}/spike_times")
    times = times.reshape(-1) if times.ndim == 2 and times.shape[1] == 1 else times
    n_rows = len(table) if lists is None else len(lists.data)
    ends = _bounds(column if lists is None else lists, len(times), n_rows, f"{path}.spike_times_index")
    refuse_unfinished_trains(inner.data, times, ends, f"{path}/spike_times")
    times = times if seconds is None else change_slowly(times, seconds)
    if lists is None:
        return _Stored(times, ends)
    per_unit = _bounds(column, len(ends) - 1, len(table), f"{path}.spike_times_index_index")
    number = np.arange(per_unit[-1]) - np.repeat(per_unit[:-1], np.diff(per_unit))
    return _Stored(
        times, ends[per_unit], np.repeat(number, np.diff(ends)[: per_unit[-1]]), np.diff(per_unit).astype(np.int64)
    )


def _without_index(column: Any, path: str, n_units: int, seconds: Change | None) -> _Stored:
    times = load_slowly(column.data, f"{path}/spike_times")
    if times.ndim not in (1, 2) or len(times) != n_units or times.dtype.kind not in "iuf":
        raise SourceError(
            f"{path}/spike_times has shape {times.shape} and no index: expected an index, a time for each of "
            f"{n_units} units, or a row of times for each, filled up with NaN"
        )
    times, bounds = _unpadded(times.reshape(n_units, -1))
    return _Stored(times if seconds is None else change_slowly(times, seconds), bounds)


def _unpadded(times_NK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the times of a matrix with a row per unit, without the NaN (or trailing 0) padding of each row."""
    after = np.where(np.isnan(times_NK), 0, times_NK) > 0
    after |= times_NK < 0
    lengths = times_NK.shape[1] - np.argmax(after[:, ::-1], axis=1)
    empty = ~after.any(axis=1)
    # A time of 0 is a spike if the row is padded with NaN or full.
    filled_with_zeros = ~np.isnan(times_NK).any(axis=1) & (times_NK.shape[1] > 1)
    lengths[empty] = ((times_NK[:, 0] == 0) & ~filled_with_zeros)[empty]
    kept = np.arange(times_NK.shape[1]) < lengths[:, None]
    return times_NK[kept], np.concatenate([[0], np.cumsum(lengths)])


def _bounds(index: VectorIndex, total: int, n_units: int, name: str) -> np.ndarray:
    ends = load(index.data, name)
    refuse_unfinished_index(ends, name)
    try:
        bounds = ragged_bounds(ends, total)
    except ValueError as error:
        raise SourceError(f"{name} is damaged: {error}") from error
    if len(bounds) != n_units + 1:
        raise SourceError(f"{name} is damaged: {len(bounds) - 1} rows for {n_units} units")
    return bounds


def observed_time(
    per_unit: list[Interval], trains: SpikeTrains, quality: Quality, seconds: Change | None = None
) -> Interval:
    """Return the time in which the population was observed.

    Equal ``obs_intervals`` of all units are used as they are. If they differ: the time common to all units if that is
    more than half of the time of any unit, otherwise the time of any unit. Without ``obs_intervals``: from the first
    spike to the last, or the trials if times restart in each. Intervals are converted like the spike times if they fit
    better so.

    Args:
        per_unit: intervals of each unit from `observation_intervals`.
        trains: the spike trains.
        quality: gets ``obs_intervals_differ`` (units that differ from the first) and ``spikes_outside_observation``
            (which are kept).
        seconds: the conversion of stored times to seconds.

    Raises:
        SourceError: if there is neither an observation interval nor a spike.
    """
    spikes = trains.spikes
    if seconds is not None and len(spikes):
        per_unit = _in_unit_of_spikes(per_unit, seconds, spikes.span[1])
    if trains.windows is not None and not any(len(o) and o.end.max() >= trains.windows.start.max() for o in per_unit):
        return trains.windows
    stated = [observed for observed in per_unit if len(observed)]
    if not stated:
        if not len(spikes):
            raise SourceError("none of the units has a spike or an observation interval")
        # Intervals are half open: include the last spike.
        first_spike, last_spike = spikes.span
        return Interval.single(first_spike, float(np.nextafter(last_spike, np.inf)))
    for unit, observed in enumerate(per_unit):
        if len(observed):
            quality["spikes_outside_observation"] += count_outside(spikes.train(unit), observed)
            let_go(spikes.times)
    first = stated[0]
    differing = [o for o in stated[1:] if not (_same(o.start, first.start) and _same(o.end, first.end))]
    if not differing:
        return first.union()
    quality["obs_intervals_differ"] += len(differing)
    common = first.union()
    for observed in differing:
        common = common.intersect(observed)
    union = Interval(np.concatenate([o.start for o in stated]), np.concatenate([o.end for o in stated])).union()
    return common if common.duration > union.duration / 2 else union


def _in_unit_of_spikes(per_unit: list[Interval], seconds: Change, last: float) -> list[Interval]:
    """Return intervals in seconds: unchanged or converted like spike times, whichever ends nearer the last spike."""
    end = max((float(observed.end.max()) for observed in per_unit if len(observed)), default=0.0)
    converted = float(seconds(np.array([end]))[0])
    if not per_unit or abs(converted - last) >= abs(end - last):
        return per_unit
    return [Interval(seconds(observed.start), seconds(observed.end)) for observed in per_unit]


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b)


def observation_intervals(table: Any, path: str, quality: Quality) -> list[Interval]:
    """Return each unit's ``obs_intervals`` from the file; an empty list if it has none.

    Args:
        table: the units table.
        path: its path in the file.
        quality: gets ``obs_intervals_dropped`` (whose end is not after their start).

    Raises:
        SourceError: if they match the units neither by an index nor one by one.
    """
    if "obs_intervals" not in table.colnames:
        return []
    column = table["obs_intervals"]
    indexed = isinstance(column, VectorIndex)
    data = load((column.target if indexed else column).data, f"{path}/obs_intervals")
    spans = np.asarray(data, dtype=np.float64).reshape(-1, 2)
    if indexed:
        bounds = _bounds(column, len(spans), len(table), f"{path}.obs_intervals_index")
    elif len(spans) == len(table):  # one interval per unit
        bounds = np.arange(len(table) + 1)
    else:
        raise SourceError(f"{path}/obs_intervals has {len(spans)} intervals for {len(table)} units and no index")
    quality["obs_intervals_dropped"] += len(spans) - int(bounds[-1])
    spans = spans[: bounds[-1]]
    good = is_finite(spans).all(axis=1) & (spans[:, 1] > spans[:, 0])
    quality["obs_intervals_dropped"] += int((~good).sum())
    per_unit = []
    for start, end in pairwise(bounds):
        rows = spans[start:end][good[start:end]]
        per_unit.append(Interval(rows[:, 0], rows[:, 1]))
    return per_unit


def find_units(nwb: NWBFile, rules: UnitRules, notes: Notes) -> tuple[str, Any] | None:
    """Find the table of spike-sorted units.

    Takes the first table that an expression of the recipe's ``units.tables`` matches, else the file's own ``units``,
    else the first by path.

    Args:
        nwb: the open file.
        rules: which table is preferred.
        notes: gets every other table with spike times; unless a recipe names one, they count as
            ``units_tables_left_out``.

    Returns:
        The path and the table; None if no table has spike times.

    Raises:
        SourceError: if the recipe's preferred table is damaged and another would be read instead.
    """
    found: list[tuple[str, Any]] = [("units", nwb.units)] if has_spikes(nwb.units) else []
    elsewhere = [(path, item) for path, item in find_containers(nwb) if has_spikes(item) and _is_of_units(item)]
    found += sorted(elsewhere, key=lambda item: item[0])
    for part in notes.damaged:
        rank = _rank(part.path, rules)
        if part.neurodata_type == "Units" and rank < min((_rank(path, rules) for path, _ in found), default=rank):
            raise SourceError(f"{part.path}, which the recipe's units.tables names, cannot be read")
    unique = list({id(table): (path, table) for path, table in reversed(found)}.values())[::-1]
    if not unique:
        return None
    named = [one for pattern in rules.tables for one in unique if matches([pattern], one[0])]
    taken = (named or unique)[0]
    for path, table in unique:
        if table is not taken[1]:
            why = f"a table of {len(table)} units beside {taken[0]}; the recipe's units.tables chooses"
            notes.leave(path, why, "" if named else "units_tables_left_out")
    return taken


def _rank(path: str, rules: UnitRules) -> int:
    """Return the rank of the ``units.tables`` expression that matches a table; the number of expressions if none."""
    named = [matches([pattern], path) for pattern in rules.tables]
    return named.index(True) if True in named else len(named)


def has_spikes(table: Any) -> bool:
    """Return whether an object is a table of units with spike times."""
    return isinstance(table, DynamicTable) and len(table) > 0 and "spike_times" in table.colnames


def _is_of_units(table: DynamicTable) -> bool:
    """Return whether a table outside ``units`` has a row per unit, and not a row per spike or per trial."""
    return isinstance(table, Units) or (
        isinstance(table["spike_times"], VectorIndex) and not {"start_time", "timestamp"} & set(table.colnames)
    )
