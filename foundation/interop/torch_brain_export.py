"""Export of a recording to torch_brain's Data."""

from __future__ import annotations

import datetime
import re
from typing import Any

import numpy as np

from foundation.common.lazy import optional_package
from foundation.store.interval import Interval
from foundation.store.recording import Recording
from foundation.store.series import RegularTimeSeries, TimeSeries
from foundation.version import __version__

DAYS = {"Y": 365.25, "M": 30.4375, "W": 7.0, "D": 1.0}


def to_torch_brain(recording: Recording) -> Any:
    """Return a recording as torch_brain's ``Data``, in the layout of its data sets and models.

    Args:
        recording: the recording.

    Returns:
        ``torch_brain.data.Data`` with ``brainset``, ``subject`` and ``session``; ``units`` with ``id`` (text) and the
        units' columns; ``spikes`` with ``timestamps`` in order and ``unit_index``, or, of sampled activity,
        ``activity.data``; each behaviour and each table of intervals under its own name (``behavior_`` or
        ``intervals_`` before it if that is taken). Text is ASCII with ``?`` for other characters, because torch_brain
        saves only ASCII.

    Raises:
        ConfigError: if torch_brain is not installed.

    Example::

        data = to_torch_brain(recording)
        data.save("recordings/session.h5")  # then torch_brain.datasets.Dataset("recordings")
    """
    tb = optional_package("torch_brain.data", "to_torch_brain", "interop")
    domain = tb.Interval(start=recording.domain.start, end=recording.domain.end)
    parts: dict[str, Any] = {
        "brainset": _brainset(tb, recording),
        "subject": _subject(tb, recording),
        "session": tb.SessionDescription(id=recording.session or "unknown", recording_date=_date(recording.start_time)),
        "units": tb.ArrayDict(**_units(recording)),
    }
    if recording.spikes is not None:
        spikes = recording.spikes
        unit = np.repeat(np.arange(spikes.n_units), spikes.counts)
        order = np.argsort(spikes.times, kind="stable")
        parts["spikes"] = tb.IrregularTimeSeries(
            timestamps=spikes.times[order], unit_index=unit[order], timekeys=["timestamps"], domain=domain
        )
    if recording.activity is not None:
        parts["activity"] = _series(tb, recording.activity)
    for name, series in recording.behavior.items():
        parts[_free(name, "behavior", parts)] = _series(tb, series)
    for name, table in recording.intervals.items():
        parts[_free(name, "intervals", parts)] = _table(tb, table)
    return tb.Data(**parts, domain=domain)


def _brainset(tb: Any, recording: Recording) -> Any:
    source = recording.source
    return tb.BrainsetDescription(
        id=source.dandiset or "files",
        origin_version=source.version or source.digest or "unknown",
        derived_version=__version__,
        source=source.path or "unknown",
        description=_ascii(recording.description) or "none",
    )


def _subject(tb: Any, recording: Recording) -> Any:
    subject = recording.subject
    return tb.SubjectDescription(
        id=subject.key, species=subject.species or None, age=age_in_days(subject.age), sex=subject.sex or None
    )


def age_in_days(age: str) -> float | None:
    """Return the days of an ISO 8601 age such as ``P90D``; None for any other text.

    Example:
        >>> age_in_days("P90D"), age_in_days("P2W"), age_in_days("adult")
        (90.0, 14.0, None)
    """
    parts = re.fullmatch(r"P(?:(\d+(?:\.\d+)?)Y)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)W)?(?:(\d+(?:\.\d+)?)D)?", age)
    if parts is None or not any(parts.groups()):
        return None
    return sum(float(number) * days for number, days in zip(parts.groups(), DAYS.values(), strict=True) if number)


def _date(text: str) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        return None


def _units(recording: Recording) -> dict[str, np.ndarray]:
    columns = {_key(name): _values(values) for name, values in recording.units.items() if name != "id"}
    identities = recording.units.text("id") if "id" in recording.units else np.arange(recording.n_units).astype(str)
    # Units of all recordings of a data set share one namespace in torch_brain.
    return {"id": np.array([f"{recording.session}/{one}" for one in identities.tolist()], dtype=str), **columns}


def _series(tb: Any, series: TimeSeries) -> Any:
    data = np.asarray(series.data)
    if isinstance(series, RegularTimeSeries):
        return tb.RegularTimeSeries(data=data, sampling_rate=series.rate, domain_start=series.start)
    return tb.IrregularTimeSeries(timestamps=series.timestamps, data=data, domain="auto")


def _table(tb: Any, table: Interval) -> Any:
    return tb.Interval(start=table.start, end=table.end, **{_key(n): _values(v) for n, v in table.columns.items()})


def _free(name: str, prefix: str, taken: dict[str, Any]) -> str:
    key = _key(name)
    return key if key not in taken else f"{prefix}_{key}"


def _key(name: str) -> str:
    """Return a name for an attribute of torch_brain's objects, which reserve names that begin with ``_``."""
    name = re.sub(r"\W", "_", name).lstrip("_") or "column"
    return f"column_{name}" if name in ("start", "end", "domain", "keys", "timestamps") else name


def _values(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind != "U":
        return values
    return np.array([_ascii(text) for text in values.reshape(-1).tolist()], dtype=str).reshape(values.shape)


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode("ascii")
