"""Sampled activity of a population: find the series, and merge imaging planes of one session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pynwb import NWBFile, TimeSeries

from foundation.common.errors import SourceError
from foundation.store import COUNTS, VALUES, Interval, RegularTimeSeries, Units
from foundation.store.format.finite import is_finite
from foundation.store.format.spill import empty, let_go, pieces
from ingest.nwb.file.unfinished import BEING_WRITTEN, is_sparse, refuse_unwritten, without_value, zero_end
from ingest.nwb.inventory import place_of
from ingest.nwb.nwb_arrays import load
from ingest.nwb.read_log import Notes
from ingest.nwb.series.sampled_series import (
    FoundSeries,
    impossible_conversion,
    infinite_text,
    is_sampling,
    missing_values,
    read_data,
    unit_of,
)
from ingest.nwb.series.time_axis import advice, population_axis, stated_axis, turned
from ingest.nwb.spikes.unit_columns import read_units
from ingest.quality.read_counts import Quality
from ingest.recipe.name_patterns import matches, search_groups
from ingest.recipe.recipe_rules import ActivityRules, UnitRules
from ingest.recipe.recipes import Recipe

# Maximum total of event counts: above it, float64 is not exact.
MOST_COUNTED = 2.0**53


@dataclass(frozen=True)
class Activity:
    """Sampled activity and the table of its units.

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
    """Return the series with sampled activity, preferred ones first."""
    # A plain TimeSeries is activity only by its name: most are behaviour.
    candidates = [
        f
        for f in found
        if f.neurodata_type in rules.types or (type(f.series) is TimeSeries and matches(rules.names, f.name))
    ]
    # A single trace is a population only if it is marked as a cell's.
    candidates = [f for f in candidates if len(np.shape(f.series.data)) == 2 or (_cells(f) and _is_trace(f))]
    return sorted(candidates, key=lambda f: (preference(f.path, rules), f.path))


def _is_trace(item: FoundSeries) -> bool:
    return len(np.shape(item.series.data)) == 1


def preference(path: str, rules: ActivityRules) -> int:
    """Return the rank of the first expression that matches a path; lower is better."""
    return next((n for n, pattern in enumerate(rules.prefer) if matches([pattern], path)), len(rules.prefer))


def read_activity(sampled: list[FoundSeries], recipe: Recipe, nwb: NWBFile, notes: Notes) -> Activity:
    """Read the preferred series of sampled activity, with its other imaging planes.

    Args:
        sampled: series, time first, the preferred one first.
        recipe: what makes samples counts, and which columns of the table of imaged cells hold labels.
        nwb: the open file; its units table is used if it has a row per column of the series.
        notes: gets a note on each series; counts ``samples_missing`` (gaps in regular time stamps, filled with
            NaN, and samples of chunks that a sparse writer never wrote), ``activity_transposed``, ``rois_unnamed``
            (columns that the region of cells does not name), ``values_not_finite`` (infinite ones, which become NaN),
            ``activity_planes_joined``, ``activity_samples_cut``, ``samples_dropped`` (those without a finite time
            stamp), ``activity_series_left_out`` (other activity series) and ``parts_left_out`` (planes that
            cannot be read).

    Returns:
        One population. Units of several planes carry ``plane`` and ``time_offset``: how many seconds after the series'
        own grid their plane was sampled.

    Raises:
        SourceError: if the series holds no numbers, or its time is not that of a regular sampling with gaps.
    """
    chosen, rest = _planes(sampled, recipe.activity)
    first = chosen[0]
    read = [_read_plane(first, recipe, nwb, notes)]
    for item in chosen[1:]:
        other: Activity | None = None
        with notes.part(item.path, item.neurodata_type):
            other = _read_plane(item, recipe, nwb, notes)
        if other is None:
            continue
        if (why := sampled_together(read[0].series, other.series)) is None and other.kind == read[0].kind:
            read.append(other)
        else:
            notes.leave(item.path, why or "another kind of activity", "activity_series_left_out")
    for item in rest:
        notes.leave(item.path, f"{first.path} is preferred", "activity_series_left_out")
    if len(read) == 1:
        return read[0]
    notes["activity_planes_joined"] += len(read)
    series = join_series([one.series for one in read], notes)
    offsets = [one.series.start - series.start for one in read]
    units = join_units([one.units for one in read], offsets)
    return Activity(series, read[0].kind, units, _observed(series))


def _planes(sampled: list[FoundSeries], rules: ActivityRules) -> tuple[list[FoundSeries], list[FoundSeries]]:
    """Return the preferred series with its equally preferred planes of other cells; and the rest."""
    first = sampled[0]
    chosen, tables = [first], [_cells(first)]
    for item in sampled[1:]:
        alike = item.neurodata_type == first.neurodata_type
        alike = alike and preference(item.path, rules) == preference(first.path, rules)
        cells = _cells(item)
        if rules.join_planes and alike and cells is not None and not any(cells is table for table in tables):
            chosen.append(item)
            tables.append(cells)
    return chosen, [item for item in sampled if not any(item is one for one in chosen)]


def _cells(item: FoundSeries) -> Any:
    """Return the table of the series' imaged cells, or None."""
    return getattr(getattr(item.series, "rois", None), "table", None)


def _read_plane(item: FoundSeries, recipe: Recipe, nwb: NWBFile, notes: Notes) -> Activity:
    if (why := impossible_conversion(item.series)) is not None:
        raise SourceError(f"{item.path} has an invalid {why}")
    sparse = is_sparse(item.series.data)
    if not sparse:
        refuse_unwritten(item.series.data, f"{item.path}/data")
    infinite = notes["values_not_finite"]
    data = read_data(item, missing_values(recipe.activity, item.name), notes)
    if data is None:
        raise SourceError(f"{item.path} holds no numbers in two dimensions")
    stamps = item.series.timestamps
    data = _time_first(item, data, stamps, recipe, nwb, notes)
    notes["samples_missing"] += without_value(data) if sparse else 0
    unit = unit_of(item.series)
    rules = recipe.activity
    counts = matches(rules.count_units, unit) or matches(rules.count_names, item.name)
    series = _on_grid(item, data, stamps, unit, notes)
    units = _units(item, data.shape[1], rules, recipe.units, nwb, notes)
    kind = COUNTS if counts else VALUES
    if counts:
        _refuse_impossible_counts(item.path, data)
    observed = _observed(series)
    if not len(observed):
        raise SourceError(f"{item.path} holds no number: each of its {data.size} samples is missing or not finite")
    absurd = infinite_text(notes["values_not_finite"] - infinite)
    shape = f"{len(series)} samples of {data.shape[1]} units at {series.rate:g} Hz"
    notes.take(item.path, f"activity ({kind}), {shape}{absurd}")
    return Activity(series, kind, units, observed)


def _refuse_impossible_counts(path: str, data: np.ndarray) -> None:
    """Raise if ``(T, N)`` counts are negative, or more in all than a float64 can count."""
    total, least, below = 0.0, 0.0, 0
    for piece in pieces(data):
        part = data[piece]
        total += float(np.nansum(part, dtype=np.float64))
        if negative := int((part < 0).sum()):
            below, least = below + negative, min(least, float(np.nanmin(part)))
    if below:
        raise SourceError(
            f"{path} holds counts, but {below} of its samples are below 0 (the least is {least:g}): "
            "expected 0 or more; `activity: {missing: {<name of the series>: [<number>]}}` in a recipe names a number "
            "that stands for missing samples"
        )
    if not total < MOST_COUNTED:
        raise SourceError(f"{path} holds counts that sum to {total:g}: expected less than 2**53")


def _time_first(
    item: FoundSeries, data: np.ndarray, stamps: Any, recipe: Recipe, nwb: NWBFile, notes: Notes
) -> np.ndarray:
    """Return ``(T, N)`` samples of a series that may have cells first.

    Raises:
        SourceError: if neither the file nor the recipe says which axis is time.
    """
    region, table = getattr(item.series, "rois", None), nwb.units
    rows = len(region.data) if region is not None else len(table) if table is not None else None
    if not data.size:
        raise SourceError(f"{item.path} is empty: {' x '.join(map(str, data.shape))} samples")
    axis = stated_axis(item.path, item.name, recipe.layout)
    if axis is None:
        axis = population_axis(data.shape, None if stamps is None else len(stamps), rows)
    if axis is None:
        shape = " x ".join(map(str, data.shape))
        raise SourceError(
            f"{item.path} is {shape}, and neither time stamps nor a table of cells shows which axis is time; "
            f"{advice(item.path)}"
        )
    notes["activity_transposed"] += axis
    return turned(data) if axis else data


def _on_grid(item: FoundSeries, data: np.ndarray, stamps: Any, unit: str, notes: Notes) -> RegularTimeSeries:
    rate, start = item.series.rate, item.series.starting_time or 0.0
    if stamps is None:
        if rate is None or not is_sampling(rate, start):
            raise SourceError(f"{item.path} has neither time stamps nor a rate above 0 Hz (rate {rate}, start {start})")
        return RegularTimeSeries(data, rate=float(rate), start=float(start), unit=unit)
    times = np.asarray(load(stamps, f"{item.path}/timestamps"), dtype=np.float64)
    if len(times) != len(data) or len(times) < 2:
        raise SourceError(f"{item.path} has {len(times)} time stamps for {len(data)} samples: at least 2 are needed")
    refuse_unwritten(stamps, f"{item.path}/timestamps")
    if why := zero_end(times):
        raise SourceError(f"{item.path}/timestamps: {why}: {BEING_WRITTEN}")
    present = is_finite(times)
    dropped = len(times) - int(present.sum())
    notes["samples_dropped"] += dropped
    times = times[present]
    if len(times) < 2:
        raise SourceError(f"{item.path} has {len(times)} finite time stamps: at least 2 are needed")
    steps = np.diff(times)
    if not (steps > 0).all():
        raise SourceError(f"{item.path} has time stamps that do not increase")
    period = float(np.median(steps))
    whole = np.rint(steps / period)
    if (whole < 1).any():
        raise SourceError(
            f"{item.path} is not sampled regularly: "
            f"steps between {steps.min():g} and {steps.max():g} s, median {period:g}"
        )
    # A gap is a whole number of missing samples, so the rate is that over the runs between gaps.
    period = float(steps[whole == 1].mean())
    slot = np.concatenate([[0], np.cumsum(np.rint(steps / period))]).astype(np.int64)
    drift = np.abs(times[0] + slot * period - times).max()
    if drift > period:
        raise SourceError(f"{item.path} is not sampled regularly: its time stamps leave a regular grid by {drift:g} s")
    if dropped or slot[-1] + 1 > len(data):
        notes["samples_missing"] += int(slot[-1] + 1 - len(times))
        grid = empty((int(slot[-1]) + 1, data.shape[1]), np.float64)
        for piece in pieces(grid):
            grid[piece] = np.nan
        place = np.full(len(data), -1, dtype=np.int64)
        place[present] = slot
        for piece in pieces(data):
            kept = place[piece] >= 0
            grid[place[piece][kept]] = data[piece][kept]
            let_go(grid)
        data = grid
    return RegularTimeSeries(data, rate=1.0 / period, start=float(times[0]), unit=unit)


def _observed(series: RegularTimeSeries) -> Interval:
    """Return the time of samples with a number in any unit."""
    if series.data.dtype.kind != "f" or not len(series):
        return series.domain
    present = np.concatenate([~np.isnan(series.data[piece]).all(axis=1) for piece in pieces(series.data)])
    edges = np.diff(np.concatenate([[False], present, [False]]).astype(np.int8))
    first, last = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return Interval(series.start + first / series.rate, series.start + last / series.rate)


def _units(
    item: FoundSeries, n_units: int, rules: ActivityRules, unit_rules: UnitRules, nwb: NWBFile, notes: Notes
) -> Units:
    columns: dict[str, np.ndarray] = {"id": np.arange(n_units)}
    table = nwb.units
    if table is not None and len(table) == n_units:
        columns |= dict(read_units(table, unit_rules, notes, nwb=nwb))
    region = getattr(item.series, "rois", None)
    if region is not None:
        cells = read_units(region.table, unit_rules, notes, path=place_of(nwb, region.table))
        rows = np.asarray(load(region.data, f"{item.path}/rois")).astype(np.int64)
        if len(rows) > n_units or (len(rows) and (rows.min() < 0 or rows.max() >= len(cells))):
            raise SourceError(
                f"{item.path} has {n_units} columns, but its region names {len(rows)} of {len(cells)} cells"
            )
        notes["rois_unnamed"] += n_units - len(rows)
        columns |= {name: values[rows] for name, values in cells.items()} if len(rows) == n_units else {}
        if 0 < len(rows) < n_units:
            columns |= {name: _padded(values[rows], n_units) for name, values in cells.items() if name != "id"}
            columns["source_id"] = _padded(cells["id"][rows], n_units)
        plane = getattr(region.table, "imaging_plane", None)
        if plane is not None:
            columns.setdefault("plane", np.full(n_units, str(plane.name)))
        location = str(getattr(plane, "location", "") or "")
        if "location" not in columns and location and not matches(unit_rules.missing, location):
            columns["location"] = np.full(n_units, search_groups(unit_rules.location_patterns, location) or location)
    region = search_groups(rules.location_patterns, str(item.series.comments or ""))
    if "location" not in columns and region and not matches(unit_rules.missing, region):
        columns["location"] = np.full(n_units, region)
    return Units(n_units, columns)


def _padded(values: np.ndarray, n_units: int) -> np.ndarray:
    """Return a column padded with ``''`` or NaN for the last units."""
    if values.dtype.kind == "U":
        return np.concatenate([values, np.full(n_units - len(values), "", dtype=values.dtype)])
    rest = np.full((n_units - len(values), *values.shape[1:]), np.nan)
    return np.concatenate([values.astype(np.float64), rest])


def sampled_together(first: RegularTimeSeries, other: RegularTimeSeries) -> str | None:
    """Return why two series cannot share one grid of samples; None if they can.

    They can if, from beginning to end, sample ``i`` of the one is taken less than one sample away from sample ``i`` of
    the other: planes of one microscope take turns within each frame.
    """
    period = 1.0 / first.rate
    length = min(len(first), len(other))
    apart = [other.start - first.start, other.start + length / other.rate - first.start - length / first.rate]
    if abs(other.rate / first.rate - 1) > 0.01 or max(map(abs, apart)) >= period * (1 + 1e-9):
        return (
            f"not sampled with the other planes: {other.rate:g} Hz from {other.start:g} s, "
            f"against {first.rate:g} Hz from {first.start:g} s"
        )
    if first.unit != other.unit:
        return f"another unit of measure: {other.unit!r}, against {first.unit!r}"
    return None


def join_series(series: list[RegularTimeSeries], quality: Quality) -> RegularTimeSeries:
    """Return ``(T, N)`` samples of all planes side by side, on the grid of the first-sampled plane.

    Args:
        series: series that are `sampled_together`.
        quality: gets ``activity_samples_cut``: samples at the end missing in some planes.
    """
    length = min(len(one) for one in series)
    quality["activity_samples_cut"] += sum(len(one) - length for one in series)
    earliest = min(series, key=lambda one: one.start)
    parts = [one.data[:length] for one in series]
    data = empty((length, sum(part.shape[1] for part in parts)), np.result_type(*parts))
    for piece in pieces(data):
        np.concatenate([part[piece] for part in parts], axis=1, out=data[piece])
        for part in parts:
            let_go(part)
    return RegularTimeSeries(data, rate=earliest.rate, start=earliest.start, unit=earliest.unit)


def join_units(tables: list[Units], offsets: list[float]) -> Units:
    """Return the concatenated units of all planes; missing columns are filled with ``''`` or NaN.

    Args:
        tables: the units of each plane.
        offsets: seconds by which each plane is sampled after the common grid; they become ``time_offset``.
    """
    names = list(dict.fromkeys(name for table in tables for name in table))
    columns = {name: _stacked(name, tables) for name in names}
    sizes = [len(table) for table in tables]
    columns["time_offset"] = np.repeat(np.asarray(offsets, dtype=np.float64), sizes)
    # Cell numbers are unique only within a plane.
    columns["source_id"] = columns.get("id", np.arange(sum(sizes)))
    columns["id"] = np.arange(sum(sizes))
    return Units(sum(sizes), columns)


def _stacked(name: str, tables: list[Units]) -> np.ndarray:
    known = [table[name] for table in tables if name in table]
    if any(values.dtype.kind == "U" for values in known):
        return np.concatenate([table.text(name) if name in table else _empty(table) for table in tables])
    shape = known[0].shape[1:]
    if any(values.shape[1:] != shape for values in known):
        # Arrays of different sizes: those of the first plane's size are kept.
        known = [values for values in known if values.shape[1:] == shape]
    if len(known) == len(tables):
        return np.concatenate(known)
    parts = [
        table[name].astype(np.float64)
        if name in table and table[name].shape[1:] == shape
        else np.full((len(table), *shape), np.nan)
        for table in tables
    ]
    return np.concatenate(parts)


def _empty(table: Units) -> np.ndarray:
    return np.full(len(table), "", dtype="<U1")
