"""The voltage of an NWB file: an ElectricalSeries, read a stretch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from pynwb import NWBFile
from pynwb.ecephys import ElectricalSeries, SpikeEventSeries

from foundation.common.errors import SourceError
from foundation.common.output.printable import printable
from ingest.nwb.nwb_arrays import refuse_false_claims
from ingest.nwb.read_nwb import opened_nwb
from ingest.nwb.series.sampled_series import FoundSeries, find_series, impossible_conversion, rate_of, voltage
from ingest.sorting.voltage.voltage import Channels, Scale, Voltage

UNEVEN = 0.5  # of a sample: maximum deviation of time stamps from a constant rate


class NwbVoltage(Voltage):
    """An ElectricalSeries of an open NWB file.

    Args:
        path: the file.
        item: the series and its path.

    Raises:
        SourceError: if the series has no usable samples, rate, conversion or layout.
    """

    def __init__(self, path: str, item: FoundSeries) -> None:
        series, where = item.series, f"{path}: {printable(item.path)}"
        shape: tuple[int, ...] = tuple(np.shape(series.data)) if series.data is not None else ()
        if len(shape) not in (1, 2):
            raise SourceError(f"{where} has {len(shape)} dimensions: expected time x channels")
        refuse_false_claims(series.data, f"{item.path}/data")
        rate = rate_of(series)
        if not np.isfinite(rate):
            raise SourceError(f"{where} has neither a rate nor increasing time stamps")
        if (why := impossible_conversion(series)) is not None:
            raise SourceError(f"{where} has {why}")
        self._data, self._flat = series.data, len(shape) == 1
        n_channels = 1 if self._flat else shape[1]
        channels = electrode_channels(series, n_channels)
        # NWB holds volts: data * conversion * channel_conversion + offset.
        gain: Any = (1.0 if series.conversion is None else float(series.conversion)) * 1e6
        if getattr(series, "channel_conversion", None) is not None:
            gain = gain * np.asarray(series.channel_conversion[:], dtype=np.float64)
            if np.shape(gain) != (n_channels,):
                raise SourceError(f"{where} has {np.size(gain)} channel conversions: expected {n_channels}")
        self._scale = Scale(gain, 1e6 * float(getattr(series, "offset", 0.0) or 0.0))
        self._stamps = None
        start = float(series.starting_time or 0.0)
        if series.rate is None:
            stamps = np.asarray(series.timestamps[:], dtype=np.float64)
            if len(stamps) != shape[0]:
                raise SourceError(f"{where} has {len(stamps)} time stamps for {shape[0]} samples")
            if not (np.isfinite(stamps).all() and (np.diff(stamps) > 0).all()):
                raise SourceError(f"{where} has time stamps that do not increase: expected increasing ones")
            step = float(np.median(np.diff(stamps)))
            rate, start = 1.0 / step, float(stamps[0])
            if np.abs(stamps - (start + step * np.arange(len(stamps)))).max() > UNEVEN * step:
                self._stamps = stamps
        super().__init__(path, rate, shape[0], channels, start)

    def _read(self, start: int, stop: int) -> np.ndarray:
        stored = np.asarray(self._data[start:stop])
        if stored.dtype.kind not in "iuf":
            raise SourceError(f"{self.path}: voltage is {stored.dtype}: expected numbers")
        return self._scale(stored[:, None] if self._flat else stored)

    def seconds(self, sample_N: np.ndarray) -> np.ndarray:
        """Return the times of samples, interpolated between uneven time stamps."""
        if self._stamps is None:
            return super().seconds(sample_N)
        return np.interp(sample_N, np.arange(len(self._stamps)), self._stamps)


@contextmanager
def opened_nwb_voltage(path: str, series: str | None = None) -> Iterator[NwbVoltage]:
    """Open a file and yield the voltage of one of its series.

    Args:
        path: an NWB file.
        series: its path; None for the fastest ElectricalSeries in acquisition.

    Raises:
        SourceError: if the file cannot be read or holds no such voltage.
    """
    with opened_nwb(path) as nwb:
        yield NwbVoltage(path, choose_series(path, nwb, series))


def choose_series(path: str, nwb: NWBFile, series: str | None = None) -> FoundSeries:
    """Return the series to sort.

    Raises:
        SourceError: if the file has no such series.
    """
    found = [
        item
        for item in find_series(nwb)
        if isinstance(item.series, ElectricalSeries) and not isinstance(item.series, SpikeEventSeries)
    ]
    if series is not None:
        chosen = next((item for item in found if item.path == series), None)
        if chosen is None:
            known = ", ".join(printable(item.path) for item in found) or "none"
            raise SourceError(f"{path}: raw.series is {series!r}: expected one of its ElectricalSeries: {known}")
        return chosen
    chosen = voltage(found)
    if chosen is None:
        known = ", ".join(printable(item.path) for item in found)
        hint = f"; name one of {known} with --raw.series" if known else ""
        raise SourceError(f"{path} has no ElectricalSeries among its acquisition{hint}")
    return chosen


def electrode_channels(series: Any, n_channels: int) -> Channels:
    """Return the channel layout of a series from its electrodes."""
    plain = Channels.unknown(n_channels)
    region = series.electrodes
    if region is None or region.table is None or len(region.data) != n_channels:
        return plain
    table, rows = region.table, np.asarray(region.data[:]).astype(int)

    def column(*names: str) -> np.ndarray | None:
        for name in names:
            if name in table.colnames:
                values = np.asarray([table[name][int(row)] for row in rows])
                if values.dtype.kind in "iuf" and np.isfinite(values.astype(float)).all():
                    return values.astype(np.float64)
        return None

    groups = np.array([_group(table, int(row)) for row in rows])
    names = np.asarray(table.id[:])[rows].astype(str)
    for pair in (("rel_x", "rel_y"), ("x", "y"), ("x", "z"), ("y", "z")):
        found = [column(name) for name in pair]
        if found[0] is None or found[1] is None:
            continue
        positions_C2 = np.stack([found[0], found[1]], axis=1)
        if len(np.unique(positions_C2, axis=0)) == n_channels and n_channels > 1:
            return Channels(names, positions_C2, groups)
    return Channels(names, plain.positions_C2, groups, known=False)


def _group(table: Any, row: int) -> str:
    if "group_name" in table.colnames:
        return str(table["group_name"][row])
    return str(getattr(table["group"][row], "name", "")) if "group" in table.colnames else "0"
