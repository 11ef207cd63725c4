"""The units table of an NWB file: labels, spike trains, and where the units were observed."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
from hdmf.common import VectorIndex

from foundation.errors import SourceError
from foundation.store import Interval, Spikes, Units
from ingest.arrays import load
from ingest.names import first_match, matches, search_groups
from ingest.quality import Quality
from ingest.recipes import UnitRules
from ingest.spike_times import clean_trains, count_outside
from ingest.tables import as_text, ragged_bounds, scalar_columns

STANDARD = ("cell_type", "location", "quality", "group")
SPECIAL = ("spike_times", "obs_intervals", "electrodes", "waveform_mean", "waveform_sd", "waveforms")


def read_units(table: Any, rules: UnitRules, quality: Quality) -> Units:
    """Labels and scalar columns of a table with a row per unit (spike-sorted units, or imaged cells).

    Args:
        table: a DynamicTable.
        rules: which columns hold which label.
        quality: gets ``unit_columns_left_out``: columns that hold neither one number nor one text a unit.
    """
    found, left_out = scalar_columns(table, skip=SPECIAL)
    quality["unit_columns_left_out"] += len(left_out)
    found = {name: values for name, values in found.items() if not matches(rules.drop, name)}
    columns: dict[str, np.ndarray] = {"id": np.asarray(table.id.data[:]).astype(np.int64)}
    for standard in STANDARD:
        values, taken = _standard(standard, found, rules)
        if standard in ("location", "group"):
            values = _from_electrodes(values, standard, table)
        if standard == "location" and values is not None:
            values = np.array([search_groups(rules.location_patterns, v) or v for v in values.tolist()], dtype=str)
        if values is None:
            continue
        if values.dtype.kind == "U":
            values = np.array(["" if matches(rules.missing, v) else v for v in values.tolist()], dtype=str)
        columns[standard] = values
        found.pop(taken, None)
    for name, values in found.items():
        columns[f"source_{name}" if name in columns else name] = values
    return Units(len(table), columns)


def _standard(standard: str, found: dict[str, np.ndarray], rules: UnitRules) -> tuple[np.ndarray | None, str]:
    """The first column of a rule that says anything, and its name."""
    names = list(found)
    while (name := first_match(getattr(rules, standard), names)) is not None:
        values = found[name]
        # A quality may be a number (an isolation distance); the other labels are names, whatever they look like.
        if standard != "quality" and values.dtype.kind != "U":
            values = values.astype(str)
        if values.dtype.kind != "U" or not all(matches(rules.missing, v) for v in values.tolist()):
            return values, name
        names.remove(name)
    return None, ""


def _from_electrodes(values: np.ndarray | None, standard: str, table: Any) -> np.ndarray | None:
    """Fill what is missing with what most of a unit's electrodes say."""
    texts = _electrode_texts(table, "location" if standard == "location" else "group_name")
    if texts is None:
        return values
    if values is None:
        return texts
    return np.array([a or b for a, b in zip(values.tolist(), texts.tolist(), strict=True)], dtype=str)


def _electrode_texts(table: Any, column: str) -> np.ndarray | None:
    if "electrodes" not in table.colnames:
        return None
    region = table["electrodes"]
    bounds = np.arange(len(table) + 1)
    if isinstance(region, VectorIndex):
        bounds = ragged_bounds(region.data[:], len(region.target.data))
        region = region.target
    electrodes = getattr(region, "table", None)
    if electrodes is None or column not in electrodes.colnames:
        return None
    texts = as_text(electrodes[column].data[:])
    if texts is None:
        return None
    rows = np.asarray(region.data[:]).astype(np.int64)
    if len(rows) and (rows.min() < 0 or rows.max() >= len(texts)):
        raise ValueError(f"units name electrode {rows.max()}, but the table of electrodes has {len(texts)} rows")
    chosen = [Counter(texts[rows[bounds[n] : bounds[n + 1]]].tolist()) for n in range(len(table))]
    return np.array([votes.most_common(1)[0][0] if votes else "" for votes in chosen], dtype=str)


def has_spikes(table: Any) -> bool:
    """Whether a units table exists and holds spike trains."""
    return table is not None and len(table) > 0 and "spike_times" in table.colnames


def read_spikes(table: Any, quality: Quality, strict: bool) -> Spikes:
    """The spike trains of a units table.

    Raises:
        SourceError: if the table's index does not fit its spike times; with ``strict``, if a train needs mending.
    """
    index = table["spike_times"]
    times = np.asarray(load(index.target.data, "units/spike_times"), dtype=np.float64)
    try:
        bounds = ragged_bounds(index.data[:], len(times))
    except ValueError as error:
        raise SourceError(f"units.spike_times_index is damaged: {error}") from error
    if len(bounds) != len(table) + 1:
        raise SourceError(f"units.spike_times_index is damaged: {len(bounds) - 1} rows for {len(table)} units")
    return clean_trains(times, bounds, quality, strict)


def observed_time(table: Any, spikes: Spikes, quality: Quality) -> Interval:
    """Where the population was observed.

    All units alike: their ``obs_intervals``. Differing: the time common to all if that is more than half of the time of
    any, otherwise the time of any. Without ``obs_intervals``: from the first spike to the last.

    Args:
        table: the units table.
        spikes: its spike trains.
        quality: gets ``obs_intervals_dropped`` (damaged), ``obs_intervals_differ`` (units that differ from the first),
            ``spikes_outside_observation`` (kept all the same).

    Raises:
        SourceError: if there is neither an observation interval nor a spike.
    """
    per_unit = _observation_intervals(table, quality) if "obs_intervals" in table.colnames else []
    stated = [observed for observed in per_unit if len(observed)]
    if not stated:
        if not len(spikes):
            raise SourceError("none of the units has a spike or an observation interval")
        # Intervals are half open: the last spike is inside.
        return Interval.single(float(spikes.times.min()), float(np.nextafter(spikes.times.max(), np.inf)))
    for unit, observed in enumerate(per_unit):
        if len(observed):
            quality["spikes_outside_observation"] += count_outside(spikes.train(unit), observed)
    first = stated[0]
    differing = [o for o in stated[1:] if not (_same(o.start, first.start) and _same(o.end, first.end))]
    if not differing:
        return first.union()
    quality["obs_intervals_differ"] += len(differing)
    common, union = first.union(), first
    for observed in differing:
        common = common.intersect(observed)
        union = Interval(
            np.concatenate([union.start, observed.start]), np.concatenate([union.end, observed.end])
        ).union()
    return common if common.duration > union.duration / 2 else union


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b)


def _observation_intervals(table: Any, quality: Quality) -> list[Interval]:
    index = table["obs_intervals"]
    spans = np.asarray(index.target.data[:], dtype=np.float64).reshape(-1, 2)
    try:
        bounds = ragged_bounds(index.data[:], len(spans))
    except ValueError as error:
        raise SourceError(f"units.obs_intervals_index is damaged: {error}") from error
    good = np.isfinite(spans).all(axis=1) & (spans[:, 1] > spans[:, 0])
    quality["obs_intervals_dropped"] += int((~good).sum())
    per_unit = []
    for start, end in pairwise(bounds):
        rows = spans[start:end][good[start:end]]
        per_unit.append(Interval(rows[:, 0], rows[:, 1]))
    return per_unit
