"""Export of a recording to pynapple's objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from foundation.common.lazy import optional_package
from foundation.store.interval import Interval
from foundation.store.recording import Recording
from foundation.store.series import TimeSeries


def to_pynapple(recording: Recording) -> dict[str, Any]:
    """Return a recording as pynapple's objects, by name.

    Args:
        recording: the recording.

    Returns:
        ``domain``: IntervalSet. ``units``: TsGroup of the spike trains with the units' columns as metadata, or, of
        sampled activity, ``activity``: TsdFrame with a column per unit and the units' columns as metadata. Each
        behaviour: Tsd, TsdFrame or TsdTensor. Each table of intervals: IntervalSet with its columns as metadata; a
        table that overlaps itself or is unsorted, which an IntervalSet cannot hold, is a pandas DataFrame with
        ``start`` and ``end``. A name that occurs twice is preceded by ``behavior_`` or ``intervals_``.

        pynapple keeps times to 9 decimals, and shortens an interval by a microsecond if another follows at once.
        Spikes outside the domain are kept: the time support of the units then runs
        from the first to the last of both.

    Raises:
        ConfigError: if pynapple is not installed.
    """
    nap = optional_package("pynapple", "to_pynapple", "interop")
    found: dict[str, Any] = {"domain": nap.IntervalSet(recording.domain.start, recording.domain.end)}
    metadata = {name: _plain(values) for name, values in recording.units.items() if name != "rate"}
    if recording.spikes is not None:
        spikes = recording.spikes
        trains = {n: nap.Ts(spikes.train(n)) for n in range(spikes.n_units)}
        support = _support(nap, recording.domain, spikes.times)
        found["units"] = nap.TsGroup(trains, time_support=support, metadata=metadata)
    if recording.activity is not None:
        activity = recording.activity
        frame = nap.TsdFrame(t=activity.timestamps, d=np.asarray(activity.data), metadata=metadata)
        found["activity"] = frame
    for name, series in recording.behavior.items():
        found[name if name not in found else f"behavior_{name}"] = _series(nap, series)
    for name, table in recording.intervals.items():
        found[name if name not in found else f"intervals_{name}"] = _table(nap, table)
    return found


def _support(nap: Any, domain: Interval, times: np.ndarray) -> Any:
    if bool(domain.contains(times).all()):
        return nap.IntervalSet(domain.start, domain.end)
    first = min(float(times.min()), float(domain.start.min(initial=np.inf)))
    return nap.IntervalSet(first, max(float(times.max()), float(domain.end.max(initial=-np.inf))))


def _series(nap: Any, series: TimeSeries) -> Any:
    data = np.asarray(series.data)
    if data.ndim == 2 and data.shape[1] == 1:
        data = data[:, 0]
    kind = {1: nap.Tsd, 2: nap.TsdFrame}.get(data.ndim, nap.TsdTensor)
    return kind(t=series.timestamps, d=data)


def _table(nap: Any, table: Interval) -> Any:
    columns = {name: _plain(values) for name, values in table.columns.items()}
    in_order = bool((table.start[1:] >= table.end[:-1]).all() and (table.end > table.start).all())
    if in_order:
        reserved = {name: f"column_{name}" for name in columns if name in ("start", "end", "index")}
        metadata: Mapping[str, Any] = {reserved.get(name, name): values for name, values in columns.items()}
        return nap.IntervalSet(table.start, table.end, metadata=metadata)
    import pandas as pd

    return pd.DataFrame({"start": table.start, "end": table.end, **columns})


def _plain(values: np.ndarray) -> Any:
    """Return a column as pynapple's metadata: one value per row, or a list of arrays."""
    return values if values.ndim == 1 else list(values)
