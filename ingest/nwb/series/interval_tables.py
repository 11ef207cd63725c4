"""Tables of intervals of an NWB file: trials, states, epochs."""

from __future__ import annotations

from typing import Any

import numpy as np
from hdmf.common import DynamicTable
from pynwb import NWBFile

from foundation.common.errors import SourceError
from foundation.store import Interval
from ingest.nwb.read_log import Notes
from ingest.nwb.series.sampled_series import find_containers
from ingest.nwb.table_columns import finite_values, read_column, read_columns
from ingest.recipe.name_patterns import first_match, free_name, matches, safe_name, standard_name
from ingest.recipe.recipe_rules import ObservedRules, StateRules, TrialRules
from ingest.recipe.recipes import Recipe

NO_TIMES = "times that are not numbers"
SPECIAL = ("start_time", "stop_time", "timestamp", "duration", "timeseries", "timeseries_index")


def find_tables(nwb: NWBFile) -> dict[str, tuple[str, DynamicTable]]:
    """Return tables with times in their rows by name: intervals, events, tables in modules, acquisition and stimulus.

    Returns:
        name -> path and table. The second of two equal names gets its module's name as prefix.
    """
    found: list[tuple[str, Any]] = [(f"intervals/{name}", table) for name, table in (nwb.intervals or {}).items()]
    found += [(f"intervals/{table.name}", table) for table in (nwb.trials, nwb.epochs, nwb.invalid_times) if table]
    found += [(f"events/{name}", table) for name, table in (getattr(nwb, "events", None) or {}).items()]
    found += sorted(find_containers(nwb), key=lambda item: item[0])
    tables: dict[str, tuple[str, DynamicTable]] = {}
    seen: set[int] = set()
    for path, table in found:
        if not isinstance(table, DynamicTable) or not _has_times(table) or id(table) in seen:
            continue
        seen.add(id(table))
        parent = path.split("/")[-2]
        tables[free_name([safe_name(table.name), safe_name(f"{parent}_{table.name}")], tables)] = (path, table)
    return tables


def _has_times(table: DynamicTable) -> bool:
    columns = set(table.colnames)
    return {"start_time", "stop_time"} <= columns or "timestamp" in columns


def read_intervals(nwb: NWBFile, recipe: Recipe, domain: Interval, notes: Notes, strict: bool) -> dict[str, Interval]:
    """Return all tables of intervals by name, with ``trials`` and ``states`` as found by the recipe.

    Args:
        nwb: the open file.
        recipe: which tables are trials and states.
        domain: where the recording was observed; a last trial without an end runs to its end.
        notes: gets a note on each table; counts ``interval_stops_inferred``, ``intervals_dropped`` (no start, or
            an end before the start), ``interval_columns_left_out``, ``values_not_finite`` (infinite times and values,
            taken as missing) and ``parts_left_out`` (tables whose times are not numbers).
        strict: refuse instead of dropping.

    Raises:
        SourceError: with ``strict``, if an interval has no start or ends before it.
    """
    tables = find_tables(nwb)
    tables.pop("invalid_times", None)
    read: dict[str, Interval | None] = {}
    for name, (path, table) in tables.items():
        with notes.part(path, type(table).__name__, strict=strict):
            read[name] = _read_table(path, table, domain, notes, strict)
    kept: dict[str, Interval] = {}
    for name, found in read.items():
        path, table = tables[name]
        if found is None:
            notes.lose(path, NO_TIMES, type(table).__name__)
        elif not len(found):
            notes.leave(path, "empty")
        else:
            kept[name] = found
    names = {name: name for name in kept}
    trials = first_match(recipe.trials.tables, kept)
    if trials is not None:
        names[trials] = "trials"
        _move(kept, trials, "trials", with_direction(kept[trials], recipe.trials))
    labelled = {name: column for name, table in kept.items() if (column := _state_column(table, recipe.states))}
    states = first_match(recipe.states.tables, [name for name in labelled if name != "trials"])
    if states is not None:
        names[states] = "states"
        _move(kept, states, "states", with_state(kept[states], labelled[states], recipe.states))
    for name, standard in names.items():
        notes.take(tables[name][0], f"intervals {standard}, {len(kept[standard])} of them")
    return dict(sorted(kept.items()))


def _move(tables: dict[str, Interval], name: str, standard: str, table: Interval) -> None:
    """Store a table under its standard name; a table that already has that name is renamed."""
    del tables[name]
    if standard in tables:
        tables[free_name([f"other_{standard}"], tables)] = tables.pop(standard)
    tables[standard] = table


def _read_table(path: str, table: DynamicTable, domain: Interval, notes: Notes, strict: bool) -> Interval | None:
    times = _bounds(path, table, notes)
    if times is None:
        return None
    start, end = times
    columns = read_columns(table, path, "interval_columns_left_out", notes, SPECIAL)
    if "timeseries" in table.colnames:
        notes.leave(f"{path}/timeseries", "references to series, which are read on their own")
    open_ended = np.isnan(end) & np.isfinite(start)
    if open_ended.any():
        notes["interval_stops_inferred"] += int(open_ended.sum())
        last = float(domain.end.max()) if len(domain) else float(np.nanmax(start))
        starts = np.append(np.unique(start[np.isfinite(start)]), np.inf)
        following = starts[np.searchsorted(starts, start[open_ended], side="right")]
        end[open_ended] = np.where(np.isinf(following), np.maximum(last, start[open_ended]), following)
    with np.errstate(invalid="ignore"):
        good = np.isfinite(start) & np.isfinite(end) & (end >= start)
    if not good.all():
        if strict:
            k = int(np.argmin(good))
            raise SourceError(
                f"row {k} of table {table.name!r} runs from {start[k]} to {end[k]} s; without strict it is dropped"
            )
        notes["intervals_dropped"] += int((~good).sum())
    return Interval(start[good], end[good], {name: values[good] for name, values in columns.items()})


def _bounds(path: str, table: DynamicTable, notes: Notes) -> tuple[np.ndarray, np.ndarray] | None:
    """Return ``(K,)`` starts and ends in seconds; events without a duration end at their start; None if not numbers."""
    first, second = ("start_time", "stop_time") if "start_time" in table.colnames else ("timestamp", "duration")
    start = read_column(table[first], f"{path}/{first}")
    end = read_column(table[second], f"{path}/{second}") if second in table.colnames else start
    for one in (start, end):
        if isinstance(one, str) or one.ndim != 1 or one.dtype.kind not in "iuf" or len(one) != len(start):
            return None
    assert not isinstance(start, str)
    assert not isinstance(end, str)
    start = finite_values(start.astype(np.float64), f"{path}/{first}", notes)
    if second not in table.colnames:
        return start, start.copy()
    end = finite_values(end.astype(np.float64), f"{path}/{second}", notes)
    return (start, start + np.where(np.isnan(end), 0.0, end)) if second == "duration" else (start, end)


def with_direction(trials: Interval, rules: TrialRules) -> Interval:
    """Return trials with the standard column ``direction`` in radians, if they have a numeric one to take it from."""
    numeric = [name for name, values in trials.columns.items() if values.dtype.kind in "iuf" and values.ndim == 1]
    name = first_match(rules.direction, numeric)
    if name is None:
        return trials
    angle = trials.columns[name].astype(np.float64)
    angle = np.deg2rad(angle) if rules.direction_unit == "degrees" else angle
    return Interval(trials.start, trials.end, trials.columns | {"direction": angle})


def with_state(states: Interval, column: str, rules: StateRules) -> Interval:
    """Return states with the standard column ``state``."""
    names = {text: standard_name(rules.names, text.strip()) for text in states.columns[column].astype(str).tolist()}
    texts = np.array([names[text] for text in states.columns[column].astype(str).tolist()], dtype=str)
    return Interval(states.start, states.end, states.columns | {"state": texts})


def _state_column(table: Interval, rules: StateRules) -> str | None:
    return first_match(rules.columns, [name for name, values in table.columns.items() if values.ndim == 1])


def without_invalid_times(nwb: NWBFile, domain: Interval, notes: Notes) -> Interval:
    """Return the domain without the file's ``invalid_times``; ``notes`` gets ``invalid_seconds`` and the losses."""
    if nwb.invalid_times is None or not len(nwb.invalid_times):
        return domain
    own = Notes()  # the table is not part of the recording
    table = _read_table("intervals/invalid_times", nwb.invalid_times, domain, own, strict=False)
    for loss in ("intervals_dropped", "values_not_finite"):
        notes[loss] += own[loss]
    if table is None:
        notes.lose("intervals/invalid_times", NO_TIMES, type(nwb.invalid_times).__name__)
        return domain
    invalid = table.union()
    edges = np.concatenate([[-np.inf], np.stack([invalid.start, invalid.end], axis=1).reshape(-1), [np.inf]])
    low, high = float(domain.start.min()) - 1, float(domain.end.max()) + 1
    edges = np.clip(edges, low, high)
    valid = domain.intersect(Interval(edges[0::2], edges[1::2]))
    if not len(valid):
        raise SourceError("invalid_times cover all of the observed time")
    notes["invalid_seconds"] += domain.duration - valid.duration
    return valid


def without_excluded(intervals: dict[str, Interval], rules: ObservedRules, domain: Interval, notes: Notes) -> Interval:
    """Return the domain without the intervals that a recipe takes out; ``notes`` gets ``excluded_seconds``.

    Args:
        intervals: tables of the recording by name; they stay as they are.
        rules: which of them are taken out, and how much around each.
        domain: where the recording was observed.
        notes: of the reader.

    Raises:
        SourceError: if nothing is left.
    """
    names = [name for name in intervals if matches(rules.exclude, name)]
    if not names:
        return domain
    start, end = (np.concatenate([getattr(intervals[name], side) for name in names]) for side in ("start", "end"))
    left = domain.without(Interval(start - rules.margin, end + rules.margin))
    if not len(left):
        raise SourceError(f"observed.exclude covers all of the observed time ({', '.join(names)})")
    notes["excluded_seconds"] += domain.duration - left.duration
    return left
