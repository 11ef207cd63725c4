"""Good files to break: written by pynwb, as hdmf-zarr wrote it, and real ones where they are at hand."""

from __future__ import annotations

import os
import sys
import tarfile
import warnings
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from unittest.mock import patch
from uuid import UUID

import h5py
import numpy as np
from broken_hdf5 import CANARY_TEXT, CANARY_TIME
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.ecephys import ElectricalSeries

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "nwb" / "zarr_v2"))
from session import session  # noqa: E402

PACKED = HERE.parent / "data" / "session.nwb.zarr.tar.xz"
REAL = (
    "alm/*.nwb",
    "head-direction/**/*.nwb",
    "rat-track/**/*linear*.nwb",
    "sleep/**/*.nwb",
    "optotagged/**/*813701562*.nwb",
    "reach/**/*Mihi*.nwb",
)


def _save(nwb: NWBFile, path: Path) -> Path:
    with h5py.File(path, "w") as file, NWBHDF5IO(file=file, mode="w") as io:
        io.write(nwb)
    return path


def _new(name: str) -> NWBFile:
    start = datetime(2020, 1, 2, tzinfo=UTC)
    return NWBFile(session_description=name, identifier=name, session_start_time=start, file_create_date=start)


def _units() -> NWBFile:
    """Units alone, with columns of every kind."""
    rng = np.random.default_rng(1)
    nwb = _new("units")
    for name in ("cell_type", "location", "depth", "kept", "peak"):
        nwb.add_unit_column(name, name)
    nwb.add_unit_column("tags", "several texts a unit", index=True)
    for n in range(8):
        nwb.add_unit(
            spike_times=np.sort(rng.uniform(0, 100, 200)),
            obs_intervals=[[0.0, 100.0]],
            waveform_mean=rng.normal(size=32),
            cell_type=["PV", "SST"][n % 2],
            location="CA1",
            depth=float(n),
            kept=n > 1,
            peak=rng.normal(size=3),
            tags=["a", "b"][: n % 3],
        )
    for k in range(10):
        nwb.add_trial(start_time=10.0 * k, stop_time=10.0 * k + 9)
    return nwb


def make_goods(folder: Path) -> list[Path]:
    """The good files, sorted so that a number always means the same one."""
    folder.mkdir(parents=True)
    number = count(1)
    # The same bytes every time: object ids are otherwise drawn.
    with warnings.catch_warnings(), patch("hdmf.container.uuid4", lambda: UUID(int=next(number))):
        warnings.simplefilter("ignore")
        written = [_save(session(), folder / "a-session.nwb")]
        written.append(_save(_units(), folder / "b-units.nwb"))
        counted = _new("counts")
        series = TimeSeries(
            name="binned_spike_counts", data=np.arange(600).reshape(100, 6) % 4, unit="counts", rate=0.25
        )
        counted.create_processing_module("ecephys", "counts").add(series)
        counted.add_epoch(0.0, 200.0, ["wake"])
        written.append(_save(counted, folder / "c-counts.nwb"))
        voltage = _new("voltage")
        group = voltage.create_electrode_group("g", "g", "CA1", voltage.create_device("probe"))
        for _ in range(4):
            voltage.add_electrode(location="CA1", group=group)
        region = voltage.create_electrode_table_region([0, 1, 2, 3], "all")
        raw = ElectricalSeries(name="raw", data=np.zeros((1000, 4), np.int16), electrodes=region, rate=20000.0)
        voltage.add_acquisition(raw)
        written.append(_save(voltage, folder / "d-voltage.nwb"))
    with tarfile.open(PACKED) as archive:
        archive.extractall(folder / "e-session.nwb.zarr", filter="data")
    written.append(folder / "e-session.nwb.zarr")
    root = os.environ.get("FOUNDATION_DATA")
    real = [path for pattern in REAL for path in sorted(Path(root, "nwb").glob(pattern))] if root else []
    return written + real


def make_canary(path: Path) -> None:
    """A good file that no mutated one may bring in: its texts and times tell where they came from."""
    nwb = _new(CANARY_TEXT)
    nwb.add_unit_column("cell_type", "a label")
    for _ in range(6):
        nwb.add_unit(spike_times=np.full(60, CANARY_TIME), cell_type=CANARY_TEXT)
    _save(nwb, path)
