"""Sampling intervals of recordings, read from a catalog."""

from __future__ import annotations

import numpy as np

from foundation.data.reading.decoded_blocks import open_source
from foundation.store.catalog import Catalog
from foundation.store.interval import Interval


def sampling_intervals(catalog: Catalog, table: str | None = None, *, clip: bool = True) -> dict[str, Interval]:
    """Return recording id -> observed time, or a table of intervals.

    Args:
        catalog: the recordings.
        table: a table such as ``trials`` or ``states``; recordings without it are left out. None: all observed time.
        clip: keep only the observed pieces of each row, each with the row's columns.
    """
    found = {}
    for recording in catalog:
        if table is None:
            found[recording.id] = recording.observed
        elif table in recording.intervals:
            rows = recording.intervals[table]
            found[recording.id] = clipped(rows, recording.domain) if clip else rows
    return found


def clipped(rows: Interval, domain: Interval) -> Interval:
    """Return the parts of intervals inside a domain, each with its interval's columns.

    Example:
        >>> pieces = clipped(Interval([0.0], [9.0], {"state": np.array(["nrem"])}), Interval([1.0, 5.0], [2.0, 20.0]))
        >>> pieces.start.tolist(), pieces.end.tolist(), pieces.columns["state"].tolist()
        ([1.0, 5.0], [2.0, 9.0], ['nrem', 'nrem'])
    """
    observed = domain.union()
    first = np.searchsorted(observed.end, rows.start, side="right")
    count = np.maximum(np.searchsorted(observed.start, rows.end, side="left") - first, 0)
    i = np.repeat(np.arange(len(rows)), count)
    j = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
    columns = {name: values[i] for name, values in rows.columns.items()}
    return Interval(np.maximum(rows.start[i], observed.start[j]), np.minimum(rows.end[i], observed.end[j]), columns)


def block_spans(catalog: Catalog) -> dict[str, Interval]:
    """Return recording id -> the time of each stored block of its activity, in order; for `BlockSampler`."""
    found = {}
    for recording in catalog:
        source = open_source(recording)
        found[recording.id] = Interval(source.low_K / 1e9, source.high_K / 1e9)
    return found
