"""Sampled series of an NWB file: behaviour, population activity, voltage."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from pynwb import NWBFile, TimeSeries
from pynwb.behavior import SpatialSeries
from pynwb.ecephys import ElectricalSeries

from foundation.errors import SourceError
from foundation.store import IrregularTimeSeries, RegularTimeSeries
from foundation.store import TimeSeries as StoredSeries
from ingest.names import matches, standard_name
from ingest.quality import Quality
from ingest.recipes import BehaviorRules

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoundSeries:
    """A series of the file and where it lies, for example ``processing/behavior/Position/hand_position``."""

    path: str
    series: Any

    @property
    def name(self) -> str:
        return str(self.series.name)

    @property
    def neurodata_type(self) -> str:
        return type(self.series).__name__


def find_series(nwb: NWBFile) -> list[FoundSeries]:
    """Every TimeSeries in the file's acquisition and processing modules, sorted by path."""
    found = [item for name in nwb.acquisition for item in _walk(nwb.acquisition[name], "acquisition")]
    found += [item for name in nwb.processing for item in _walk(nwb.processing[name], "processing")]
    return sorted(found, key=lambda item: item.path)


def _walk(container: Any, path: str) -> Iterator[FoundSeries]:
    path = f"{path}/{container.name}"
    if isinstance(container, TimeSeries):
        yield FoundSeries(path, container)
        return
    for child in container.children:
        yield from _walk(child, path)


def rate_of(series: Any) -> float:
    """Samples per second: the file's rate, or that of its timestamps; NaN if it has neither."""
    if series.rate is not None:
        return float(series.rate)
    times = series.timestamps
    if times is None or len(times) < 2 or not float(times[-1]) > float(times[0]):
        return float("nan")
    return (len(times) - 1) / (float(times[-1]) - float(times[0]))


def read_behavior(
    found: list[FoundSeries], rules: BehaviorRules, quality: Quality, strict: bool
) -> dict[str, StoredSeries]:
    """The behaviour of a file: SpatialSeries and plain TimeSeries, under standard names where the recipe has one.

    Args:
        found: the series that are not something else.
        rules: names.
        quality: gets ``series_left_out`` (no numbers, no time, too fast, or more than two dimensions),
            ``series_sorted`` and ``samples_dropped`` (time stamps that fall or are not finite).
        strict: refuse what would be sorted or dropped.

    Returns:
        name -> series of ``(T, D)`` samples in the series' unit, with its conversion and offset applied.

    Raises:
        SourceError: with ``strict``, if time stamps fall or are not finite.
    """
    behavior: dict[str, StoredSeries] = {}
    for item in found:
        if type(item.series) not in (TimeSeries, SpatialSeries) or matches(rules.drop, item.name):
            quality["series_left_out"] += 1
            continue
        rate = rate_of(item.series)
        if rate > rules.max_rate:
            log.info("%s is sampled at %g Hz: taken for a raw signal and left out", item.path, rate)
            quality["series_left_out"] += 1
            continue
        series = read_series(item, quality, strict)
        if series is None:
            quality["series_left_out"] += 1
            continue
        name = standard_name(rules.names, item.name)
        parent = item.path.split("/")[-2]
        # Two series with one standard name: the second keeps its own, or its container's and its own.
        choices = [name, item.name, f"{parent}_{item.name}", item.path.replace("/", "_")]
        behavior[next(c for c in choices if c not in behavior)] = series
    return behavior


def read_series(item: FoundSeries, quality: Quality, strict: bool) -> StoredSeries | None:
    """One series as ``(T, D)`` samples, or None if it holds no numbers or no usable time."""
    series = item.series
    data = read_data(series)
    if data is None:
        return None
    unit = "" if series.unit in (None, "unknown") else str(series.unit)
    if series.timestamps is None:
        rate, start = series.rate, series.starting_time or 0.0
        if rate is None or not (np.isfinite(rate) and rate > 0 and np.isfinite(start)):
            return None
        return RegularTimeSeries(data, rate=float(rate), start=float(start), unit=unit)
    times = np.asarray(series.timestamps[:], dtype=np.float64)
    if len(times) != len(data):
        log.warning("%s has %d time stamps for %d samples: left out", item.path, len(times), len(data))
        return None
    finite = np.isfinite(times)
    falls = bool((np.diff(times[finite]) < 0).any())
    if strict and not finite.all():
        raise SourceError(f"{item.path} has time stamps that are not finite; without strict their samples are dropped")
    if strict and falls:
        raise SourceError(f"{item.path} has time stamps that fall; without strict its samples are sorted")
    quality["samples_dropped"] += int((~finite).sum())
    quality["series_sorted"] += falls
    times, data = times[finite], data[finite]
    if falls:
        order = np.argsort(times, kind="stable")
        times, data = times[order], data[order]
    return IrregularTimeSeries(times, data, unit)


def read_data(series: Any) -> np.ndarray | None:
    """``(T, D)`` samples with conversion and offset applied; None unless they are numbers in one or two dimensions."""
    data = series.data
    if data is None or len(np.shape(data)) not in (1, 2):
        return None
    data = np.asarray(data[:])
    if data.dtype.kind not in "biuf":
        return None
    data = data.astype(data.dtype.newbyteorder("="))
    conversion = 1.0 if series.conversion is None else float(series.conversion)
    offset = 0.0 if series.offset is None else float(series.offset)
    if (conversion, offset) != (1.0, 0.0):
        data = data.astype(np.float64) * conversion + offset
    return data[:, None] if data.ndim == 1 else data


def voltage(found: list[FoundSeries]) -> FoundSeries | None:
    """The fastest raw voltage of the file, if it has one."""
    raw = [f for f in found if isinstance(f.series, ElectricalSeries) and f.path.startswith("acquisition/")]
    return max(raw, key=lambda f: np.nan_to_num(rate_of(f.series)), default=None)
