"""Events in time such as licks: whether one lies in a time bin, predicted from the population."""

from __future__ import annotations

import re
from functools import partial

import numpy as np

from finetune.tasks.labels.sleep_state import classes_over_time
from finetune.tasks.task import Attempt, Found, Sources, target_names
from foundation.store import StoredRecording, TimeSeries

EVENTS = re.compile(r"(^|_)licks?(_|$)|_events?$", re.IGNORECASE)


def find(sources: Sources) -> Found:
    """Return a target for each series of licks or other events of each recording."""
    found = Found()
    names = sorted({label for row in sources.catalog.records for label in row.labels if EVENTS.search(label)})
    for label in names:
        if "." in label:  # a column of a table of intervals
            continue
        recordings = sources.labelled(label)
        for recording, name in zip(recordings, target_names(recordings), strict=True):
            found.add("events", recording, label, partial(_attempt, sources, recording, label, name))
    return found


def _attempt(sources: Sources, recording: StoredRecording, label: str, name: str) -> Attempt:
    series, token = recording.behavior[label], sources.windows.behavior_token
    words = label.removesuffix("_times").removesuffix("_events").replace("_", " ")
    return classes_over_time(
        sources, recording, lambda times: events_at(series, times, token),
        task="events", target=f"{label}-{name}", title=f"{words.capitalize()}, {name}", token=token,
        tokens=sources.windows.behavior_tokens,
    )  # fmt: skip


def events_at(series: TimeSeries, time_T: np.ndarray, token: float) -> np.ndarray:
    """Return ``(T,)`` ``event`` or ``none`` for time bins of ``token`` seconds around some times.

    ``''`` before the first event and after the last: whether events were recorded there is not known.

    Example:
        >>> from foundation.store import IrregularTimeSeries
        >>> licks = IrregularTimeSeries([1.0, 1.02, 2.0], np.ones(3))
        >>> events_at(licks, np.array([0.5, 1.0, 1.5, 2.0]), 0.1).tolist()
        ['', 'event', 'none', 'event']
    """
    marks = np.sort(np.asarray(series.timestamps, dtype=np.float64))
    if not len(marks):
        return np.full(len(time_T), "", dtype="<U5")
    first, last = (np.searchsorted(marks, time_T + side * token / 2) for side in (-1, 1))
    text = np.where(last > first, "event", "none")
    known = (time_T + token / 2 > marks[0]) & (time_T - token / 2 <= marks[-1])
    return np.where(known, text, "")
