"""Time of recordings that training leaves out, so that a model can be evaluated on unseen time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from foundation.common.errors import ConfigError
from foundation.store.catalog import Catalog
from foundation.store.interval import Interval
from foundation.store.stored import StoredRecording

Spans = Sequence[Sequence[float]]


def as_interval(spans: Spans, gap: float = 0.0) -> Interval:
    """Return ``[start, end]`` pairs as intervals, each extended by ``gap`` seconds on either side.

    Example:
        >>> as_interval([[5.0, 6.0]], gap=0.5).end.tolist()
        [6.5]
    """
    pairs_K2 = np.array(spans, dtype=np.float64).reshape(-1, 2)
    return Interval(pairs_K2[:, 0] - gap, pairs_K2[:, 1] + gap)


def check_held_out_time(held_out: Mapping[str, Spans], catalog: Catalog) -> None:
    """Raise unless every recording is in the catalog, and was observed in each of its held-out intervals.

    Raises:
        ConfigError: names the recording, the interval and the observed time.
    """
    for name, place in zip(held_out, catalog.records.places(list(held_out)), strict=True):
        if place < 0:
            raise ConfigError(
                f"data.held_out_time names recording {name!r}: expected ids of recordings of the store "
                f"{catalog.store.name!r}; `foundation catalog` lists them"
            )
        recording = StoredRecording(catalog.store, catalog.records[int(place)])
        observed = recording.observed
        for start, end in held_out[name]:
            if not len(observed.slice(start, end)):
                raise ConfigError(
                    f"data.held_out_time has [{start:g}, {end:g}] for {recording.record.path}: expected seconds within "
                    f"its observed time, between {observed.start.min():g} and {observed.end.max():g}"
                )


def training_time(recording: StoredRecording, spans: Spans, gap: float) -> Interval:
    """Return the observed time without the held-out intervals and ``gap`` seconds on either side of each.

    An interval that is cut starts again on the recording's grid of resolution, so that bins keep their place.

    Args:
        recording: the recording.
        spans: ``[start, end]`` seconds of held-out time.
        gap: seconds.
    """
    observed = recording.observed
    free = observed.without(as_interval(spans, gap))
    if not len(free) or not recording.resolution:
        return free
    origin = observed.start[np.searchsorted(observed.start, free.start, side="right") - 1]
    steps = np.ceil((free.start - origin) / recording.resolution - 1e-6)
    start = np.where(steps > 0, origin + steps * recording.resolution, free.start)
    left = free.end > start
    return Interval(start[left], free.end[left])
