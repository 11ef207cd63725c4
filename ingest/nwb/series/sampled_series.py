"""Sampled series of an NWB file: behaviour, stimuli, voltage."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pynwb import NWBFile, TimeSeries
from pynwb.ecephys import ElectricalSeries
from pynwb.icephys import PatchClampSeries
from pynwb.image import ImageSeries
from pynwb.misc import AnnotationSeries, DecompositionSeries, IntervalSeries
from pynwb.ophys import RoiResponseSeries

from foundation.common.errors import SourceError
from foundation.store import IrregularTimeSeries, RegularTimeSeries
from foundation.store import TimeSeries as StoredSeries
from foundation.store.format.finite import LARGEST, is_finite, missing_as_nan
from ingest.nwb.file.unfinished import BEING_WRITTEN, MIN_STAMPS, is_sparse, unwritten, without_value, zero_end
from ingest.nwb.nwb_arrays import load_slowly
from ingest.nwb.nwb_texts import plain_text
from ingest.nwb.read_log import Notes
from ingest.nwb.series.time_axis import advice, behavior_axis, stated_axis, turned
from ingest.quality.read_counts import Quality
from ingest.recipe.name_patterns import free_name, matches, safe_name, standard_name
from ingest.recipe.recipe_rules import ActivityRules, BehaviorRules
from ingest.recipe.recipes import Recipe

log = logging.getLogger(__name__)

# Hz; lower or higher rates are invalid: a sample in thirty years, or beyond any converter.
MIN_RATE, MAX_RATE = 1e-9, 1e9

NO_BEHAVIOR = {
    ElectricalSeries: "voltage",
    ImageSeries: "images",
    PatchClampSeries: "voltage or current of a single cell",
    DecompositionSeries: "bands of another signal",
    RoiResponseSeries: "activity of cells",
}


@dataclass(frozen=True)
class FoundSeries:
    """A series of the file and its path, for example ``processing/behavior/Position/hand_position``."""

    path: str
    series: Any

    @property
    def name(self) -> str:
        return str(self.series.name)

    @property
    def neurodata_type(self) -> str:
        return type(self.series).__name__

    @property
    def is_events(self) -> bool:
        """Whether it marks times or intervals rather than sampling a quantity."""
        return isinstance(self.series, AnnotationSeries | IntervalSeries)


@dataclass(frozen=True)
class Left:
    """The reason for leaving a series out.

    Args:
        why: the reason as text.
        counter: its counter; ``''`` for a damaged one, which `Notes.lose` counts.
    """

    why: str
    counter: str = "series_left_out"


def find_series(nwb: NWBFile) -> list[FoundSeries]:
    """Return each TimeSeries of the file's acquisition, processing, analysis and presented stimuli, sorted by path."""
    return sorted(
        (FoundSeries(path, item) for path, item in find_containers(nwb) if isinstance(item, TimeSeries)),
        key=lambda item: item.path,
    )


def find_containers(nwb: NWBFile) -> Iterator[tuple[str, Any]]:
    """Return each container of the acquisition, processing, analysis and presented stimuli, with its path."""
    places = {
        "acquisition": nwb.acquisition,
        "processing": nwb.processing,
        "analysis": nwb.analysis,
        "stimulus/presentation": nwb.stimulus,
    }
    for place, items in places.items():
        for name in items or {}:
            yield from _walk(items[name], place, set())


def _walk(container: Any, path: str, above: set[int]) -> Iterator[tuple[str, Any]]:
    path = f"{path}/{container.name}"
    yield path, container
    if isinstance(container, TimeSeries) or id(container) in above:
        return
    for child in container.children:
        yield from _walk(child, path, above | {id(container)})


def rate_of(series: Any) -> float:
    """Return samples per second: the file's rate, or that of its timestamps; NaN if it has neither."""
    if series.rate is not None:
        return float(series.rate)
    times = series.timestamps
    if times is None or len(times) < 2 or not float(times[-1]) > float(times[0]):
        return float("nan")
    return (len(times) - 1) / (float(times[-1]) - float(times[0]))


def read_behavior(
    found: list[FoundSeries], recipe: Recipe, notes: Notes, strict: bool, observed: float = 0.0
) -> dict[str, StoredSeries]:
    """Return the behaviour and stimuli of a file under the recipe's standard names.

    Args:
        found: the candidate series.
        recipe: names of behaviour, and which axis of a series is time.
        notes: gets a note on each, and counts. Corrected: ``series_sorted`` and ``samples_dropped`` (time stamps
            that fall or are not finite), ``values_not_finite`` (samples that are infinite or too large for float32:
            they become NaN), ``samples_missing`` (samples without a value, of chunks that a sparse writer never wrote)
            and ``series_transposed``. A series that is left out is counted once: ``series_left_out`` (no numbers, too
            fast, images, more than two dimensions), ``parts_left_out`` (time stamps that do not fit its samples),
            ``conversions_impossible`` (a conversion or offset of 0 or not finite), ``layouts_unknown`` (the time axis
            is unknown), ``series_unfinished`` (its writer has not finished it) or ``rates_impossible`` (a rate or start
            that is not finite, or no rate of samples).
        strict: refuse what would be sorted or dropped.
        observed: observed seconds of the recording, if known.

    Returns:
        name -> series of ``(T, D)`` samples in the series' unit, with its conversion and offset applied.

    Raises:
        SourceError: with ``strict``, if time stamps fall or are not finite.
    """
    behavior: dict[str, StoredSeries] = {}
    rules = recipe.behavior
    for item in found:
        infinite, on_side = notes["values_not_finite"], notes["series_transposed"]
        series: StoredSeries | Left | None = None
        with notes.part(item.path, item.neurodata_type, strict=strict):
            if (why := why_left(item, rules)) is not None:
                series = Left(why)
            elif (why := impossible_conversion(item.series)) is not None:
                series = Left(why, "conversions_impossible")
            else:
                axis = stated_axis(item.path, item.name, recipe.layout)
                series = read_series(item, notes, strict, missing_values(rules, item.name), axis, observed)
        if series is None:
            continue
        if isinstance(series, Left):
            if series.counter:
                notes.leave(item.path, series.why, series.counter)
            else:
                notes.lose(item.path, series.why, item.neurodata_type)
            continue
        name = standard_name(rules.names, item.name)
        parent = item.path.split("/")[-2]
        # Two series with one standard name: the second keeps its own name, or gets its container's name as prefix.
        choices = [name, item.name, f"{parent}_{item.name}", item.path.replace("/", "_")]
        kept = free_name([safe_name(choice) for choice in choices], behavior)
        behavior[kept] = series
        remarks = ", turned to (time, dimension)" if notes["series_transposed"] > on_side else ""
        remarks += infinite_text(notes["values_not_finite"] - infinite)
        notes.take(item.path, f"behaviour {kept}, {len(series)} samples, {series.unit or 'no unit'}{remarks}")
    return behavior


def why_left(item: FoundSeries, rules: BehaviorRules) -> str | None:
    """Return why a series is not behaviour, from its metadata; None if it may be."""
    series = item.series
    if isinstance(series, ImageSeries) and getattr(series, "external_file", None) is not None:
        return "images in other files, which are never opened"
    for kind, what in NO_BEHAVIOR.items():
        if isinstance(series, kind):
            return what
    if matches(rules.drop, item.name):
        return "the recipe drops it"
    rate = rate_of(series)
    if rate > rules.max_rate:
        return f"sampled at {rate:g} Hz, above the recipe's behavior.max_rate of {rules.max_rate:g}: a raw signal"
    shape = np.shape(series.data) if series.data is not None else ()
    if len(shape) not in (1, 2):
        return f"{len(shape)} dimensions: allowed are 1 and 2" if shape else "no data"
    return None


def impossible_conversion(series: Any) -> str | None:
    """Return the invalid conversion of a series, as ``conversion nan: ...``; None if all are valid.

    Example:
        >>> impossible_conversion(TimeSeries(name="x", data=[1], unit="m", rate=1.0, conversion=0.0))
        'conversion 0: expected a finite number other than 0'
    """
    conversion, offset = getattr(series, "conversion", None), getattr(series, "offset", None)
    channels = getattr(series, "channel_conversion", None)
    for name, value in (("conversion", conversion), ("channel_conversion", channels)):
        numbers = np.ones(1) if value is None else np.atleast_1d(np.asarray(value[:] if np.ndim(value) else value))
        wrong = ~is_finite(numbers) | (numbers == 0)
        if wrong.any():
            return f"{name} {numbers[wrong][0]:g}: expected a finite number other than 0"
    if offset is not None and not is_finite(np.asarray(offset, dtype=np.float64)):
        return f"offset {offset:g}: expected a finite number"
    return None


def missing_values(rules: ActivityRules | BehaviorRules, name: str) -> list[float]:
    """Return the numbers that stand for missing samples, in the file's units."""
    return [float(value) for pattern, values in rules.missing.items() if matches([pattern], name) for value in values]


def read_series(
    item: FoundSeries,
    quality: Quality,
    strict: bool,
    missing: Sequence[float] = (),
    axis: int | None = None,
    observed: float = 0.0,
) -> StoredSeries | Left:
    """Return a series as ``(T, D)`` samples, or why it is left out: no numbers or no usable times.

    Args:
        item: the series.
        quality: counts corrections and losses.
        strict: refuse time stamps that fall or are not finite.
        missing: numbers that stand for a missing sample.
        axis: the recipe's time axis, if stated.
        observed: observed seconds of the recording; 0 if unknown.
    """
    series, stamps = item.series, item.series.timestamps
    unit, shape = unit_of(series), np.shape(series.data)
    rate, start = series.rate, series.starting_time or 0.0
    if stamps is None and not is_sampling(rate, start):
        counter = "series_left_out" if rate == 0 else "" if rate is None else "rates_impossible"
        return Left(f"neither time stamps nor a rate above 0 Hz (rate {rate}, start {start})", counter)
    if axis is None:
        axis = behavior_axis(shape, None if stamps is None else len(stamps), rate, observed)
    if axis is None:
        sides = " x ".join(map(str, shape))
        return Left(f"{sides}, and the time axis is unknown; {advice(item.path)}", "layouts_unknown")
    axis = min(axis, len(shape) - 1)
    if stamps is not None and len(stamps) != shape[axis]:
        return Left(f"{len(stamps)} time stamps for {shape[axis]} samples", "")
    times = None if stamps is None else load_slowly(stamps, f"{item.path}/timestamps")
    if (why := _unfinished(item, stamps, times)) is not None:
        return Left(f"{why}: {BEING_WRITTEN}", "series_unfinished")
    if times is not None and (times.ndim != 1 or times.dtype.kind not in "iuf"):
        return Left("time stamps that are not numbers", "")
    data = read_data(item, missing, quality)
    if data is None:
        return Left("no numbers")
    if axis:
        quality["series_transposed"] += 1
        data = turned(data)
    if is_sparse(series.data):
        quality["samples_missing"] += without_value(data)
    if times is None:
        return RegularTimeSeries(data, float(rate), float(start), unit)
    times = times.astype(np.float64, copy=False)
    finite = is_finite(times)
    falls = bool((np.diff(times[finite]) < 0).any())
    if strict and not finite.all():
        raise SourceError(f"{item.path} has non-finite time stamps; without strict their samples are dropped")
    if strict and falls:
        raise SourceError(f"{item.path} has decreasing time stamps; without strict its samples are sorted")
    quality["samples_dropped"] += int((~finite).sum())
    quality["series_sorted"] += falls
    if not finite.all():
        times, data = times[finite], data[finite]
    if falls:
        order = np.argsort(times, kind="stable")
        times, data = times[order], data[order]
    return IrregularTimeSeries(times, data, unit)


def _unfinished(item: FoundSeries, stamps: Any, times: np.ndarray | None) -> str | None:
    """Return which part of a series is unfinished; None if it looks complete."""
    for data in (item.series.data, stamps):
        if (why := unwritten(data)) is not None and (data is stamps or not is_sparse(data)):
            return why
    why = None if times is None else zero_end(times, MIN_STAMPS)
    return None if why is None else f"{why} (time stamps)"


def is_sampling(rate: float | None, start: float) -> bool:
    """Return whether samples can be taken at a rate in Hz from a start in seconds.

    Example:
        >>> is_sampling(30.0, 0.0), is_sampling(None, 0.0), is_sampling(1e300, 0.0), is_sampling(30.0, float("inf"))
        (True, False, False, False)
    """
    return rate is not None and MIN_RATE <= rate <= MAX_RATE and abs(start) <= LARGEST


def unit_of(series: Any) -> str:
    """Return the unit of measure, ``''`` if unknown."""
    unit = plain_text(series.unit)
    return "" if unit == "unknown" else unit


def infinite_text(count: float) -> str:
    """Return the suffix of `--explain` for a number of samples that are not finite.

    Example:
        >>> infinite_text(2), infinite_text(0)
        (', 2 not finite: missing', '')
    """
    return f", {count:g} not finite: missing" if count else ""


def read_data(item: FoundSeries, missing: Sequence[float] = (), quality: Quality | None = None) -> np.ndarray | None:
    """Return ``(T, D)`` samples in the series' unit; None unless numbers in one or two dimensions.

    A value is ``data * conversion * channel_conversion + offset``; without any of the three it stays as it is. Samples
    that the file has as one of ``missing`` are NaN, and so are those that are infinite or too large for float32, which
    ``quality`` counts as ``values_not_finite``.
    """
    series = item.series
    if series.data is None or len(np.shape(series.data)) not in (1, 2):
        return None
    conversion = 1.0 if series.conversion is None else float(series.conversion)
    offset = 0.0 if series.offset is None else float(series.offset)
    given = getattr(series, "channel_conversion", None)
    channels = None if given is None else np.asarray(given[:], dtype=np.float64)

    def converted(data: np.ndarray) -> np.ndarray:
        if data.dtype.kind not in "biuf":
            return data
        data = data.astype(data.dtype.newbyteorder("="), copy=False)
        if missing:
            data = np.where(np.isin(data, missing), np.nan, data)
        if (conversion, offset) != (1.0, 0.0) or channels is not None:
            data = data.astype(np.float64)
            with np.errstate(over="ignore", invalid="ignore"):  # overflow counts as missing
                data *= conversion
                if channels is not None:
                    data *= channels
                data += offset
        data, infinite = missing_as_nan(data)
        if quality is not None:
            quality["values_not_finite"] += infinite
        return data

    data = load_slowly(series.data, f"{item.path}/data", converted)
    if data.dtype.kind not in "biuf":
        return None
    return data[:, None] if data.ndim == 1 else data


def voltage(found: list[FoundSeries]) -> FoundSeries | None:
    """Return the fastest raw voltage of the file, or None. Its samples are not read."""
    raw = [f for f in found if isinstance(f.series, ElectricalSeries) and f.path.startswith("acquisition/")]
    return max(raw, key=lambda f: np.nan_to_num(rate_of(f.series)), default=None)
