"""Times of a file other than spikes: its trials, and the ends of trials, behaviour and other series."""

from __future__ import annotations

from typing import Any

import numpy as np
from pynwb import NWBFile
from pynwb.ecephys import ElectricalSeries
from pynwb.ophys import OnePhotonSeries, RoiResponseSeries, TwoPhotonSeries

from foundation.store import Interval
from foundation.store.format.finite import is_finite
from ingest.nwb.read_log import Notes
from ingest.nwb.series.interval_tables import find_tables
from ingest.nwb.series.sampled_series import FoundSeries, rate_of, why_left
from ingest.nwb.spikes.time_units import OtherTimes
from ingest.nwb.spikes.trial_times import Trials
from ingest.nwb.table_columns import read_column
from ingest.recipe.name_patterns import first_match, matches
from ingest.recipe.recipes import Recipe

# Tables of intervals whose rows are not times of the session.
NOT_TRIALS = ("invalid_times",)
# Imaging, whose detected events are read as spikes.
IMAGING = (RoiResponseSeries, TwoPhotonSeries, OnePhotonSeries)
# Number of time stamps of a series that are checked for fractions.
MAX_STAMPS = 100


def find_trials(nwb: NWBFile, recipe: Recipe, observed: list[Interval]) -> Trials | None:
    """Return the recipe's table of trials, or else the first unit's intervals of observation.

    Args:
        nwb: the open file.
        recipe: which table holds trials.
        observed: intervals of observation of each unit.

    Returns:
        The trials; None without either, or if the table has no numbers.
    """
    with Notes().part("trials"):  # damage is noted by the table's reader
        return _trials(nwb, recipe, observed)
    return None


def _trials(nwb: NWBFile, recipe: Recipe, observed: list[Interval]) -> Trials | None:
    tables = {name: table for name, (_, table) in find_tables(nwb).items() if name not in NOT_TRIALS}
    name = first_match(recipe.trials.tables, tables)
    if name is None:
        return Trials(observed[0].start, observed[0].end) if observed and len(observed[0]) > 1 else None
    table = tables[name]
    start, stop = _numbers(table, "start_time"), _numbers(table, "stop_time")
    if start is None or stop is None or len(start) != len(stop):
        return None
    named = [_numbers(table, column) for column in table.colnames if matches(recipe.spike_times.trials, column)]
    named.append(_whole(table.id))
    return Trials(start, stop, tuple(one for one in named if one is not None and len(one) == len(start)), table)


def other_times(nwb: NWBFile, found: list[FoundSeries], recipe: Recipe, observed: list[Interval]) -> OtherTimes:
    """Return the ends of tables of intervals, behaviour, imaging and voltage. Reads no time stamps of voltage.

    Args:
        nwb: the open file.
        found: its series.
        recipe: which series are behaviour.
        observed: intervals of observation of each unit.
    """
    ends: dict[str, float] = {}
    in_seconds: set[str] = set()
    damaged = Notes()  # noted by its readers
    for path, table in find_tables(nwb).values():
        for name in ("start_time", "stop_time", "timestamp"):
            with damaged.part(path):
                times = _numbers(table, name)
                if times is not None and len(times := times[is_finite(times)]):
                    ends[path] = max(float(times.max()), ends.get(path, 0.0))
                    in_seconds |= {path} if _has_fractions(times) else set()
    rates: list[float] = []
    for item in found:
        with damaged.part(item.path):
            if isinstance(item.series, ElectricalSeries):
                rates += [float(item.series.rate)] if item.series.rate else []
            elif not (isinstance(item.series, IMAGING) or item.is_events or why_left(item, recipe.behavior) is None):
                continue
            end = _end(item.series)
            if np.isfinite(end):
                ends[item.path] = end
                in_seconds |= {item.path} if _is_in_seconds(item.series) else set()
    observed_end = max((float(one.end.max()) for one in observed if len(one)), default=None)
    rates = [rate for rate in rates if np.isfinite(rate)]
    return OtherTimes(ends, observed_end, rates, frozenset(in_seconds))


def _end(series: Any) -> float:
    """Return the time of a series' last sample; NaN if it has none, or voltage without a rate."""
    if series.data is None or not len(np.shape(series.data)) or not len(series.data):
        return np.nan
    if series.timestamps is not None:
        last = np.nan if isinstance(series, ElectricalSeries) or not len(series.timestamps) else series.timestamps[-1]
        return float(last) if isinstance(last, int | float | np.number) else np.nan
    rate = rate_of(series)
    return float(series.starting_time or 0.0) + len(series.data) / rate if rate > 0 else np.nan


def _is_in_seconds(series: Any) -> bool:
    """Return whether a series has a rate in Hz, or fractions among its first time stamps."""
    if series.timestamps is None:
        return True
    return _has_fractions(np.asarray(series.timestamps[:MAX_STAMPS], dtype=np.float64))


def _has_fractions(times: np.ndarray) -> bool:
    return bool((times != np.rint(times)).any())


def _numbers(table: Any, name: str) -> np.ndarray | None:
    if name not in table.colnames:
        return None
    values = read_column(table[name], name)
    return (
        None if isinstance(values, str) or values.ndim != 1 or values.dtype.kind not in "iuf" else values.astype(float)
    )


def _whole(column: Any) -> np.ndarray | None:
    values = np.asarray(column.data[:])
    return values.astype(np.int64) if values.ndim == 1 and values.dtype.kind in "iu" else None
