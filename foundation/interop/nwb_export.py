"""A recording as an NWB file."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np

from foundation.common.lazy import optional_package
from foundation.store.interval import Interval
from foundation.store.recording import COUNTS, Recording
from foundation.store.series import RegularTimeSeries, TimeSeries

UNKNOWN = "unknown"
NO_DATE = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
# Columns that NWB defines with another meaning than one value per unit.
NOT_UNITS = ("spike_times", "obs_intervals", "electrodes", "electrode_group", "waveforms", "id")
# Columns that ingest adds, and would add again.
MADE = ("qc_", "region")
NOT_INTERVALS = ("start_time", "stop_time", "tags", "timeseries", "id")


def to_nwb(recording: Recording) -> Any:
    """Return a recording as a ``pynwb.NWBFile``, to be written with ``pynwb.NWBHDF5IO(path, "w")``.

    Spikes and the units' columns become the units table, with the domain as every unit's ``obs_intervals``. Sampled
    activity is a TimeSeries ``spike_counts`` or ``dff`` of a processing module ``activity``, with a row of the units
    table for each of its columns; time inside it that was not observed is in ``invalid_times``. Behaviour is in a
    processing module ``behavior``, tables of intervals are under their own names. A column whose name NWB needs for
    another purpose gets ``source_`` before it, and an empty table is left out. Measures of quality (``qc_...``) and
    regions of an atlas are not written, because reading the file computes them again. The recipe is not written either.
    ``notes`` holds the origin of the recording.

    Args:
        recording: the recording.

    Returns:
        ``pynwb.NWBFile``; `ingest.nwb.read_nwb.read_nwb` reads the written file back as an equal recording.

    Raises:
        ConfigError: if pynwb is not installed.
    """
    pynwb = optional_package("pynwb", "to_nwb", "interop")
    subject, source = recording.subject, recording.source
    nwb = pynwb.NWBFile(
        session_description=recording.description or UNKNOWN,
        identifier=source.digest or source.path or recording.session,
        session_start_time=_date(recording.start_time),
        session_id=recording.session or None,
        lab=recording.lab or None,
        institution=recording.institution or None,
        notes="; ".join(f"{name}: {value}" for name, value in vars(source).items() if value) or None,
        subject=pynwb.file.Subject(
            subject_id=subject.id,
            species=subject.species or None,
            sex=subject.sex or None,
            age=subject.age or None,
        ),
    )
    _add_units(nwb, recording)
    if recording.activity is not None:
        name = "spike_counts" if recording.activity_kind == COUNTS else "dff"
        module = nwb.create_processing_module("activity", "sampled activity of the units")
        module.add(_series(pynwb, name, recording.activity))
        hidden = _without(recording.activity.domain, recording.domain)
        for start, end in zip(hidden.start.tolist(), hidden.end.tolist(), strict=True):
            nwb.add_invalid_time_interval(start_time=start, stop_time=end)
    if recording.behavior:
        module = nwb.create_processing_module("behavior", "what the animal did")
        for name, series in recording.behavior.items():
            module.add(_series(pynwb, name, series))
    for name, table in recording.intervals.items():
        if len(table):
            _add_table(pynwb, nwb, name, table)
    return nwb


def _add_units(nwb: Any, recording: Recording) -> None:
    kept = {name: values for name, values in recording.units.items() if not name.startswith(MADE)}
    columns = _columns(kept, NOT_UNITS)
    for name in columns:
        if name not in ("waveform_mean", "waveform_sd"):
            nwb.add_unit_column(name, name)
    identities = recording.units.get("id")
    observed = np.stack([recording.domain.start, recording.domain.end], axis=1)
    for n in range(recording.n_units):
        row: dict[str, Any] = {name: values[n] for name, values in columns.items()}
        if recording.spikes is not None:
            row["spike_times"] = recording.spikes.train(n)
            if len(observed):
                row["obs_intervals"] = observed
        nwb.add_unit(id=n if identities is None else int(identities[n]), **row)
    if nwb.units is not None and recording.spikes is not None:
        if len(recording.spikes.times):
            # One array: from the list that pynwb keeps, each spike is converted by itself when the file is written.
            nwb.units.spike_times_index.target.transform(lambda data: np.asarray(data, dtype=np.float64))
        if recording.resolution:
            nwb.units.resolution = recording.resolution


def _columns(units: dict[str, np.ndarray], reserved: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return columns under names that NWB does not reserve; integer ids are the table's own."""
    own_id = "id" in units and np.asarray(units["id"]).dtype.kind in "iu"
    columns = {name: values for name, values in units.items() if not (name == "id" and own_id)}
    return {f"source_{name}" if name in reserved else name: values for name, values in columns.items()}


def _series(pynwb: Any, name: str, series: TimeSeries) -> Any:
    about: dict[str, Any] = {"name": name, "data": np.asarray(series.data), "unit": series.unit or UNKNOWN}
    if isinstance(series, RegularTimeSeries):
        return pynwb.TimeSeries(**about, rate=float(series.rate), starting_time=float(series.start))
    return pynwb.TimeSeries(**about, timestamps=series.timestamps)


def _add_table(pynwb: Any, nwb: Any, name: str, table: Interval) -> None:
    intervals = pynwb.epoch.TimeIntervals(name=name, description=name)
    columns = _columns(table.columns, NOT_INTERVALS)
    for row in range(len(table)):
        intervals.add_row(start_time=float(table.start[row]), stop_time=float(table.end[row]))
    for column, values in columns.items():
        intervals.add_column(column, column, data=values)
    if name in ("trials", "epochs"):
        setattr(nwb, name, intervals)
    else:
        nwb.add_time_intervals(intervals)


def _without(whole: Interval, part: Interval) -> Interval:
    """Return the time of ``whole``, one interval, that ``part`` does not cover."""
    inside = whole.intersect(part)
    edges = np.concatenate([whole.start, np.stack([inside.start, inside.end], axis=1).reshape(-1), whole.end])
    start, end = edges[::2], edges[1::2]
    return Interval(start[end > start], end[end > start])


def _date(text: str) -> datetime.datetime:
    try:
        date = datetime.datetime.fromisoformat(text)
    except ValueError:
        return NO_DATE
    return date if date.tzinfo else date.replace(tzinfo=datetime.UTC)
