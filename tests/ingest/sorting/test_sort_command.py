"""`foundation sort` and `foundation ingest --sort`: from files to units.nwb, phy/ and a store."""

import json
from dataclasses import replace

import numpy as np
import pytest
from known_voltage import pair_up
from pynwb import NWBHDF5IO
from pynwb.behavior import SpatialSeries
from pynwb.ecephys import ElectricalSeries

from foundation.cli.commands import main
from foundation.common.errors import ConfigError, SourceError
from foundation.store import Catalog, Store
from ingest.job import IngestSettings, ingest
from ingest.nwb.read_nwb import read_nwb
from ingest.sorting.clustering import ClusterSettings
from ingest.sorting.sort_job import sort
from ingest.sorting.sort_settings import RawSettings, SortCommand, SortSettings
from ingest.sorting.voltage.voltage_files import open_voltage

PCA = SortSettings(recipe="pca", clustering=ClusterSettings(max_units=6))
GAIN, OFFSET = 0.195, -50.0


def command(**options) -> SortCommand:
    return SortCommand(recipe="pca", clustering=ClusterSettings(max_units=6), report=False, **options)


@pytest.fixture(scope="module")
def binary(tetrode, tmp_path_factory):
    """Return the tetrode as a plain binary file of int16, with a JSON file beside it."""
    path = tmp_path_factory.mktemp("raw") / "session.raw"
    np.round((tetrode.x_TC - OFFSET) / GAIN).astype("<i2").tofile(path)
    beside = {"sample_rate": tetrode.rate, "shape": [-1, 4], "dtype": "int16", "gain": GAIN, "offset": OFFSET}
    path.with_suffix(".json").write_text(json.dumps(beside))
    return path


def write_nwb(path, made, nwb):
    device = nwb.create_device("probe")
    group = nwb.create_electrode_group("shank", description="", location="CA1", device=device)
    for x in range(4):
        nwb.add_electrode(group=group, location="CA1", rel_x=20.0 * x, rel_y=0.0)
    stored = np.round((made.x_TC - OFFSET) / GAIN).astype(np.int16)
    nwb.add_acquisition(
        ElectricalSeries(
            "raw",
            data=stored,
            electrodes=nwb.create_electrode_table_region([0, 1, 2, 3], "all"),
            rate=made.rate,
            starting_time=5.0,
            conversion=GAIN * 1e-6,
            offset=OFFSET * 1e-6,
        )
    )
    nwb.add_acquisition(SpatialSeries("position", data=np.zeros((100, 2)), rate=10.0, reference_frame="box"))
    with NWBHDF5IO(path, "w") as io:
        io.write(nwb)
    return str(path)


def test_binary_file_gives_the_same_files_and_recording(binary, tetrode, tmp_path):
    result = sort(command(input=str(binary), output=str(tmp_path / "out"), store=str(tmp_path / "store")))
    sorting = result.sorting
    assert all(recall > 0.97 for _, recall, _ in pair_up(sorting, tetrode))
    assert not (tmp_path / "out" / "work").exists()

    read = read_nwb(tmp_path / "out" / "units.nwb")
    (stored,) = Catalog.open(Store(str(tmp_path / "store")))
    again = stored.load()
    for recording in (read, again):
        assert np.array_equal(recording.spikes.times, sorting.spikes().times)
        assert np.array_equal(recording.spikes.offsets, sorting.spikes().offsets)
        assert recording.units["snr"] == pytest.approx(sorting.quality()["snr"])

    phy = tmp_path / "out" / "phy"
    samples = np.load(phy / "spike_times.npy", allow_pickle=False)
    assert samples / tetrode.rate == pytest.approx(sorting.time_N, abs=0.51 / tetrode.rate)
    assert np.load(phy / "templates.npy").shape == (4, 40, 4)
    parameters: dict = {}
    exec((phy / "params.py").read_text(), parameters)
    assert parameters["dat_path"] == str(binary)
    assert (parameters["n_channels_dat"], parameters["dtype"], parameters["sample_rate"]) == (4, "int16", 20_000.0)


def test_page_shows_every_unit_and_is_self_contained(binary, tmp_path):
    options = {"input": str(binary), "output": str(tmp_path / "out")}
    result = sort(replace(command(**options), report=True))
    page = (tmp_path / "out" / "report.html").read_text()
    assert result.files[-1] == tmp_path / "out" / "report.html"
    assert all(f'id="u{unit}"' in page for unit in range(4))
    assert page.count("data:image/png;base64,") == 4 + 2  # units, map, correlograms
    assert "http" not in page.split("</style>")[1]
    again = tmp_path / "again"
    sort(replace(command(input=str(binary), output=str(again)), report=True))
    assert (again / "report.html").read_bytes() == (tmp_path / "out" / "report.html").read_bytes()
    assert (again / "units.nwb").read_bytes() == (tmp_path / "out" / "units.nwb").read_bytes()


def test_voltage_without_spikes_gives_files_and_a_message(tmp_path):
    noise = np.random.default_rng(0).normal(0, 10, 100_000).astype("<f4")
    noise.tofile(tmp_path / "noise.raw")
    raw = RawSettings(sampling_rate=2e4, dtype="float32", channels=1)
    result = sort(
        replace(command(input=str(tmp_path / "noise.raw"), output=str(tmp_path / "out"), raw=raw), report=True)
    )
    assert str(result).startswith("0 units, 0 spikes in 5.0 s")
    assert "no unit found" in str(result)
    assert "No unit was found." in (tmp_path / "out" / "report.html").read_text()
    assert len(np.load(tmp_path / "out" / "phy" / "spike_times.npy")) == 0


def test_page_reports_missing_gain_and_a_truncated_file(tmp_path):
    noise = np.random.default_rng(0).normal(0, 10, 100_000).astype("<i2").tobytes()
    (tmp_path / "noise.raw").write_bytes(noise[:-1])
    raw = RawSettings(sampling_rate=2e4, dtype="int16", channels=1, cut=True)
    given = command(input=str(tmp_path / "noise.raw"), output=str(tmp_path / "out"), raw=raw)
    result = sort(replace(given, report=True))
    page = (tmp_path / "out" / "report.html").read_text()
    for note in ("no gain is given (--raw.gain): µV are steps of the converter", "its last 1 byte left out"):
        assert note in str(result)
        assert note in page
    scaled = replace(given, output=str(tmp_path / "scaled"), raw=replace(raw, gain=0.5))
    assert "no gain" not in str(sort(scaled))


def test_command_prints_units_and_files(binary, tmp_path, capsys):
    words = f"sort --input {binary} --output {tmp_path / 'out'} --recipe pca --clustering.max_units 6 --report false"
    assert main(words.split()) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("4 units, ")
    assert str(tmp_path / "out" / "units.nwb") in printed


def test_voltage_in_nwb_is_ingested_with_its_other_data(tetrode, tmp_path, nwb_maker):
    path = write_nwb(tmp_path / "session.nwb", tetrode, nwb_maker.new())
    store = str(tmp_path / "store")
    plain = ingest(IngestSettings(input=path, store=store, workers=0))
    assert [receipt.status for receipt in plain.receipts] == ["needs sorting"]
    settings = IngestSettings(input=path, store=store, workers=0, sort=True, sorting=PCA)
    done = ingest(settings)
    assert [receipt.status for receipt in done.receipts] == ["ingested"]
    assert [receipt.status for receipt in ingest(settings).receipts] == ["skipped"]
    (stored,) = Catalog.open(Store(store))
    recording = stored.load()
    moved = replace(tetrode, trains=[train + 5 * tetrode.rate for train in tetrode.trains])
    sorting = sort(command(input=path, output=str(tmp_path / "out"), store=store)).sorting
    assert all(recall > 0.97 for _, recall, _ in pair_up(sorting, moved))
    assert np.array_equal(recording.spikes.times, sorting.spikes().times)
    assert set(recording.units.text("location")) == {"CA1"}
    assert "position" in recording.behavior
    assert recording.subject.id == "m1"
    assert len(Catalog.refresh(Store(store)).records) == 1  # both commands write the same recording


def test_nwb_and_binary_give_the_same_spikes(binary, tetrode, tmp_path, nwb_maker):
    path = write_nwb(tmp_path / "session.nwb", tetrode, nwb_maker.new())
    with open_voltage(path) as one, open_voltage(str(binary)) as other:
        assert one.n_samples == other.n_samples
        assert one.read(100, 200) == pytest.approx(other.read(100, 200), rel=1e-5)
        assert one.channels.known
        assert one.seconds(np.array([20_000])) == pytest.approx([6.0])


def test_brainvision_is_read_by_neo(tetrode, tmp_path):
    stored = np.round(tetrode.x_TC / 0.5).astype("<i2")
    stored.tofile(tmp_path / "rec.eeg")
    (tmp_path / "rec.vmrk").write_text("Brain Vision Data Exchange Marker File, Version 1.0\n[Marker Infos]\n")
    channels = "\n".join(f"Ch{k + 1}=el{k},,0.5,µV" for k in range(4))
    (tmp_path / "rec.vhdr").write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nDataFile=rec.eeg\nMarkerFile=rec.vmrk\n"
        "DataFormat=BINARY\nDataOrientation=MULTIPLEXED\nNumberOfChannels=4\n"
        f"SamplingInterval={1e6 / tetrode.rate:g}\n[Binary Infos]\nBinaryFormat=INT_16\n[Channel Infos]\n{channels}\n",
        encoding="utf-8",
    )
    with open_voltage(str(tmp_path / "rec.vhdr"), RawSettings(group_size=2)) as voltage:
        assert voltage.sampling_rate == tetrode.rate
        assert voltage.read(0, 500) == pytest.approx(stored[:500] * 0.5)
        assert voltage.channels.names.tolist() == ["el0", "el1", "el2", "el3"]
        assert voltage.groups.tolist() == ["0", "0", "1", "1"]


def test_probe_file_gives_channel_positions(binary, tmp_path):
    import probeinterface

    probe = probeinterface.Probe(ndim=2, si_units="um")
    probe.set_contacts(positions=[[0, 0], [0, 25], [0, 50], [0, 75]], shapes="circle", shape_params={"radius": 5})
    probe.set_device_channel_indices([3, 2, 1, 0])
    probeinterface.write_probeinterface(tmp_path / "probe.json", probe)
    with open_voltage(str(binary), RawSettings(probe=str(tmp_path / "probe.json"))) as voltage:
        assert voltage.positions_C2[:, 1].tolist() == [75, 50, 25, 0]


def cut_short(path, tmp_path):
    (tmp_path / "cut.raw").write_bytes(path.read_bytes()[:-3])
    (tmp_path / "cut.json").write_bytes(path.with_suffix(".json").read_bytes())
    return str(tmp_path / "cut.raw")


def test_truncated_file_is_rejected_or_loses_its_last_sample(binary, tmp_path):
    path = cut_short(binary, tmp_path)
    with (
        pytest.raises(SourceError, match=r"expected a multiple of 8 \(4 channels of int16\): the file is truncated"),
        open_voltage(path),
    ):
        pass
    with open_voltage(path, RawSettings(cut=True)) as voltage:
        assert voltage.n_samples == 399_999


@pytest.mark.parametrize(
    ("name", "raw", "error", "words"),
    [
        ("none.raw", RawSettings(), SourceError, "there is nothing at"),
        ("plain.raw", RawSettings(), ConfigError, "--raw.sampling_rate --raw.dtype --raw.channels"),
        ("plain.raw", RawSettings(sampling_rate=3e4, dtype="int16"), ConfigError, "expected --raw.channels"),
        ("plain.raw", RawSettings(sampling_rate=3e4, dtype="complex64", channels=1), ConfigError, "raw.dtype is 'comp"),
        ("plain.raw", RawSettings(sampling_rate=3e4, dtype="int16", channels=9999), SourceError, "one sample"),
        ("plain.raw", RawSettings(sampling_rate=3e4, dtype="int16", channels=4, group_size=3), ConfigError, "divisor"),
        ("plain.raw", RawSettings(sampling_rate=50.0, dtype="int16", channels=4), SourceError, "rate is 50 Hz"),
        ("text.txt", RawSettings(), SourceError, "has a format unknown to neo"),
        ("damaged.nwb", RawSettings(), SourceError, "damaged.nwb"),
    ],
)  # fmt: skip
def test_unreadable_input_is_named(name, raw, error, words, tmp_path):
    for file in ("plain.raw", "text.txt", "damaged.nwb"):
        (tmp_path / file).write_bytes(bytes(800))
    with pytest.raises(error, match=words), open_voltage(str(tmp_path / name), raw):
        pass


def test_output_must_be_a_folder(binary, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="which is a file"):
        sort(command(input=str(binary), output=str(tmp_path / "file")))
