"""Several imaging planes of one session as one population."""

from __future__ import annotations

import numpy as np

from foundation.store import RegularTimeSeries, Units
from foundation.store.format.spill import empty, let_go, pieces
from ingest.quality.read_counts import Quality


def sampled_together(first: RegularTimeSeries, other: RegularTimeSeries) -> str | None:
    """Why two series cannot share one grid of samples; None if they can.

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
    """``(T, N)`` samples of all planes side by side, on the grid of the plane that is sampled first.

    Args:
        series: series that are `sampled_together`.
        quality: gets ``activity_samples_cut``: samples at the end that not every plane has.
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
    """The units of all planes under one another; where a plane lacks a column, its units have ``''`` or NaN there.

    Args:
        tables: the units of each plane.
        offsets: seconds by which each plane is sampled after the common grid; they become ``time_offset``.
    """
    names = list(dict.fromkeys(name for table in tables for name in table))
    columns = {name: _stacked(name, tables) for name in names}
    sizes = [len(table) for table in tables]
    columns["time_offset"] = np.repeat(np.asarray(offsets, dtype=np.float64), sizes)
    # A cell's number is its own within its plane alone.
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
