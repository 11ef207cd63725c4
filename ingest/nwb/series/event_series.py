"""Read series that mark times rather than sample a quantity as tables of intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
from pynwb.misc import IntervalSeries

from foundation.store import Interval
from foundation.store.format.finite import missing_as_nan
from ingest.nwb.nwb_arrays import load
from ingest.nwb.read_log import Notes
from ingest.nwb.series.sampled_series import FoundSeries
from ingest.nwb.table_columns import as_text, enum_names
from ingest.recipe.name_patterns import free_name, safe_name

# Marks of an IntervalSeries are small whole numbers; larger ones are invalid.
MAX_KIND = 2**31


def read_events(
    found: list[FoundSeries], domain: Interval, notes: Notes, taken: dict[str, Interval]
) -> dict[str, Interval]:
    """Return intervals of IntervalSeries (as in BehavioralEpochs) and moments of AnnotationSeries.

    Args:
        found: series; other types are skipped.
        domain: an interval that does not end runs to the recording's end.
        notes: gets a note on each series; counts ``parts_left_out`` (series without usable times),
            ``interval_stops_inferred`` and ``intervals_dropped`` (ends without a start, and times or
            marks that are not finite).
        taken: names already used by other tables.

    Returns:
        name -> intervals: with the column ``value`` (the kind of interval, where a series holds several), or of no
        length and with the column ``annotation``.
    """
    tables: dict[str, Interval] = {}
    for item in found:
        if not item.is_events:
            continue
        if _is_empty(item.series):
            notes.leave(item.path, "empty")
            continue
        read = _intervals if isinstance(item.series, IntervalSeries) else _moments
        table: Interval | str | None = None
        with notes.part(item.path, item.neurodata_type):
            table = read(item, domain, notes)
        if table is None:
            continue
        if isinstance(table, str):
            notes.lose(item.path, table, item.neurodata_type)
        elif len(table):
            parent = item.path.split("/")[-2]
            name = free_name([safe_name(item.name), safe_name(f"{parent}_{item.name}")], taken | tables)
            tables[name] = table
            notes.take(item.path, f"intervals {name}, {len(table)} of them")
        else:
            notes.leave(item.path, "empty")
    return tables


def _is_empty(series: Any) -> bool:
    data, stamps = series.data, series.timestamps
    return (data is None or not np.size(data)) and (stamps is None or not len(stamps))


def _times(item: FoundSeries) -> np.ndarray | str:
    series, stamps = item.series, item.series.timestamps
    if stamps is None or series.data is None or len(stamps) != np.size(series.data):
        return "no time stamp for each value"
    times = np.asarray(load(stamps, f"{item.path}/timestamps"))
    if times.ndim != 1 or times.dtype.kind not in "iuf":
        return "time stamps that are not numbers"
    return missing_as_nan(times.astype(np.float64))[0]


def _moments(item: FoundSeries, domain: Interval, notes: Notes) -> Interval | str:
    times = _times(item)
    if isinstance(times, str):
        return times
    data = item.series.data
    names = enum_names(data)
    values = np.asarray(load(data, f"{item.path}/data"), dtype=object).reshape(-1)
    texts = as_text(values if names is None else [names.get(int(value)) for value in values])
    good = np.isfinite(times)
    notes["intervals_dropped"] += int((~good).sum())
    columns = {} if texts is None else {"annotation": texts[good]}
    return Interval(times[good], times[good], columns)


def _intervals(item: FoundSeries, domain: Interval, notes: Notes) -> Interval | str:
    """Read marks: +k starts an interval of kind k and -k ends it; kinds may overlap.

    A series of only 0 and positive marks holds states: each mark lasts until the next time, 0 is no state, and a change
    ends the previous state.
    """
    times = _times(item)
    if isinstance(times, str):
        return times
    marks: Any = np.asarray(load(item.series.data, f"{item.path}/data")).reshape(-1)
    if marks.dtype.kind not in "biuf":
        return "marks that are not numbers"
    levels = bool((marks == 0).any()) and not (marks < 0).any() and bool((marks < MAX_KIND).all())
    marks = np.where(np.isfinite(marks) & (np.abs(marks) < MAX_KIND), marks, 0).astype(np.int64)
    if levels:
        times, marks = _as_marks(times, marks)
    rows: list[tuple[float, float, int]] = []
    open_since: dict[int, float] = {}
    last = float(domain.end.max()) if len(domain) else np.inf
    for time, mark in zip(times.tolist(), marks.tolist(), strict=True):
        kind = abs(mark)
        if not np.isfinite(time) or not mark:
            notes["intervals_dropped"] += 1
        elif mark > 0:
            if kind in open_since:  # a second start: the first one never ended
                notes["intervals_dropped"] += 1
            open_since[kind] = time
        elif kind in open_since and time >= open_since[kind]:
            rows.append((open_since.pop(kind), time, kind))
        else:
            notes["intervals_dropped"] += 1
    for kind, start in open_since.items():
        notes["interval_stops_inferred"] += 1
        rows.append((start, max(last, start) if np.isfinite(last) else start, kind))
    rows.sort()
    kinds = np.array([kind for *_, kind in rows], dtype=np.int64)
    columns = {"value": kinds} if len(set(kinds.tolist())) > 1 else {}
    bounds = np.array([row[:2] for row in rows], dtype=np.float64).reshape(-1, 2)
    return Interval(bounds[:, 0], bounds[:, 1], columns)


def _as_marks(times: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return times and marks of a series of levels: -k where level k ends, +k where it begins."""
    before = np.concatenate([[0], levels[:-1]])
    changes = np.flatnonzero(levels != before)
    marks = np.stack([-before[changes], levels[changes]], axis=1).reshape(-1)
    moments = np.repeat(times[changes], 2)
    return moments[marks != 0], marks[marks != 0]
