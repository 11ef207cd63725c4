"""Labels and times in human forms: padded, as enums, with levels, without a time zone."""

import time

import h5py
import numpy as np
import pytest
from pynwb.misc import AnnotationSeries, IntervalSeries

from foundation.common.errors import SourceError
from ingest.nwb.nwb_texts import plain_text
from ingest.nwb.read_nwb import read_nwb

TRAINS = [[0.5, 1.0, 9.0], [2.0], [3.0, 4.0], [5.0]]


def replace(file, name, data, dtype=None):
    """Give a dataset other data and keep its attributes."""
    attributes = dict(file[name].attrs)
    del file[name]
    made = file.create_dataset(name, data=data, dtype=dtype)
    for key, value in attributes.items():
        made.attrs[key] = value


@pytest.mark.parametrize(
    "stored",
    [
        np.array([b"PV  ", b"SST ", b"PV\0\0", b"PV"], dtype="S4"),
        np.array(["PV ", "SST\n", " PV", "PV"], dtype=h5py.string_dtype()),
        np.array([list("PV "), list("SST"), list("PV "), list("PV ")], dtype="S1"),
    ],
    ids=["fixed length", "variable length", "characters"],
)
def test_padded_labels_are_one_class(write, nwb_maker, stored):
    path = write(nwb_maker.add_trains(nwb_maker.new(), TRAINS, cell_type=["a"] * 4))
    with h5py.File(path, "r+") as file:
        replace(file, "units/cell_type", stored)
    assert read_nwb(path).units["cell_type"].tolist() == ["PV", "SST", "PV", "PV"]


def test_padded_texts_of_the_session(write, nwb_maker):
    path = write(nwb_maker.add_trains(nwb_maker.new(session_id="s1  "), TRAINS))
    with h5py.File(path, "r+") as file:
        replace(file, "general/lab", np.bytes_(b"a lab \0 "))
    recording = read_nwb(path)
    assert (recording.session, recording.lab) == ("s1", "a lab")


def test_padded_labels_of_trials_and_annotations(write, nwb_maker):
    nwb = nwb_maker.add_trains(nwb_maker.new(), TRAINS)
    nwb.add_trial_column("side", "where")
    for k, side in enumerate(["left ", "right"]):
        nwb.add_trial(start_time=float(k), stop_time=k + 1.0, side=side)
    with pytest.warns(UserWarning, match="deprecated"):
        nwb.add_acquisition(AnnotationSeries(name="notes", data=["reward  "], timestamps=[1.0], description="notes"))
    recording = read_nwb(write(nwb))
    assert recording.intervals["trials"].columns["side"].tolist() == ["left", "right"]
    assert recording.intervals["notes"].columns["annotation"].tolist() == ["reward"]


def test_enums_become_their_names(write, nwb_maker):
    path = write(nwb_maker.add_trains(nwb_maker.new(), TRAINS, cell_type=[0] * 4, tagged=[0] * 4))
    with h5py.File(path, "r+") as file:
        replace(file, "units/cell_type", [1, 0, 1, 7], h5py.enum_dtype({"SST": 0, "PV": 1}, basetype="i1"))
        replace(file, "units/tagged", [1, 0, 1, 0], h5py.enum_dtype({"False": 0, "True": 1}, basetype="u1"))
    units = read_nwb(path).units
    assert units["cell_type"].tolist() == ["PV", "SST", "PV", ""]
    assert units["tagged"].tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ([1, 0, 1, 0], [(1.0, 2.0), (3.0, 4.0)]),
        ([1, -1, 1, -1], [(1.0, 2.0), (3.0, 4.0)]),
        ([0, 1, 1, 0], [(2.0, 4.0)]),
        ([1, 2, 0, 0], [(1.0, 2.0), (2.0, 3.0)]),
    ],
)
def test_levels_end_with_0(write, nwb_maker, marks, expected):
    nwb = nwb_maker.add_trains(nwb_maker.new(), TRAINS)
    series = IntervalSeries(name="licks", data=np.array(marks, dtype=np.int8), timestamps=[1.0, 2.0, 3.0, 4.0])
    nwb.add_acquisition(series)
    recording = read_nwb(write(nwb), strict=True)
    table = recording.intervals["licks"]
    assert list(zip(table.start.tolist(), table.end.tolist(), strict=True)) == expected
    assert recording.quality == {}


def test_resolution_of_spike_times_is_kept(write, nwb_maker):
    nwb = nwb_maker.add_trains(nwb_maker.new(), TRAINS)
    nwb.units.resolution = 0.05
    assert read_nwb(write(nwb)).resolution == 0.05


@pytest.mark.parametrize(("stated", "count"), [(30000.0, {"resolution_ignored": 1.0}), (-1.0, {}), (np.nan, {})])
def test_invalid_resolution_is_ignored(write, nwb_maker, stated, count):
    nwb = nwb_maker.add_trains(nwb_maker.new(), TRAINS)
    nwb.units.resolution = stated
    recording = read_nwb(write(nwb))
    assert (recording.resolution, recording.quality) == (0.0, count)
    if count:
        with pytest.raises(SourceError, match="resolution_ignored is 1"):
            read_nwb(write(nwb), strict=True)


@pytest.fixture
def in_zone(monkeypatch):
    """Set the machine's time zone."""

    def set_zone(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ("2021-03-04T05:06:07", "2021-03-04T05:06:07"),
        ("2021-03-04T05:06:07-06:00", "2021-03-04T05:06:07-06:00"),
        ("2021-03-04T05:06:07Z", "2021-03-04T05:06:07+00:00"),
    ],
)
def test_session_start_is_the_same_in_every_time_zone(write, nwb_maker, in_zone, stored, expected):
    path = write(nwb_maker.add_trains(nwb_maker.new(), TRAINS))
    with h5py.File(path, "r+") as file:
        replace(file, "session_start_time", stored)
    for zone in ("UTC", "EST5EDT", "Asia/Tokyo"):
        in_zone(zone)
        assert read_nwb(path).start_time == expected


def test_plain_text():
    assert plain_text(np.array([b"a \0"])) == "a"
    assert plain_text(["x", "y"]) == "['x', 'y']"
    assert plain_text(2.5) == "2.5"
