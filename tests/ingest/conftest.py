"""NWB files written by tests, and one Ray for all tests."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile
from pynwb.file import Subject
from pynwb.ophys import OpticalChannel

from foundation.common.processes.ray_cluster import ray_cluster
from ingest.job import IngestSettings, ingest

# Test modules do not import each other: the archive's fixtures come from here.
sys.path.insert(0, str(Path(__file__).parent / "archive"))
from archive_fixture import archive_server, asset, lab, quick, stocked  # noqa: F401

START = datetime(2021, 3, 4, 5, 6, 7, tzinfo=UTC)


def new_nwb(**changes) -> NWBFile:
    """An empty NWB file of a mouse, in memory."""
    parts = {
        "session_description": "a test",
        "identifier": "id-1",
        "session_start_time": START,
        "session_id": "s1",
        "lab": "a lab",
        "institution": "an institution",
        "subject": Subject(subject_id="m1", species="Mus musculus", sex="F", age="P90D"),
    }
    return NWBFile(**(parts | changes))


def add_trains(nwb: NWBFile, trains, obs_intervals=None, **columns) -> NWBFile:
    """Add a unit per train; columns hold a value per unit."""
    for name in columns:
        nwb.add_unit_column(name, name)
    for n, train in enumerate(trains):
        extra = {name: values[n] for name, values in columns.items()}
        if obs_intervals is not None:
            extra["obs_intervals"] = obs_intervals[n]
        nwb.add_unit(spike_times=np.asarray(train, dtype=np.float64), **extra)
    return nwb


def save(nwb: NWBFile, path: Path) -> str:
    """Write a file; create its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file, NWBHDF5IO(file=file, mode="w") as io:
        io.write(nwb)
    return str(path)


def add_imaging_plane(nwb: NWBFile, name="plane", location="VISp"):
    """Add an imaging plane, and its microscope if missing."""
    return nwb.create_imaging_plane(
        name=name,
        optical_channel=OpticalChannel(name="c", description="c", emission_lambda=500.0),
        description="a plane",
        device=nwb.devices["scope"] if "scope" in nwb.devices else nwb.create_device("scope"),
        excitation_lambda=600.0,
        indicator="GCaMP6",
        location=location,
    )


class NwbMaker:
    """Builds and writes small NWB files."""

    new = staticmethod(new_nwb)
    add_trains = staticmethod(add_trains)
    add_imaging_plane = staticmethod(add_imaging_plane)
    save = staticmethod(save)


@pytest.fixture(scope="session")
def nwb_maker() -> NwbMaker:
    return NwbMaker()


@pytest.fixture
def write(tmp_path):
    """Writes an NWB file into the test's folder and returns its path."""
    return lambda nwb, name="a.nwb": save(nwb, tmp_path / name)


@pytest.fixture(scope="session")
def ray_session():
    """One Ray with two processes for all tests."""
    with ray_cluster(2, "local") as ray:
        yield ray


@pytest.fixture
def run(ray_session):
    """Run the job."""
    return lambda folder, store, **changes: ingest(IngestSettings(str(folder), str(store), **changes))


@pytest.fixture
def folder(tmp_path, nwb_maker):
    """Two good files, one with unsorted spikes, one truncated, one that is text, one with only voltage."""
    root = tmp_path / "nwb"
    for k in range(2):
        nwb = nwb_maker.add_trains(nwb_maker.new(session_id=f"good{k}"), [[0.5 + k, 1.0 + k], [2.0]])
        nwb_maker.save(nwb, root / f"sub-{k}" / "good.nwb")
    nwb_maker.save(nwb_maker.add_trains(nwb_maker.new(session_id="mixed"), [[2.0, 1.0]]), root / "unsorted.nwb")
    whole = (root / "sub-0" / "good.nwb").read_bytes()
    (root / "cut.nwb").write_bytes(whole[: len(whole) // 2])
    (root / "text.nwb").write_text("no NWB")
    return root


@pytest.fixture
def good_folder(folder):
    for name in ("cut.nwb", "text.nwb"):
        (folder / name).unlink()
    return folder
