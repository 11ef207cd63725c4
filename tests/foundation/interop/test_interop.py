"""Conversion of recordings to other programs and back."""

import sys
from pathlib import Path

import numpy as np
import pytest

from foundation.common.errors import ConfigError
from foundation.interop import to_nwb, to_pynapple, to_torch_brain
from foundation.store import (
    Interval,
    IrregularTimeSeries,
    Recording,
    RegularTimeSeries,
    Source,
    Spikes,
    Subject,
    Units,
)

rng = np.random.default_rng(0)
N, SECONDS = 5, 60.0


def recording(kind="spikes", **changes):
    trains = [np.sort(np.round(rng.uniform(0, 50, n), 4)) for n in (40, 0, 90, 3, 20)]
    parts = {
        "source": Source("sub-m/sub-m_ses-1.nwb", "d" * 64, "dandi", "000001", "draft", "asset", "CC-BY-4.0"),
        "subject": Subject("m", "dandi/000001", "Mus musculus", "F", "P90D"),
        "session": "1",
        "units": Units(
            N,
            {
                "id": np.array([3, 4, 10, 11, 12]),
                "cell_type": np.array(["PV", "", "SST", "PV", "VIP"]),
                "location": np.array(["CA1", "CA1", "", "ADn", "ADn"]),
                "depth": np.array([1.5, np.nan, 2.0, 3.0, 4.0]),
                "xyz": rng.normal(size=(N, 3)),
            },
        ),
        "domain": Interval([0.0, 40.0], [30.0, 55.5]),
        "spikes": Spikes.from_trains(trains),
        "behavior": {
            "position": IrregularTimeSeries(np.sort(rng.uniform(0, 60, 100)), rng.normal(size=(100, 2)), "cm"),
            "speed": RegularTimeSeries(rng.normal(size=(600, 1)), 10.0, 0.25, "cm/s"),
        },
        "intervals": {
            "epochs": Interval([0.0, 20.0], [20.0, 50.0], {"box": np.array(["a", "b"])}),
            "states": Interval([0.0, 10.0], [10.0, 15.5], {"state": np.array(["wake", "nrem"])}),
            "trials": Interval([1.0, 2.0, 2.5], [2.0, 3.0, 4.0], {"choice": np.array(["left", "", "right"])}),
        },
        "description": "spike counts in 1 ms bins",
        "resolution": 0.001,
        "start_time": "2020-01-02T03:04:05+00:00",
        "lab": "lab",
        "institution": "institution",
    }
    if kind == "counts":
        counts = RegularTimeSeries(rng.poisson(1.0, (240, N)).astype(np.int16), 4.0, 0.5)
        parts |= {"spikes": None, "activity": counts, "domain": Interval([0.5, 40.0], [30.0, 60.5]), "resolution": 0.0}
        parts |= {"description": "counts"}
    if kind == "values":
        data = rng.normal(size=(300, N)).astype(np.float32)
        data[50:60] = np.nan
        domain = Interval([0.0, 12.0], [10.0, 60.0])
        parts |= {"spikes": None, "activity": RegularTimeSeries(data, 5.0), "activity_kind": "values"}
        parts |= {"domain": domain, "resolution": 0.0, "description": "dF/F"}
    return Recording(**(parts | changes))


def write_and_read(one: Recording, folder: Path) -> Recording:
    pynwb = pytest.importorskip("pynwb")
    from ingest.nwb.read_nwb import read_nwb

    path = folder / "sub-m_ses-1.nwb"
    with pynwb.NWBHDF5IO(str(path), "w") as io:
        io.write(to_nwb(one))
    back = read_nwb(str(path), namespace=one.subject.namespace)
    assert isinstance(back, Recording)
    return back


def measured(name: str) -> bool:
    """Return whether a unit column is added while reading: measures of quality, and regions of an atlas."""
    return name.startswith(("qc_", "region"))


def assert_equal(a: Recording, b: Recording) -> None:
    assert (a.subject, a.session, a.description, a.lab, a.institution, a.start_time, a.activity_kind) == (
        b.subject, b.session, b.description, b.lab, b.institution, b.start_time, b.activity_kind
    )  # fmt: skip
    assert a.resolution == b.resolution
    np.testing.assert_array_equal(a.domain.start, b.domain.start)
    np.testing.assert_array_equal(a.domain.end, b.domain.end)
    assert {n for n in a.units if not measured(n)} == {n for n in b.units if not measured(n)}
    for name in a.units:
        if not measured(name):
            np.testing.assert_array_equal(a.units[name], b.units[name], err_msg=name)
    assert (a.spikes is None) == (b.spikes is None)
    if a.spikes is not None:
        assert a.spikes.times.tobytes() == b.spikes.times.tobytes()
        assert a.spikes.offsets.tolist() == b.spikes.offsets.tolist()
    if a.activity is not None:
        assert_same_series(a.activity, b.activity)
    assert a.behavior.keys() == b.behavior.keys()
    for name, series in a.behavior.items():
        assert_same_series(series, b.behavior[name])
    assert a.intervals.keys() == b.intervals.keys()
    for name, table in a.intervals.items():
        other = b.intervals[name]
        np.testing.assert_array_equal(table.start, other.start)
        np.testing.assert_array_equal(table.end, other.end)
        assert table.columns.keys() == other.columns.keys()
        for column, values in table.columns.items():
            np.testing.assert_array_equal(values, other.columns[column], err_msg=f"{name}.{column}")


def assert_same_series(a, b) -> None:
    assert type(a) is type(b)
    assert a.unit == b.unit
    assert a.data.dtype == b.data.dtype
    np.testing.assert_array_equal(a.data, b.data)
    np.testing.assert_array_equal(a.timestamps, b.timestamps)


@pytest.mark.parametrize("kind", ["spikes", "counts", "values"])
def test_nwb_round_trip(tmp_path, kind):
    one = recording(kind)
    assert_equal(one, write_and_read(one, tmp_path))


def test_written_nwb_is_valid(tmp_path):
    pynwb = pytest.importorskip("pynwb")
    for kind in ("spikes", "counts", "values"):
        path = str(tmp_path / f"{kind}.nwb")
        with pynwb.NWBHDF5IO(path, "w") as io:
            io.write(to_nwb(recording(kind)))
        assert pynwb.validate(path=path) == []


def test_reserved_names_of_nwb_are_renamed(tmp_path):
    one = recording(
        units=Units(N, {"electrodes": np.arange(N), "quality": np.full(N, "good")}),
        intervals={"trials": Interval([0.0], [1.0], {"tags": np.array(["a"])}), "empty": Interval([], [])},
    )
    back = write_and_read(one, tmp_path)
    assert back.units["source_electrodes"].tolist() == list(range(N))
    assert back.intervals["trials"].columns["source_tags"].tolist() == ["a"]
    assert "empty" not in back.intervals


@pytest.mark.real_data
@pytest.mark.parametrize("folder", ["head-direction", "reach", "sleep", "alm"])
def test_real_recordings_round_trip_through_nwb(real_data, tmp_path, folder):
    pytest.importorskip("pynwb")
    from ingest.nwb.read_nwb import read_nwb

    for path in sorted((real_data / "nwb" / folder).rglob("*.nwb")):
        one = read_nwb(str(path), namespace="a/b")
        assert_equal(one, write_and_read(one, tmp_path))


@pytest.mark.filterwarnings("ignore:Some starts and ends are equal")
@pytest.mark.parametrize("kind", ["spikes", "values"])
def test_pynapple(tmp_path, kind):
    nap = pytest.importorskip("pynapple")
    one = recording(kind)
    found = to_pynapple(one)
    # As its users save and load them.
    for name, item in found.items():
        if type(item).__name__ != "DataFrame":
            item.save(str(tmp_path / name))
            found[name] = nap.load_file(str(tmp_path / f"{name}.npz"))
    np.testing.assert_allclose(found["domain"].values, np.stack([one.domain.start, one.domain.end], 1), atol=1e-9)
    if kind == "spikes":
        group = found["units"]
        for n in range(N):
            np.testing.assert_allclose(group[n].times(), one.spikes.train(n), atol=1e-9)
        assert group["cell_type"].tolist() == one.units["cell_type"].tolist()
        # Two spikes lie outside the domain or none does: nothing is lost.
        assert sum(len(group[n]) for n in range(N)) == one.n_spikes
        np.testing.assert_array_equal(np.stack(list(group["xyz"])), one.units["xyz"])
    else:
        frame = found["activity"]
        np.testing.assert_array_equal(frame.values, one.activity.data)
        np.testing.assert_allclose(frame.times(), one.activity.timestamps, atol=1e-9)
        assert list(frame.metadata["cell_type"]) == one.units["cell_type"].tolist()
    np.testing.assert_allclose(found["position"].times(), one.behavior["position"].timestamps, atol=1e-9)
    np.testing.assert_array_equal(found["position"].values, one.behavior["position"].data)
    np.testing.assert_array_equal(found["speed"].values, one.behavior["speed"].data[:, 0])
    np.testing.assert_allclose(found["states"].values, [[0.0, 10.0], [10.0, 15.5]], atol=1.1e-6)
    assert list(found["states"].metadata["state"]) == ["wake", "nrem"]
    # Trials overlap, so that no IntervalSet can hold them.
    assert found["trials"]["end"].tolist() == [2.0, 3.0, 4.0]
    assert found["trials"]["choice"].tolist() == ["left", "", "right"]


@pytest.mark.filterwarnings("ignore:Some starts and ends are equal")
def test_pynapple_keeps_time_support_if_all_spikes_are_observed():
    pytest.importorskip("pynapple")
    one = recording(domain=Interval([0.0], [55.0]))
    support = to_pynapple(one)["units"].time_support
    assert support.values.tolist() == [[0.0, 55.0]]


@pytest.mark.parametrize("kind", ["spikes", "counts"])
def test_torch_brain(tmp_path, kind):
    pytest.importorskip("torch_brain")
    from torch_brain.datasets import Dataset, DatasetIndex, SpikingDatasetMixin

    class Spiking(SpikingDatasetMixin, Dataset):
        pass

    one = recording(kind)
    to_torch_brain(one).save(tmp_path / "session.h5")
    dataset = (Spiking if kind == "spikes" else Dataset)(str(tmp_path))
    data = dataset.get_recording("session")
    assert (data.subject.id, data.subject.age, data.session.id) == ("dandi/000001/m", 90.0, "1")
    assert str(data.session.recording_date) == one.start_time.replace("T", " ")
    assert data.units.cell_type.tolist() == one.units["cell_type"].tolist()
    np.testing.assert_array_equal(data.domain.start, one.domain.start)
    np.testing.assert_array_equal(data.units.xyz, one.units["xyz"])
    np.testing.assert_array_equal(data.position.timestamps, one.behavior["position"].timestamps)
    np.testing.assert_array_equal(data.speed.data, one.behavior["speed"].data)
    assert data.speed.sampling_rate == 10.0
    np.testing.assert_allclose(data.speed.timestamps, one.behavior["speed"].timestamps)
    assert data.trials.choice.tolist() == ["left", "", "right"]
    if kind == "counts":
        np.testing.assert_array_equal(data.activity.data, one.activity.data)
        return
    back = [data.spikes.timestamps[data.spikes.unit_index == n] for n in range(N)]
    assert np.concatenate(back).tobytes() == one.spikes.times.tobytes()
    assert len(dataset.get_unit_ids()) == N
    window = dataset[DatasetIndex("session", 5.0, 6.0)]
    inside = (one.spikes.times >= 5.0) & (one.spikes.times < 6.0)
    assert len(window.spikes) == inside.sum()


@pytest.mark.parametrize(
    ("package", "export"), [("pynapple", to_pynapple), ("torch_brain.data", to_torch_brain), ("pynwb", to_nwb)]
)
def test_missing_package_is_named_with_its_extra(monkeypatch, package, export):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=r"neural-foundation\[interop\]"):
        export(recording())
