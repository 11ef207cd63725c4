"""Voltage from files: NWB, plain binary, and the formats that neo reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from foundation.common.errors import ConfigError, SourceError
from foundation.common.output.printable import count
from ingest.sorting.sort_settings import RawSettings
from ingest.sorting.voltage.probe_layout import read_channels
from ingest.sorting.voltage.voltage import ArrayVoltage, Scale, Voltage

DTYPES = ("int16", "uint16", "int32", "uint32", "int8", "uint8", "float32", "float64")
NWB_SUFFIXES = (".nwb", ".nwb.zarr", ".zarr")
BINARY_SUFFIXES = (".raw", ".dat", ".bin")
COMPANIONS = (".meta", ".xml", ".rhd", ".rhs")  # companion files of formats with samples in a plain binary file


@contextmanager
def open_voltage(path: str, raw: RawSettings | None = None) -> Iterator[Voltage]:
    """Open the voltage of a file, and close it at the end.

    Names ending in .nwb or .zarr are NWB. A file is plain binary if ``raw`` or a JSON file beside it gives its sampling
    rate, dtype or channels. neo opens everything else.

    Args:
        path: a file, or a folder in formats that are folders.
        raw: layout of a plain binary file.

    Raises:
        SourceError: if the file is missing, truncated, without voltage or of an unknown format.
        ConfigError: if settings of a plain binary file are missing.
    """
    raw = raw or RawSettings()
    if not Path(path).exists():
        raise SourceError(
            f"there is nothing at {path!r}: expected an NWB file, a plain binary file, or one that neo reads"
        )
    if path.rstrip("/").endswith(NWB_SUFFIXES):
        from ingest.sorting.voltage.nwb_voltage import opened_nwb_voltage

        with opened_nwb_voltage(path, raw.series) as voltage:
            yield voltage
        return
    beside = _beside(path)
    if beside or raw.dtype is not None or raw.channels is not None or _is_plain(path):
        yield binary_voltage(path, raw, beside)
        return
    from ingest.sorting.voltage.neo_voltage import opened_neo_voltage

    with opened_neo_voltage(path, raw) as voltage:
        yield voltage


def binary_voltage(path: str, raw: RawSettings, beside: dict[str, Any] | None = None) -> Voltage:
    """Return the voltage of a plain binary file, memory-mapped rather than loaded.

    Args:
        path: the file.
        raw: its layout.
        beside: layout from a JSON file; ``raw`` takes precedence.

    Raises:
        ConfigError: if sampling rate, dtype or channels are missing, or the dtype is unknown.
        SourceError: if the file is empty, or its size is not a whole number of samples.
    """
    beside = beside or {}
    shape = beside.get("shape") or [None, None]
    rate = raw.sampling_rate or beside.get("sample_rate") or beside.get("sampling_rate")
    channels = raw.channels or beside.get("channels") or shape[-1]
    dtype = raw.dtype or beside.get("dtype")
    missing = [
        name for name, value in (("sampling_rate", rate), ("dtype", dtype), ("channels", channels)) if value is None
    ]
    if missing:
        options = " ".join(f"--raw.{name}" for name in missing)
        raise ConfigError(f"{path} is plain binary without {', '.join(missing)}: expected {options}")
    if str(dtype).lstrip("<>=") not in DTYPES:
        raise ConfigError(f"raw.dtype is {dtype!r}: expected one of {', '.join(DTYPES)}")
    if not isinstance(channels, int) or channels < 1 or not isinstance(rate, int | float):
        raise SourceError(f"{path}: channels {channels!r} at {rate!r} Hz: expected a whole number from 1 on and a rate")
    number = np.dtype(str(dtype))
    size, step = Path(path).stat().st_size - raw.header, number.itemsize * channels
    if size < step:
        raise SourceError(f"{path} holds {max(size, 0)} bytes of samples: expected at least {step}, one sample")
    if size % step and not raw.cut:
        raise SourceError(
            f"{path} holds {size:,} bytes of samples: expected a multiple of {step} ({channels} channels of "
            f"{number.name}): "
            "the file is truncated, or channels, dtype or header are wrong; --raw.cut leaves out the unfinished sample"
        )
    notes = []
    if size % step:
        notes.append(f"the file is cut short: its last {count(size % step, 'byte')} left out")
    stored_TC = np.memmap(path, number, "r", raw.header, (size // step, channels))
    gain = raw.gain if raw.gain is not None else float(beside.get("gain", 1.0))
    offset = raw.offset or float(beside.get("offset", 0.0))
    if raw.gain is None and "gain" not in beside and number.kind in "iu":
        notes.append("no gain is given (--raw.gain): µV are steps of the converter")
    voltage = ArrayVoltage(stored_TC, float(rate), read_channels(raw, channels), Scale(gain, offset), path=path)
    voltage.notes += notes
    return voltage


def _is_plain(path: str) -> bool:
    """Return True for a binary file without the header of a known format in it or beside it."""
    file = Path(path)
    if not file.is_file() or file.suffix not in BINARY_SUFFIXES:
        return False
    if any(file.with_suffix(suffix).exists() for suffix in COMPANIONS):
        return False
    with open(file, "rb") as opened:
        return not opened.read(3).startswith(b"MCS")


def _beside(path: str) -> dict[str, Any]:
    """Return the layout from a JSON file beside a binary one; empty without such a file."""
    for place in (Path(f"{path}.json"), Path(path).with_suffix(".json"), Path(path).with_name("info.json")):
        if place.is_file() and place != Path(path):
            try:
                content = json.loads(place.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise SourceError(f"{place} cannot be read as JSON: {error}") from error
            if isinstance(content, dict) and ("sample_rate" in content or "sampling_rate" in content):
                return content
    return {}
