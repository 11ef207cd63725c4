"""Sampled activity of a population: binned counts, dF/F."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pynwb import TimeSeries

from foundation.errors import SourceError
from foundation.store import COUNTS, VALUES, Interval, RegularTimeSeries, Units
from ingest.names import first_match, matches, search_groups
from ingest.quality import Quality
from ingest.recipes import ActivityRules, UnitRules
from ingest.series import FoundSeries, read_data
from ingest.units import read_units


@dataclass(frozen=True)
class Activity:
    """Sampled activity with what it says about its units.

    Args:
        series: ``(T, N)`` samples.
        kind: ``counts`` or ``values``.
        units: the table of N units.
        domain: where samples were taken.
    """

    series: RegularTimeSeries
    kind: str
    units: Units
    domain: Interval


def activity_series(found: list[FoundSeries], rules: ActivityRules) -> list[FoundSeries]:
    """The series that hold sampled activity, the preferred one first."""
    # A plain TimeSeries is activity only if it is named so: most are behaviour.
    candidates = [
        f
        for f in found
        if f.neurodata_type in rules.types or (type(f.series) is TimeSeries and matches(rules.names, f.name))
    ]
    # A single trace is not a population.
    candidates = [f for f in candidates if f.series.data is not None and len(np.shape(f.series.data)) == 2]
    preferred = first_match(rules.prefer, [f.path for f in candidates])
    return sorted(candidates, key=lambda f: (f.path != preferred, f.path))


def read_activity(
    item: FoundSeries, rules: ActivityRules, unit_rules: UnitRules, table: Any, quality: Quality
) -> Activity:
    """Read one series of sampled activity.

    Args:
        item: the series, time first.
        rules: what makes samples counts.
        unit_rules: which columns of the table of imaged cells hold labels.
        table: the file's units table, used if it has a row per column of the series.
        quality: gets ``samples_missing`` (gaps in regular time stamps, filled with NaN).

    Raises:
        SourceError: if the series holds no numbers, or its time is not that of a regular sampling with gaps.
    """
    data = read_data(item.series)
    if data is None:
        raise SourceError(f"{item.path} holds no numbers in two dimensions")
    unit = str(item.series.unit or "")
    counts = matches(rules.count_units, unit) or matches(rules.count_names, item.name)
    series = _on_grid(item, data, unit, quality)
    units = _units(item, data.shape[1], rules, unit_rules, table, quality)
    return Activity(series, COUNTS if counts else VALUES, units, _observed(series))


def _on_grid(item: FoundSeries, data: np.ndarray, unit: str, quality: Quality) -> RegularTimeSeries:
    rate, start = item.series.rate, item.series.starting_time or 0.0
    if item.series.timestamps is None:
        if rate is None or not (np.isfinite(rate) and rate > 0):
            raise SourceError(f"{item.path} has neither time stamps nor a rate above 0 Hz, got {rate}")
        return RegularTimeSeries(data, rate=float(rate), start=float(start), unit=unit)
    times = np.asarray(item.series.timestamps[:], dtype=np.float64)
    if len(times) != len(data) or len(times) < 2:
        raise SourceError(f"{item.path} has {len(times)} time stamps for {len(data)} samples: at least 2 are needed")
    steps = np.diff(times)
    if not (np.isfinite(times).all() and (steps > 0).all()):
        raise SourceError(f"{item.path} has time stamps that do not rise or are not finite")
    period = float(np.median(steps))
    whole = np.rint(steps / period)
    if (whole < 1).any():
        k = int(np.argmax(whole < 1))
        raise SourceError(f"{item.path} is not sampled regularly: samples {k} and {k + 1} are {steps[k]:g} s apart")
    # Jitter of single samples and slow drift of the clock average out over the runs between gaps.
    period = float(steps[whole == 1].mean())
    slot = np.concatenate([[0], np.cumsum(np.rint(steps / period))]).astype(np.int64)
    drift = np.abs(times[0] + slot * period - times).max()
    if drift > period:
        raise SourceError(f"{item.path} is not sampled regularly: its time stamps leave a regular grid by {drift:g} s")
    if slot[-1] + 1 > len(data):
        quality["samples_missing"] += int(slot[-1] + 1 - len(data))
        grid = np.full((slot[-1] + 1, data.shape[1]), np.nan)
        grid[slot] = data
        data = grid
    return RegularTimeSeries(data, rate=1.0 / period, start=float(times[0]), unit=unit)


def _observed(series: RegularTimeSeries) -> Interval:
    """The time of samples that hold a number in any unit."""
    if series.data.dtype.kind != "f" or not len(series):
        return series.domain
    present = ~np.isnan(series.data).all(axis=1)
    edges = np.diff(np.concatenate([[False], present, [False]]).astype(np.int8))
    first, last = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return Interval(series.start + first / series.rate, series.start + last / series.rate)


def _units(
    item: FoundSeries, n_units: int, rules: ActivityRules, unit_rules: UnitRules, table: Any, quality: Quality
) -> Units:
    columns: dict[str, np.ndarray] = {"id": np.arange(n_units)}
    if table is not None and len(table) == n_units:
        columns |= dict(read_units(table, unit_rules, quality))
    region = getattr(item.series, "rois", None)
    if region is not None:
        cells = read_units(region.table, unit_rules, quality)
        rows = np.asarray(region.data[:]).astype(np.int64)
        if len(rows) != n_units or (len(rows) and (rows.min() < 0 or rows.max() >= len(cells))):
            raise SourceError(
                f"{item.path} has {n_units} columns, but its region names {len(rows)} of {len(cells)} cells"
            )
        columns |= {name: values[rows] for name, values in cells.items()}
        plane = getattr(region.table, "imaging_plane", None)
        location = str(getattr(plane, "location", "") or "")
        if "location" not in columns and location and not matches(unit_rules.missing, location):
            columns["location"] = np.full(n_units, search_groups(unit_rules.location_patterns, location) or location)
    said = search_groups(rules.location_patterns, str(item.series.comments or ""))
    if "location" not in columns and said and not matches(unit_rules.missing, said):
        columns["location"] = np.full(n_units, said)
    return Units(n_units, columns)
