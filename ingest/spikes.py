"""The spike trains of a units table, and where its units were observed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from hdmf.common import VectorIndex

from foundation.errors import SourceError
from foundation.store import Interval, Spikes
from foundation.store.finite import is_finite
from foundation.store.scratch import let_go
from ingest.arrays import load, load_slowly
from ingest.quality import Quality
from ingest.spike_times import clean_trains, count_outside
from ingest.tables import ragged_bounds
from ingest.unfinished import refuse_unfinished_index, refuse_unfinished_trains


def read_spikes(table: Any, path: str, quality: Quality, strict: bool) -> Spikes:
    """Read the spike trains of a units table.

    Args:
        table: the units table.
        path: where it lies in the file.
        quality: gets what was mended, as `clean_trains` counts it.
        strict: refuse what would be mended.

    Raises:
        SourceError: if the table's index does not fit its spike times; with ``strict``, if a train needs mending.
    """
    times, bounds = _stored_trains(table, path)
    return clean_trains(times, bounds, quality, strict)


def _stored_trains(table: Any, path: str) -> tuple[np.ndarray, np.ndarray]:
    """``(S,)`` times as the file has them, unit after unit, and ``(N + 1,)`` where each unit's lie."""
    column = table["spike_times"]
    if isinstance(column, VectorIndex):
        times = load_slowly(column.target.data, f"{path}/spike_times")
        bounds = _bounds(column, len(times), len(table), f"{path}.spike_times_index")
        refuse_unfinished_trains(column.target.data, times, bounds, f"{path}/spike_times")
        return times, bounds
    times = load_slowly(column.data, f"{path}/spike_times")
    if times.ndim not in (1, 2) or len(times) != len(table) or times.dtype.kind not in "iuf":
        raise SourceError(
            f"{path}/spike_times has shape {times.shape} and no index: expected an index, a time for each of "
            f"{len(table)} units, or a row of times for each, filled up with NaN"
        )
    return _unpadded(times.reshape(len(times), -1))


def _unpadded(times_NK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Times of a matrix with a row per unit, without the NaN (or, after a later time, the 0) at the end of each row."""
    after = np.where(np.isnan(times_NK), 0, times_NK) > 0
    after |= times_NK < 0
    # A row of one column is one spike, which may well be at 0.
    lengths = times_NK.shape[1] - np.argmax(after[:, ::-1], axis=1)
    empty = ~after.any(axis=1)
    lengths[empty] = (times_NK[empty, :1] == 0).sum(axis=1)
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


def observed_time(table: Any, path: str, spikes: Spikes, quality: Quality) -> Interval:
    """Where the population was observed.

    All units alike: their ``obs_intervals``. Differing: the time common to all if that is more than half of the time of
    any, otherwise the time of any. Without ``obs_intervals``: from the first spike to the last.

    Args:
        table: the units table.
        path: where it lies in the file.
        spikes: its spike trains.
        quality: gets ``obs_intervals_dropped`` (damaged), ``obs_intervals_differ`` (units that differ from the first),
            ``spikes_outside_observation`` (kept all the same).

    Raises:
        SourceError: if there is neither an observation interval nor a spike.
    """
    per_unit = _observation_intervals(table, path, quality) if "obs_intervals" in table.colnames else []
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


def _observation_intervals(table: Any, path: str, quality: Quality) -> list[Interval]:
    column = table["obs_intervals"]
    indexed = isinstance(column, VectorIndex)
    data = load((column.target if indexed else column).data, f"{path}/obs_intervals")
    spans = np.asarray(data, dtype=np.float64).reshape(-1, 2)
    if indexed:
        bounds = _bounds(column, len(spans), len(table), f"{path}.obs_intervals_index")
    elif len(spans) == len(table):  # an interval for each unit
        bounds = np.arange(len(table) + 1)
    else:
        raise SourceError(f"{path}/obs_intervals has {len(spans)} intervals for {len(table)} units and no index")
    good = is_finite(spans).all(axis=1) & (spans[:, 1] > spans[:, 0])
    quality["obs_intervals_dropped"] += int((~good).sum())
    per_unit = []
    for start, end in pairwise(bounds):
        rows = spans[start:end][good[start:end]]
        per_unit.append(Interval(rows[:, 0], rows[:, 1]))
    return per_unit
