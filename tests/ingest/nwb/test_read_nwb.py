"""Animal and session of a file, and files that are damaged or hold no activity."""

import hashlib
import io
import re
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
from pynwb import TimeSeries
from pynwb.ecephys import LFP, ElectricalSeries

from foundation.common.errors import SourceError
from foundation.store import Source, Store, Subject
from ingest.nwb.read_log import Notes
from ingest.nwb.read_nwb import NeedsSorting, NoActivity, digest_of, read_nwb
from ingest.recipe.recipes import load_recipe
from ingest.run.explain import explain
from ingest.run.worker import Work
from ingest.sources import find_assets


@pytest.fixture
def good(nwb_maker):
    return nwb_maker.add_trains(nwb_maker.new(), [[0.5, 1.0], [2.0]])


def test_every_text_of_the_file(write, good):
    path = write(good)
    recording = read_nwb(path)
    assert recording.subject == Subject("m1", "", "Mus musculus", "F", "P90D")
    assert recording.session == "s1"
    assert recording.description == "a test"
    assert recording.start_time == "2021-03-04T05:06:07+00:00"
    assert (recording.lab, recording.institution) == ("a lab", "an institution")
    with open(path, "rb") as file:
        assert recording.source == Source(path=path, digest=hashlib.sha256(file.read()).hexdigest())
    assert recording.resolution == 0.0
    assert recording.spikes.times.tolist() == [0.5, 1.0, 2.0]


def test_source_and_namespace_come_from_the_caller(write, good):
    source = Source(path="x.nwb", digest="d", archive="dandi", dandiset="000001", asset="a")
    recording = read_nwb(write(good), source=source, namespace="dandi/000001")
    assert recording.source == source
    assert recording.subject.key == "dandi/000001/m1"


def test_names_fall_back_to_the_file_name(write, nwb_maker):
    silent = {"subject": None, "session_id": None, "lab": None, "institution": None}
    nwb = nwb_maker.add_trains(nwb_maker.new(**silent), [[0.5]])
    recording = read_nwb(write(nwb, "sub-rat7_ses-day2_ecephys.nwb"))
    assert (recording.subject.id, recording.session, recording.lab) == ("rat7", "day2", "")
    nwb = nwb_maker.add_trains(nwb_maker.new(**silent), [[0.5]])
    recording = read_nwb(write(nwb, "morning.nwb"))
    assert (recording.subject.id, recording.session) == ("morning", "id-1")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("The source keeps spike counts in 100 ms bins: see", 0.1),
        ("as spike counts in 4 s bins, with", 4.0),
        ("spikes at 30 kHz", 0.0),
    ],
)
def test_resolution_from_the_description(write, nwb_maker, text, seconds):
    nwb = nwb_maker.add_trains(nwb_maker.new(session_description=text), [[0.5]])
    assert read_nwb(write(nwb)).resolution == seconds


def test_file_by_url_reads_the_same(write, good):
    path = write(good)
    local, remote = read_nwb(path), read_nwb(f"file://{path}")
    assert local.spikes.times.tolist() == remote.spikes.times.tolist()
    assert local.source.digest == remote.source.digest == digest_of(path)


def test_open_file_reads_like_its_path_and_stays_open(write, good):
    path = write(good)
    with open(path, "rb") as file:
        file.seek(100)
        recording = read_nwb("elsewhere/a.nwb", content=file)
        assert not file.closed
    assert recording.spikes.times.tolist() == read_nwb(path).spikes.times.tolist()
    assert recording.source == Source(path="elsewhere/a.nwb", digest=digest_of(path))
    with pytest.raises(SourceError, match=r"^elsewhere/b\.nwb: "):
        read_nwb("elsewhere/b.nwb", content=io.BytesIO(b"no NWB at all"))


def voltage(nwb, rate=20000.0):
    device = nwb.create_device("probe")
    group = nwb.create_electrode_group("g", "g", "CA1", device)
    for _ in range(4):
        nwb.add_electrode(location="CA1", group=group)
    region = nwb.create_electrode_table_region(list(range(4)), "all")
    data = np.zeros((1000, 4), np.int16)
    nwb.add_acquisition(ElectricalSeries(name="raw", data=data, electrodes=region, rate=rate))
    return nwb


def test_voltage_alone_needs_sorting(write, nwb_maker):
    path = write(voltage(nwb_maker.new()))
    found = read_nwb(path)
    assert found == NeedsSorting(path, channels=4, rate=20000.0, duration=0.05)


def test_voltage_is_never_loaded(write, nwb_maker):
    nwb = nwb_maker.add_trains(nwb_maker.new(), [[0.5]])
    group = nwb.create_electrode_group("g", "g", "CA1", nwb.create_device("probe"))
    nwb.add_electrode(location="CA1", group=group)
    region = nwb.create_electrode_table_region([0], "all")
    samples = np.zeros((1 << 24, 1), np.int16)  # 32 MB
    nwb.add_acquisition(ElectricalSeries(name="raw", data=samples, electrodes=region, rate=30000.0))
    module = nwb.create_processing_module("ecephys", "filtered")
    module.add(LFP(electrical_series=ElectricalSeries(name="lfp", data=samples, electrodes=region, rate=1000.0)))
    nwb.add_acquisition(TimeSeries(name="microphone", data=samples[:, 0], unit="V", rate=30000.0))
    path = write(nwb)
    read_nwb(path, source=Source(path, "known"))  # what a first read loads of libraries does not count
    tracemalloc.start()
    try:
        recording = read_nwb(path, source=Source(path, "known"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert recording.quality == {"series_left_out": 3.0}
    assert peak < 16e6


def test_voltage_beside_units_needs_no_sorting(write, nwb_maker):
    recording = read_nwb(write(nwb_maker.add_trains(voltage(nwb_maker.new()), [[0.5]])))
    assert recording.n_units == 1


def test_file_with_only_behaviour_is_left_out_without_failure(write, nwb_maker, tmp_path):
    nwb = nwb_maker.new()
    nwb.add_acquisition(TimeSeries(name="lick", data=[1.0, 2.0], unit="V", rate=10.0))
    path = write(nwb)
    found = read_nwb(path)
    assert isinstance(found, NoActivity)
    assert re.search(r"neither spike times .*acquisition/lick", str(found))
    assert explain(path).ok
    Store(tmp_path / "store", create=True)
    receipt = Work(str(tmp_path / "store"), load_recipe("default"))(find_assets(path)[0])
    assert (receipt.status, receipt.note) == ("left out", str(found))


def test_units_without_a_single_spike(write, nwb_maker):
    nwb = nwb_maker.add_trains(nwb_maker.new(), [[], []])
    with pytest.raises(SourceError, match="none of the units has a spike or an observation interval"):
        read_nwb(write(nwb))
    nwb = nwb_maker.add_trains(nwb_maker.new(), [[], []], [[[0.0, 5.0]]] * 2)
    silent = read_nwb(write(nwb))
    assert (silent.n_units, silent.n_spikes, silent.domain.duration) == (2, 0, 5.0)


def test_no_such_file(tmp_path):
    with pytest.raises(SourceError, match=r"gone\.nwb: cannot be read"):
        read_nwb(str(tmp_path / "gone.nwb"))


@pytest.mark.parametrize("content", [b"", b"plain text", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_file_that_is_not_hdf5(tmp_path, content):
    path = tmp_path / "a.nwb"
    path.write_bytes(content)
    with pytest.raises(SourceError, match="not a readable NWB file"):
        read_nwb(str(path))


def test_hdf5_that_is_not_nwb(tmp_path):
    with h5py.File(tmp_path / "a.nwb", "w") as file:
        file["x"] = [1, 2, 3]
    with pytest.raises(SourceError, match="is not an NWB file"):
        read_nwb(str(tmp_path / "a.nwb"))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_file(write, good, tmp_path, share):
    with open(write(good), "rb") as file:
        whole = file.read()
    (tmp_path / "cut.nwb").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(SourceError, match=r"cut\.nwb: not a readable NWB file.*truncated"):
        read_nwb(str(tmp_path / "cut.nwb"))


@pytest.mark.parametrize(
    ("index", "message"), [([2, 99], "row 1 ends at 99, but there are 3 values"), ([3, 2], "before it starts")]
)
def test_index_that_does_not_fit_the_spike_times(write, good, index, message):
    path = write(good)
    with h5py.File(path, "r+") as file:
        file["units/spike_times_index"][...] = index
    with pytest.raises(SourceError, match=f"units.spike_times_index is damaged: .*{message}"):
        read_nwb(path)


def test_unconstructible_object_is_named_in_one_line(write, good):
    path = write(good)
    with h5py.File(path, "r+") as file:
        del file["general/subject/age"].attrs["reference"]
        file["general/subject/age"].attrs["reference"] = "never"
    notes = Notes()
    assert read_nwb(path, notes=notes).subject.age == ""
    (left,) = notes.left
    assert left.path == "general/subject/age"
    assert "reference" in left.text
    assert len(left.text) < 400


def test_warnings_show_neither_control_characters_nor_secrets(write, nwb_maker, caplog):
    trains = [np.cumsum(np.random.default_rng(k).uniform(30.0, 200.0, 150)) for k in range(6)]  # milliseconds
    nwb = nwb_maker.add_trains(nwb_maker.new(), trains)
    for k in range(4):
        nwb.add_trial(start_time=4.0 * k, stop_time=4.0 * k + 3.0)
    path = write(nwb)
    with h5py.File(path, "r+") as file:
        file.require_group("processing/ecephys").attrs.update(
            namespace="core", neurodata_type="ProcessingModule", description="sorted", object_id="m"
        )
        file.move("units", "processing/ecephys/raw\x1b[2J")
    recording = read_nwb(path, source=Source("https://me:password@host/a.nwb?token=abc", "d"))
    assert recording.quality == {"spike_times_suspicious": 1.0}
    assert "https://host/a.nwb?***: processing/ecephys/raw\\x1b[2J: " in caplog.text
    assert not [word for word in ("\x1b", "password", "abc") if word in caplog.text]


def test_path_object_reads_like_its_text(write, good):
    path = write(good)
    assert read_nwb(Path(path)).source == read_nwb(path).source
