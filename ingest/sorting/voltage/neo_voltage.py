"""The voltage of raw formats that neo reads: Open Ephys, Intan, Blackrock, Neuralynx, Plexon, SpikeGLX and others."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from foundation.common.errors import SourceError
from foundation.common.lazy import optional_package
from ingest.sorting.sort_settings import RawSettings
from ingest.sorting.voltage.probe_layout import channels_of_probes, read_channels
from ingest.sorting.voltage.voltage import Channels, Scale, Voltage

TO_MICROVOLTS = {"uV": 1.0, "µV": 1.0, "mV": 1e3, "V": 1e6, "nV": 1e-3}


class NeoVoltage(Voltage):
    """One stream of a recording that neo has opened; it must have exactly one segment.

    Args:
        path: the recording.
        reader: neo's, with its header parsed.
        stream: number of the stream.
        channels: positions of the channels.
    """

    def __init__(self, path: str, reader: Any, stream: int, channels: Channels) -> None:
        self._reader, self._stream = reader, stream
        header = reader.header["signal_channels"]
        mine = header[header["stream_id"] == reader.header["signal_streams"][stream]["id"]]
        units = [TO_MICROVOLTS.get(str(unit)) for unit in mine["units"]]
        if None in units:
            raise SourceError(f"{path}: its signal is in {mine['units'][units.index(None)]!r}: expected volts")
        factor = np.array(units, dtype=np.float64)
        self._scale = Scale(mine["gain"] * factor, mine["offset"] * factor)
        super().__init__(
            path,
            float(reader.get_signal_sampling_rate(stream)),
            int(reader.get_signal_size(0, 0, stream)),
            channels,
            float(reader.get_signal_t_start(0, 0, stream)),
        )

    def _read(self, start: int, stop: int) -> np.ndarray:
        stored_TC = self._reader.get_analogsignal_chunk(
            block_index=0, seg_index=0, i_start=start, i_stop=stop, stream_index=self._stream
        )
        if len(stored_TC) != stop - start:
            raise SourceError(f"{self.path} is truncated: it has only {len(stored_TC)} of samples {start} to {stop}")
        return self._scale(stored_TC)


@contextmanager
def opened_neo_voltage(path: str, raw: RawSettings) -> Iterator[Voltage]:
    """Open a recording with neo and yield the voltage of one of its streams.

    Raises:
        SourceError: if no reader of neo knows the format, the file is damaged, or it has no such stream.
    """
    rawio = optional_package("neo.rawio", "raw formats", "sorting")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kind = rawio.get_rawio(path)
            if kind is None:
                raise SourceError(
                    f"{path} has a format unknown to neo: for plain binary give --raw.sampling_rate, "
                    "--raw.dtype and --raw.channels"
                )
            folder = path if Path(path).is_dir() else str(Path(path).parent)
            where = {"dirname": folder} if kind.rawmode in ("one-dir", "multi-dir") else {"filename": path}
            reader = kind(**where)
            reader.parse_header()
    except SourceError:
        raise
    except Exception as error:  # each reader raises its own errors
        raise SourceError(f"{path}: neo cannot read it: {type(error).__name__}: {error}") from error
    streams = reader.header["signal_streams"]
    if not len(streams):
        raise SourceError(f"{path} has no signal")
    if raw.stream >= len(streams):
        known = ", ".join(f"{k} ({stream['name']})" for k, stream in enumerate(streams))
        raise SourceError(f"{path}: raw.stream is {raw.stream}: expected one of {known}")
    if reader.block_count() != 1 or reader.segment_count(0) != 1:
        raise SourceError(
            f"{path} has {reader.block_count()} blocks and {reader.segment_count(0)} segments in the first: "
            "expected one of each, as spikes are sorted through one stretch of time"
        )
    header = reader.header["signal_channels"]
    names = header["name"][header["stream_id"] == streams[raw.stream]["id"]].astype(str)
    channels = _channels(path, raw, names)
    try:
        yield NeoVoltage(path, reader, raw.stream, channels)
    finally:
        close = getattr(reader, "close", None)
        if close is not None:
            close()


def _channels(path: str, raw: RawSettings, names: np.ndarray) -> Channels:
    """Return the channel layout: from the settings, or from the probe files of SpikeGLX and Open Ephys."""
    if raw.probe is None and raw.group_size is None and path.endswith(".bin"):
        meta = Path(path).with_suffix(".meta")
        if meta.is_file():
            probeinterface = optional_package("probeinterface", "probe geometry", "sorting")
            try:
                probe = probeinterface.read_spikeglx(meta)
            except Exception:  # an unsupported probe: sort without geometry
                return read_channels(raw, len(names), names)
            if probe.get_contact_count() == len(names):
                return channels_of_probes([probe], len(names), str(meta))
    return read_channels(raw, len(names), names)
