"""Events and epochs stored as series or as tables of times."""

import h5py
import numpy as np
import pytest
from pynwb.behavior import BehavioralEpochs
from pynwb.epoch import TimeIntervals
from pynwb.misc import AnnotationSeries, IntervalSeries

from foundation.common.errors import SourceError
from ingest.nwb.read_log import Notes
from ingest.nwb.read_nwb import read_nwb


@pytest.fixture
def nwb(nwb_maker):
    return nwb_maker.add_trains(nwb_maker.new(), [[0.5, 1.0, 39.0]], [[[0.0, 40.0]]])


def epochs(nwb, *series):
    nwb.create_processing_module("behavior", "b").add(BehavioralEpochs(interval_series=list(series)))
    return nwb


def marks(name, times, values):
    return IntervalSeries(name=name, timestamps=np.array(times, float), data=np.array(values, np.int8))


def test_epochs_of_one_kind(write, nwb):
    recording = read_nwb(write(epochs(nwb, marks("wheel_moves", [1.0, 2.5, 7.0, 9.0], [1, -1, 1, -1]))))
    moves = recording.intervals["wheel_moves"]
    assert (moves.start.tolist(), moves.end.tolist(), moves.columns) == ([1.0, 7.0], [2.5, 9.0], {})
    assert recording.quality == {}
    assert recording.behavior == {}


def test_kinds_may_overlap(write, nwb):
    recording = read_nwb(write(epochs(nwb, marks("m", [1.0, 2.0, 3.0, 4.0], [1, 2, -1, -2]))))
    found = recording.intervals["m"]
    assert (found.start.tolist(), found.end.tolist()) == ([1.0, 2.0], [3.0, 4.0])
    assert found.columns["value"].tolist() == [1, 2]


def test_marks_without_a_partner_are_counted(write, nwb):
    series = marks("m", [1.0, 2.0, 3.0, np.nan, 8.0], [-1, 1, 1, -1, 0])
    recording = read_nwb(write(epochs(nwb, series)))
    assert (recording.intervals["m"].start.tolist(), recording.intervals["m"].end.tolist()) == ([3.0], [40.0])
    assert recording.quality == {"interval_stops_inferred": 1.0, "intervals_dropped": 4.0}


def test_marks_without_a_time_each_are_counted_and_refused_with_strict(write, nwb):
    path = write(epochs(nwb, marks("m", [1.0, 2.0, 3.0, 4.0], [1, -1, 1, -1])))
    with h5py.File(path, "r+") as file:
        series = file["processing/behavior/BehavioralEpochs/m"]
        stamps, attributes = series["timestamps"][:-1], dict(series["timestamps"].attrs)
        del series["timestamps"]
        series["timestamps"] = stamps
        series["timestamps"].attrs.update(attributes)
    assert read_nwb(path).quality == {"parts_left_out": 1.0}
    with pytest.raises(SourceError, match="parts_left_out is 1"):
        read_nwb(path, strict=True)


def test_series_without_marks_is_not_counted(write, nwb):
    assert read_nwb(write(epochs(nwb, marks("m", [], []))), strict=True).quality == {}


def test_annotations_have_no_length(write, nwb):
    nwb.add_stimulus(AnnotationSeries(name="ripple", data=["start", "peak"], timestamps=[3.0, 3.1]))
    found = read_nwb(write(nwb)).intervals["ripple"]
    assert found.start.tolist() == found.end.tolist() == [3.0, 3.1]
    assert found.columns["annotation"].tolist() == ["start", "peak"]


def test_stimulus_tables_and_tables_of_modules(write, nwb):
    shown = TimeIntervals(name="gratings", description="stimuli")
    shown.add_column("orientation", "degrees")
    shown.add_column("corners", "four numbers")
    shown.add_interval(start_time=1.0, stop_time=1.5, orientation=90.0, corners=[0, 0, 1, 1])
    shown.add_interval(start_time=2.0, stop_time=2.5, orientation=np.nan, corners=[0, 0, 2, 2])
    nwb.add_stimulus(shown)
    again = TimeIntervals(name="gratings", description="of the same name")
    again.add_interval(start_time=5.0, stop_time=6.0)
    nwb.create_processing_module("optogenetics", "o").add(again)
    intervals = read_nwb(write(nwb)).intervals
    assert set(intervals) == {"gratings", "presentation_gratings"}
    assert intervals["gratings"].start.tolist() == [5.0]
    found = intervals["presentation_gratings"]
    assert (found.start.tolist(), found.end.tolist()) == ([1.0, 2.0], [1.5, 2.5])
    np.testing.assert_array_equal(found.columns["orientation"], [90.0, np.nan])
    assert found.columns["corners"].tolist() == [[0, 0, 1, 1], [0, 0, 2, 2]]


def test_tables_of_events(write, nwb):
    event = pytest.importorskip("pynwb.event")
    licks = event.EventsTable(name="licks", description="licks")
    licks.add_event(timestamp=1.0)
    licks.add_event(timestamp=2.5)
    nwb.add_events_table(licks)
    rewards = event.EventsTable(name="rewards", description="rewards")
    rewards.add_event(timestamp=3.0, duration=0.25)
    rewards.add_event(timestamp=9.0, duration=np.nan)
    nwb.add_events_table(rewards)
    intervals = read_nwb(write(nwb)).intervals
    assert intervals["licks"].start.tolist() == intervals["licks"].end.tolist() == [1.0, 2.5]
    assert (intervals["rewards"].start.tolist(), intervals["rewards"].end.tolist()) == ([3.0, 9.0], [3.25, 9.0])


def test_tags_become_one_text(write, nwb):
    nwb.add_epoch(0.0, 10.0, ["run", "maze"])
    nwb.add_epoch(10.0, 20.0, ["sleep"])
    assert read_nwb(write(nwb)).intervals["epochs"].columns["tags"].tolist() == ["run; maze", "sleep"]


def test_second_table_named_trials(write, nwb, tmp_path):
    (tmp_path / "r.yaml").write_text("trials: {tables: [task]}")
    nwb.add_trial(start_time=0.0, stop_time=1.0)
    task = TimeIntervals(name="task", description="t")
    task.add_interval(start_time=5.0, stop_time=6.0)
    nwb.add_time_intervals(task)
    from ingest.recipe.recipes import load_recipe

    notes = Notes()
    intervals = read_nwb(write(nwb), load_recipe(tmp_path / "r.yaml"), notes=notes).intervals
    assert intervals["trials"].start.tolist() == [5.0]
    assert intervals["other_trials"].start.tolist() == [0.0]
