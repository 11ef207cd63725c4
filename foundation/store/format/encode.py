"""A `Recording` as flat named arrays with attributes, and back: the schema of the store.

====================  =====================================================================================
``spikes/ticks``      (S,) integers, seconds = ticks / rate; or ``spikes/times`` (S,) float64 seconds
``spikes/edges``      (K + 1,) seconds: the borders of the blocks of time
``spikes/offsets``    (K, N + 1): positions of each unit's spikes in each block
``spikes/counts``     (N,) spikes of each unit
``units/<column>``    (N, ...) properties of units
``activity/data``     (T, N) sampled activity; its attributes hold rate, start and kind
``behavior/<name>/``  ``data`` (T, ...), and ``timestamps`` (T,) unless it has a rate
``intervals/<name>/`` ``start``, ``end`` and one array a column
``domain/``           ``start``, ``end``: intervals in which the population was observed
====================  =====================================================================================

Text is stored as integer codes with the list of texts in the array's attributes; code -1 is a missing text.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from foundation.common.digests import json_digest
from foundation.store.format.spike_blocks import SPIKES_PER_BLOCK, SpikeBlocks, gather, layout
from foundation.store.format.spike_ticks import from_ticks, to_ticks
from foundation.store.format.spill import pieces
from foundation.store.interval import Interval
from foundation.store.recording import Recording, Source, Spikes, Subject, Units
from foundation.store.series import IrregularTimeSeries, RegularTimeSeries, TimeSeries

SCHEMA_VERSION = 2


@dataclass
class EncodedArray:
    """One array of the store with its attributes."""

    data: np.ndarray
    attributes: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """sha256 over dtype, shape, bytes and attributes."""
        data = np.atleast_1d(self.data)
        little = data.dtype.newbyteorder("<")
        head = json.dumps([little.str, data.shape, self.attributes], sort_keys=True)
        digest = hashlib.sha256(head.encode())
        for piece in pieces(data):
            digest.update(np.ascontiguousarray(data[piece], dtype=little).reshape(-1).view(np.uint8).data)
        return digest.hexdigest()


@dataclass
class Encoded:
    """A whole recording: path inside the group -> array, and the group's attributes."""

    arrays: dict[str, EncodedArray]
    attributes: dict[str, Any]

    @property
    def digest(self) -> str:
        """sha256 over every array's digest and the attributes: equal content, equal digest."""
        return group_digest({path: array.digest for path, array in self.arrays.items()}, self.attributes)


def group_digest(array_digests: dict[str, str], attributes: dict[str, Any]) -> str:
    """sha256 over path -> digest of a group's arrays, and its attributes."""
    return json_digest([array_digests, attributes])


def encode(recording: Recording) -> Encoded:
    """Flatten a recording into the store's schema. Equal recordings give equal bytes."""
    arrays: dict[str, EncodedArray] = {}
    if recording.spikes is not None:
        arrays |= _encode_spikes(recording.spikes)
    if recording.activity is not None:
        series = recording.activity
        attributes = {"rate": series.rate, "start": series.start, "unit": series.unit, "kind": recording.activity_kind}
        arrays["activity/data"] = EncodedArray(np.asarray(series.data), attributes)
    for name, column in recording.units.items():
        arrays[f"units/{name}"] = encode_column(column)
    for name, behavior in recording.behavior.items():
        arrays |= _encode_series(f"behavior/{name}", behavior)
    for name, interval in recording.intervals.items():
        arrays |= _encode_interval(f"intervals/{name}", interval)
    arrays |= _encode_interval("domain", recording.domain)
    attributes = {
        "schema": SCHEMA_VERSION,
        "source": recording.source.to_dict(),
        "subject": asdict(recording.subject),
        "session": recording.session,
        "n_units": recording.n_units,
        "resolution": recording.resolution,
        "quality": {k: recording.quality[k] for k in sorted(recording.quality)},
        "behavior": sorted(recording.behavior),
        "intervals": sorted(recording.intervals),
        "description": recording.description,
        "start_time": recording.start_time,
        "lab": recording.lab,
        "institution": recording.institution,
    }
    if recording.control:
        attributes["control"] = recording.control
    return Encoded(dict(sorted(arrays.items())), attributes)


def decode(encoded: Encoded) -> Recording:
    """Return the recording that `encode` flattened; times come back bit for bit."""
    arrays, attributes = encoded.arrays, encoded.attributes
    activity, kind = None, "counts"
    if "activity/data" in arrays:
        array = arrays["activity/data"]
        kind = array.attributes["kind"]
        activity = _decode_regular(array)
    columns = {p.removeprefix("units/"): decode_column(a) for p, a in arrays.items() if p.startswith("units/")}
    return Recording(
        source=Source(**attributes["source"]),
        subject=Subject(**attributes["subject"]),
        session=attributes["session"],
        units=Units(attributes["n_units"], columns),
        domain=decode_interval("domain", arrays),
        spikes=decode_blocks(arrays).to_spikes() if "spikes/offsets" in arrays else None,
        activity=activity,
        activity_kind=kind,
        behavior={name: decode_series(f"behavior/{name}", arrays) for name in attributes["behavior"]},
        intervals={name: decode_interval(f"intervals/{name}", arrays) for name in attributes["intervals"]},
        resolution=attributes["resolution"],
        quality=dict(attributes["quality"]),
        control=dict(attributes.get("control", {})),
        description=attributes["description"],
        start_time=attributes["start_time"],
        lab=attributes["lab"],
        institution=attributes["institution"],
    )


def _encode_spikes(spikes: Spikes) -> dict[str, EncodedArray]:
    found = to_ticks(spikes.times, max(map(abs, spikes.span)) if len(spikes) else 0.0)
    values, rate = (spikes.times, None) if found is None else found
    edges, offsets_KN = layout(values, spikes.offsets, SPIKES_PER_BLOCK)
    in_blocks = gather(values, spikes.offsets, offsets_KN)
    arrays = {
        "spikes/edges": EncodedArray(edges if rate is None else from_ticks(edges, rate)),
        "spikes/offsets": EncodedArray(offsets_KN),
        "spikes/counts": EncodedArray(spikes.counts),
    }
    if rate is None:
        return arrays | {"spikes/times": EncodedArray(in_blocks)}
    return arrays | {"spikes/ticks": EncodedArray(in_blocks, {"rate": rate})}


def decode_blocks(arrays: dict[str, EncodedArray]) -> SpikeBlocks:
    """Return the blocks of spikes of an encoded recording."""
    if "spikes/ticks" in arrays:
        stored = arrays["spikes/ticks"]
        times = from_ticks(stored.data, stored.attributes["rate"])
    else:
        times = arrays["spikes/times"].data
    return SpikeBlocks(times, arrays["spikes/edges"].data, arrays["spikes/offsets"].data)


def encode_column(values: np.ndarray) -> EncodedArray:
    """Return a column in stored form: text as codes, with the texts in its attributes."""
    values = np.asarray(values)
    if values.dtype.kind in "USOT":
        texts = values.astype(str)
        names = sorted(set(texts.reshape(-1).tolist()) - {""})
        code = {name: i for i, name in enumerate(names)} | {"": -1}
        codes = np.array([code[text] for text in texts.reshape(-1).tolist()], dtype=np.int32).reshape(texts.shape)
        return EncodedArray(codes, {"texts": names})
    return EncodedArray(values)


def decode_column(array: EncodedArray) -> np.ndarray:
    """Return a column as it was before `encode`, text included."""
    if "texts" not in array.attributes:
        return array.data
    return np.array([*array.attributes["texts"], ""], dtype=str)[array.data]


def _encode_series(path: str, series: TimeSeries) -> dict[str, EncodedArray]:
    if isinstance(series, RegularTimeSeries):
        attributes = {"rate": series.rate, "start": series.start, "unit": series.unit}
        return {f"{path}/data": EncodedArray(np.asarray(series.data), attributes)}
    data = EncodedArray(np.asarray(series.data), {"unit": series.unit})
    return {f"{path}/data": data, f"{path}/timestamps": EncodedArray(series.timestamps)}


def _decode_regular(array: EncodedArray) -> RegularTimeSeries:
    a = array.attributes
    return RegularTimeSeries(array.data, rate=a["rate"], start=a["start"], unit=a["unit"])


def decode_series(path: str, arrays: dict[str, EncodedArray]) -> TimeSeries:
    """Return the series under ``path`` of an encoded recording."""
    data = arrays[f"{path}/data"]
    if f"{path}/timestamps" not in arrays:
        return _decode_regular(data)
    return IrregularTimeSeries(arrays[f"{path}/timestamps"].data, data.data, data.attributes["unit"])


def _encode_interval(path: str, interval: Interval) -> dict[str, EncodedArray]:
    arrays = {f"{path}/start": EncodedArray(interval.start), f"{path}/end": EncodedArray(interval.end)}
    return arrays | {f"{path}/columns/{name}": encode_column(v) for name, v in interval.columns.items()}


def decode_interval(path: str, arrays: dict[str, EncodedArray]) -> Interval:
    """Return the intervals under ``path`` of an encoded recording."""
    prefix = f"{path}/columns/"
    columns = {p.removeprefix(prefix): decode_column(a) for p, a in arrays.items() if p.startswith(prefix)}
    return Interval(arrays[f"{path}/start"].data, arrays[f"{path}/end"].data, columns)
