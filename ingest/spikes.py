"""The spike trains of a units table, and where its units were observed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from foundation.errors import SourceError
from foundation.store import Interval, Spikes
from foundation.store.finite import is_finite
from foundation.store.scratch import let_go
from ingest.arrays import load, load_slowly
from ingest.quality import Quality
from ingest.spike_times import clean_trains, count_outside
from ingest.tables import ragged_bounds


def has_spikes(table: Any) -> bool:
    """Whether a units table exists and holds spike trains."""
    return table is not None and len(table) > 0 and "spike_times" in table.colnames


def read_spikes(table: Any, quality: Quality, strict: bool) -> Spikes:
    """The spike trains of a units table.

    Raises:
        SourceError: if the table's index does not fit its spike times; with ``strict``, if a train needs mending.
    """
    index = table["spike_times"]
    times = load_slowly(index.target.data, "units/spike_times")
    try:
        bounds = ragged_bounds(load(index.data, "units/spike_times_index"), len(times))
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


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b)


def _observation_intervals(table: Any, quality: Quality) -> list[Interval]:
    index = table["obs_intervals"]
    spans = np.asarray(load(index.target.data, "units/obs_intervals"), dtype=np.float64).reshape(-1, 2)
    try:
        bounds = ragged_bounds(load(index.data, "units/obs_intervals_index"), len(spans))
    except ValueError as error:
        raise SourceError(f"units.obs_intervals_index is damaged: {error}") from error
    if len(bounds) != len(table) + 1:
        raise SourceError(f"units.obs_intervals_index is damaged: {len(bounds) - 1} rows for {len(table)} units")
    good = is_finite(spans).all(axis=1) & (spans[:, 1] > spans[:, 0])
    quality["obs_intervals_dropped"] += int((~good).sum())
    per_unit = []
    for start, end in pairwise(bounds):
        rows = spans[start:end][good[start:end]]
        per_unit.append(Interval(rows[:, 0], rows[:, 1]))
    return per_unit
