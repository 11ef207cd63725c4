"""Tables of intervals of an NWB file: trials, states, epochs."""

from __future__ import annotations

import numpy as np
from pynwb import NWBFile
from pynwb.epoch import TimeIntervals

from foundation.errors import SourceError
from foundation.store import Interval
from ingest.names import first_match, standard_name
from ingest.quality import Quality
from ingest.recipes import Recipe, StateRules, TrialRules
from ingest.tables import scalar_columns

SPECIAL = ("start_time", "stop_time", "tags", "timeseries", "tags_index", "timeseries_index")


def find_tables(nwb: NWBFile) -> dict[str, TimeIntervals]:
    """Every table of intervals of the file by name, also those in processing modules."""
    tables: dict[str, TimeIntervals] = {}
    direct = [*(nwb.intervals or {}).values(), nwb.trials, nwb.epochs, nwb.invalid_times]
    modules = [child for name in sorted(nwb.processing) for child in nwb.processing[name].children]
    for table in [*direct, *modules]:
        if isinstance(table, TimeIntervals):
            tables.setdefault(table.name, table)
    return tables


def read_intervals(
    nwb: NWBFile, recipe: Recipe, domain: Interval, quality: Quality, strict: bool
) -> dict[str, Interval]:
    """All tables of intervals under their own names, and ``trials`` and ``states`` where the recipe finds them.

    Args:
        nwb: the open file.
        recipe: which tables are trials and states.
        domain: where the recording was observed; a last trial without an end runs to its end.
        quality: gets ``interval_stops_inferred``, ``intervals_dropped`` (no start, or an end before the start) and
            ``interval_columns_left_out``.
        strict: refuse what would be dropped.

    Raises:
        SourceError: with ``strict``, if an interval has no start or ends before it.
    """
    tables = find_tables(nwb)
    tables.pop("invalid_times", None)
    read = {name: _read_table(table, domain, quality, strict) for name, table in tables.items()}
    trials = first_match(recipe.trials.tables, read)
    if trials is not None:
        read["trials"] = with_direction(read.pop(trials), recipe.trials)
    labelled = {name: column for name, table in read.items() if (column := _state_column(table, recipe.states))}
    states = first_match(recipe.states.tables, [name for name in labelled if name != "trials"])
    if states is not None:
        read["states"] = with_state(read.pop(states), labelled[states], recipe.states)
    return {name: table for name, table in sorted(read.items()) if len(table)}


def _read_table(table: TimeIntervals, domain: Interval, quality: Quality, strict: bool) -> Interval:
    start = np.asarray(table["start_time"].data[:], dtype=np.float64)
    end = np.asarray(table["stop_time"].data[:], dtype=np.float64)
    columns, left_out = scalar_columns(table, skip=SPECIAL)
    quality["interval_columns_left_out"] += len(left_out)
    open_ended = np.isnan(end) & np.isfinite(start)
    if open_ended.any():
        quality["interval_stops_inferred"] += int(open_ended.sum())
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
        quality["intervals_dropped"] += int((~good).sum())
    return Interval(start[good], end[good], {name: values[good] for name, values in columns.items()})


def with_direction(trials: Interval, rules: TrialRules) -> Interval:
    """Trials with the standard column ``direction`` in radians, if they have a numeric one to take it from."""
    numeric = [name for name, values in trials.columns.items() if values.dtype.kind in "iuf"]
    name = first_match(rules.direction, numeric)
    if name is None:
        return trials
    angle = trials.columns[name].astype(np.float64)
    angle = np.deg2rad(angle) if rules.direction_unit == "degrees" else angle
    return Interval(trials.start, trials.end, trials.columns | {"direction": angle})


def with_state(states: Interval, column: str, rules: StateRules) -> Interval:
    """States with the standard column ``state``."""
    names = {text: standard_name(rules.names, text.strip()) for text in states.columns[column].astype(str).tolist()}
    texts = np.array([names[text] for text in states.columns[column].astype(str).tolist()], dtype=str)
    return Interval(states.start, states.end, states.columns | {"state": texts})


def _state_column(table: Interval, rules: StateRules) -> str | None:
    return first_match(rules.columns, table.columns)


def without_invalid_times(nwb: NWBFile, domain: Interval, quality: Quality) -> Interval:
    """The domain without the file's ``invalid_times``; ``quality`` gets ``invalid_seconds``."""
    if nwb.invalid_times is None or not len(nwb.invalid_times):
        return domain
    invalid = _read_table(nwb.invalid_times, domain, Quality(), strict=False).union()
    edges = np.concatenate([[-np.inf], np.stack([invalid.start, invalid.end], axis=1).reshape(-1), [np.inf]])
    low, high = float(domain.start.min()) - 1, float(domain.end.max()) + 1
    edges = np.clip(edges, low, high)
    valid = domain.intersect(Interval(edges[0::2], edges[1::2]))
    if not len(valid):
        raise SourceError("invalid_times cover all of the observed time")
    quality["invalid_seconds"] += domain.duration - valid.duration
    return valid
