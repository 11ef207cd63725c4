"""Threshold crossings (SpikeEventSeries) and detected events (EventDetection), which are not sorted into units."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from pynwb import NWBFile
from pynwb.ecephys import EventDetection, SpikeEventSeries

from foundation.common.errors import SourceError
from foundation.store import Interval, Spikes, Units
from ingest.nwb.nwb_arrays import load
from ingest.nwb.read_log import Notes
from ingest.nwb.series.sampled_series import find_containers
from ingest.nwb.spikes.electrodes import UnitElectrodes
from ingest.nwb.spikes.spike_times import clean_trains
from ingest.recipe.name_patterns import matches, search_groups
from ingest.recipe.recipe_rules import UnitRules

# Value of the column `quality` for units made of unsorted events of electrodes.
UNSORTED = "unsorted"


@dataclass(frozen=True)
class Detected:
    """A SpikeEventSeries or an EventDetection, and its path in the file."""

    path: str
    container: Any

    @property
    def is_series(self) -> bool:
        """Whether this is a SpikeEventSeries."""
        return isinstance(self.container, SpikeEventSeries)

    @property
    def what(self) -> str:
        """Its name in messages."""
        return "threshold crossings" if self.is_series else "detected events"

    def __len__(self) -> int:
        one = self.container
        return len(one.timestamps if self.is_series else one.source_idx if one.times is None else one.times)

    def __str__(self) -> str:
        return f"{len(self)} {self.what}, which are not sorted into units"

    @property
    def advice(self) -> str:
        """The recipe line that reads the events."""
        return f"`units: {{events: ['{re.escape(self.path)}']}}` in a recipe reads them as spikes"

    def is_read(self, rules: UnitRules) -> bool:
        """Return whether a recipe reads the events as spikes."""
        return matches(rules.events, self.path) or matches(rules.events, str(self.container.name))


def find_detected(nwb: NWBFile) -> list[Detected]:
    """Return all detected events of a file, sorted by path."""
    found = [Detected(path, item) for path, item in find_containers(nwb) if _is_detected(item)]
    return sorted(found, key=lambda item: item.path)


def _is_detected(container: Any) -> bool:
    return isinstance(container, SpikeEventSeries | EventDetection)


def is_stub(series: Any, detected: list[Detected]) -> bool:
    """Return whether a voltage series is a placeholder without samples, referenced by events."""
    for item in detected:
        if isinstance(item.container, EventDetection) and item.container.source_electricalseries is series:
            samples = _source_indices(item)[:, 0]
            if len(samples) and int(samples.max()) >= len(series.data):
                return True
    return False


def read_detected(
    items: list[Detected], nwb: NWBFile, rules: UnitRules, notes: Notes, strict: bool
) -> tuple[Spikes, Interval, Units]:
    """Read detected events as spikes, one unit per series, or per channel if the file names channels.

    Args:
        items: the events.
        nwb: the open file, for its electrodes.
        rules: rules for locations.
        notes: gets a note on each series; counts what `clean_trains` counts.
        strict: refuse instead of correcting.

    Returns:
        Spikes, the time from the first to the last, and units with ``id``, ``events`` (the path), ``quality``
        (`UNSORTED`), and, if known, ``channel``, ``location`` and ``group``.

    Raises:
        SourceError: if there are no events.
    """
    trains: list[np.ndarray] = []
    paths, channels, electrodes = list[str](), list[int](), list[np.ndarray]()
    for item in items:
        times, channel = _events(item)
        known = np.unique(channel[channel >= 0])
        for one in known if len(known) else [-1]:
            trains.append(times[channel == one] if len(known) else times)
            paths.append(item.path)
            channels.append(int(one))
            electrodes.append(_electrodes(item, int(one)))
        notes.take(item.path, f"{len(times)} spikes of {max(1, len(known))} units: {item.what}")
    bounds = np.concatenate([[0], np.cumsum([len(train) for train in trains])]).astype(np.int64)
    spikes = clean_trains(np.concatenate(trains), bounds, notes, strict)
    if not len(spikes):
        raise SourceError(f"{paths[0]} has no event with a time")
    first, last = spikes.span
    columns: dict[str, np.ndarray] = {"id": np.arange(len(trains)), "events": np.array(paths, dtype=str)}
    columns["quality"] = np.full(len(trains), UNSORTED)
    if max(channels) >= 0:
        columns["channel"] = np.array(channels, dtype=np.int64)
    columns |= _places(electrodes, nwb, rules)
    return spikes, Interval.single(first, float(np.nextafter(last, np.inf))), Units(len(trains), columns)


def _events(item: Detected) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(E,)`` seconds and channels of events, -1 if unknown."""
    one = item.container
    if isinstance(one, SpikeEventSeries):
        times = np.asarray(load(one.timestamps, f"{item.path}/timestamps"), dtype=np.float64)
        return times, np.full(len(times), -1)
    indices = _source_indices(item)
    if one.times is not None:
        times = np.asarray(load(one.times, f"{item.path}/times"), dtype=np.float64).reshape(-1)
    else:
        times = _seconds(one.source_electricalseries, indices[:, 0], item.path)
    named = indices.shape[1] == 2 and len(indices) == len(times)
    return times, indices[:, 1] if named else np.full(len(times), -1)


def _source_indices(item: Detected) -> np.ndarray:
    """Return ``(E, 1)`` sample indices of events in their voltage, or ``(E, 2)`` with channels."""
    stored = item.container.source_idx
    indices = np.asarray(load(stored, f"{item.path}/source_idx") if stored is not None else []).astype(np.int64)
    return indices if indices.ndim == 2 else indices.reshape(-1, 1)


def _seconds(series: Any, samples: np.ndarray, path: str) -> np.ndarray:
    """Return the times of voltage samples."""
    stamps = series.timestamps
    if stamps is not None:
        if len(samples) and samples.max() >= len(stamps):
            raise SourceError(f"{path} names sample {samples.max()}, but its voltage has {len(stamps)} time stamps")
        return np.asarray(load(stamps, f"{path}/timestamps"), dtype=np.float64)[samples]
    if not series.rate:
        raise SourceError(f"{path} has neither times nor a voltage with a rate")
    return np.asarray((series.starting_time or 0.0) + samples / float(series.rate))


def _electrodes(item: Detected, channel: int) -> np.ndarray:
    """Return the electrode rows of a unit's events."""
    one = item.container
    series = one if isinstance(one, SpikeEventSeries) else one.source_electricalseries
    region = getattr(series, "electrodes", None)
    rows = np.asarray([] if region is None else load(region.data, f"{item.path}/electrodes")).astype(np.int64)
    return rows[channel : channel + 1] if channel >= 0 else rows


def with_places(units: Units, series: Any, nwb: NWBFile, rules: UnitRules) -> Units:
    """Return units with ``location`` and ``group`` of their channel's electrode."""
    region = getattr(series, "electrodes", None)
    rows = np.asarray([] if region is None else load(region.data, f"{series.name}/electrodes")).astype(np.int64)
    if not len(rows) or units["channel"].max(initial=-1) >= len(rows):
        return units
    places = _places([rows[channel : channel + 1] for channel in units["channel"]], nwb, rules)
    return Units(len(units), {**units, **places})


def _places(electrodes: list[np.ndarray], nwb: NWBFile, rules: UnitRules) -> dict[str, np.ndarray]:
    """Return ``location`` and ``group`` of units from their electrodes."""
    rows = np.concatenate(electrodes)
    if nwb.electrodes is None or not len(rows) or rows.min() < 0 or rows.max() >= len(nwb.electrodes):
        return {}
    bounds = np.concatenate([[0], np.cumsum([len(one) for one in electrodes])]).astype(np.int64)
    seen = UnitElectrodes("electrodes", nwb.electrodes, rows, bounds)
    found = {}
    for name, column in (("location", "location"), ("group", "group_name")):
        values = seen.values(column) if column in nwb.electrodes.colnames else None
        if values is None or values.dtype.kind != "U":
            continue
        texts = values.tolist()
        if name == "location":
            texts = [search_groups(rules.location_patterns, text) or text for text in texts]
        found[name] = np.array(["" if matches(rules.missing, text) else text for text in texts], dtype=str)
    return found
