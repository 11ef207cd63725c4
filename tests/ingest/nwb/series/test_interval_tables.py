"""Trials, states and other tables of intervals."""

import h5py
import numpy as np
import pytest
from pynwb.epoch import TimeIntervals

from foundation.common.errors import SourceError
from ingest.nwb.read_nwb import read_nwb
from ingest.recipe.recipes import load_recipe


@pytest.fixture
def nwb(nwb_maker):
    return nwb_maker.add_trains(nwb_maker.new(), [[0.5, 1.0, 39.0]], [[[0.0, 40.0]]])


def add_trials(nwb, rows, **columns):
    for name in columns:
        nwb.add_trial_column(name, name)
    for k, (start, stop) in enumerate(rows):
        nwb.add_trial(start_time=start, stop_time=stop, **{name: values[k] for name, values in columns.items()})


def table(name, rows, labels, column="label"):
    made = TimeIntervals(name=name, description=name)
    made.add_column(column, column)
    for (start, stop), label in zip(rows, labels, strict=True):
        made.add_interval(start_time=start, stop_time=stop, **{column: label})
    return made


def test_trials_keep_all_columns_and_get_a_direction(write, nwb):
    angles = [0.0, np.pi / 4, np.nan]
    kinds = ["lick left", "lick right", "lick left"]
    add_trials(nwb, [(1.0, 2.0), (5.0, 6.25), (9.0, 10.0)], target_dir=angles, type=kinds, good=[1, 0, 1])
    trials = read_nwb(write(nwb)).intervals["trials"]
    assert trials.start.tolist() == [1.0, 5.0, 9.0]
    assert trials.end.tolist() == [2.0, 6.25, 10.0]
    np.testing.assert_array_equal(trials.columns["target_dir"], angles)
    np.testing.assert_array_equal(trials.columns["direction"], angles)
    assert trials.columns["type"].tolist() == kinds
    assert trials.columns["good"].tolist() == [1, 0, 1]


@pytest.mark.parametrize("column", ["target_dir", "target_direction", "direction", "reach_dir"])
def test_direction_from_its_usual_names(write, nwb, column):
    add_trials(nwb, [(1.0, 2.0), (5.0, 6.0)], **{column: [0.5, 1.5]})
    assert read_nwb(write(nwb)).intervals["trials"].columns["direction"].tolist() == [0.5, 1.5]


def test_direction_in_degrees_becomes_radians(write, nwb, tmp_path):
    (tmp_path / "r.yaml").write_text("trials: {tables: [trials], direction: [angle], direction_unit: degrees}")
    add_trials(nwb, [(1.0, 2.0), (5.0, 6.0)], angle=[90, 180])
    columns = read_nwb(write(nwb), load_recipe(tmp_path / "r.yaml")).intervals["trials"].columns
    np.testing.assert_allclose(columns["direction"], [np.pi / 2, np.pi])
    assert columns["angle"].tolist() == [90, 180]


def test_direction_in_words_is_not_an_angle(write, nwb):
    add_trials(nwb, [(1.0, 2.0), (5.0, 6.0)], direction=["left", "right"])
    assert read_nwb(write(nwb)).intervals["trials"].columns["direction"].tolist() == ["left", "right"]


def test_trials_without_an_end_last_until_the_next_start(write, nwb):
    add_trials(nwb, [(1.0, np.nan), (9.0, np.nan), (5.0, 6.0), (30.0, np.nan)])
    recording = read_nwb(write(nwb))
    assert recording.intervals["trials"].end.tolist() == [5.0, 30.0, 6.0, 40.0]
    assert recording.quality == {"interval_stops_inferred": 3.0}


def test_impossible_trials_are_dropped_and_counted_or_refused(write, nwb):
    add_trials(nwb, [(1.0, 2.0), (np.nan, 3.0), (9.0, 8.0)], k=[0, 1, 2])
    path = write(nwb)
    recording = read_nwb(path)
    assert recording.intervals["trials"].columns["k"].tolist() == [0]
    assert recording.quality == {"intervals_dropped": 2.0}
    with pytest.raises(SourceError, match="row 1 of table 'trials'"):
        read_nwb(path, strict=True)


@pytest.mark.parametrize("name", ["sleep_states", "states", "SleepStates", "brain_states", "epochs"])
@pytest.mark.parametrize("column", ["label", "state", "stage"])
def test_states_from_their_usual_names(write, nwb, name, column):
    rows, labels = [(0.0, 10.0), (10.0, 20.0), (20.0, 25.0), (25.0, 40.0)], ["AWAKE", "SWS", "REM", "IS"]
    if name == "epochs":
        nwb.add_epoch_column(column, column)
        for (start, stop), label in zip(rows, labels, strict=True):
            nwb.add_epoch(start, stop, **{column: label})
    else:
        nwb.add_time_intervals(table(name, rows, labels, column))
    intervals = read_nwb(write(nwb)).intervals
    assert list(intervals) == ["states"]
    assert intervals["states"].columns["state"].tolist() == ["wake", "nrem", "rem", "IS"]
    assert intervals["states"].end.tolist() == [10.0, 20.0, 25.0, 40.0]


def test_states_in_a_processing_module(write, nwb):
    nwb.create_processing_module("behavior", "b").add(table("sleep_states", [(0.0, 10.0)], ["NREM"]))
    nwb.add_epoch(0.0, 20.0, ["before"])
    nwb.add_time_intervals(table("light_pulses", [(3.0, 3.1)], [7], column="power"))
    intervals = read_nwb(write(nwb)).intervals
    assert set(intervals) == {"states", "epochs", "light_pulses"}
    assert intervals["light_pulses"].columns["power"].tolist() == [7]


def test_lists_become_rows_and_lists_of_lists_are_left_out_and_counted(write, nwb):
    nwb.add_trial_column("licks", "times", index=True)
    nwb.add_trial_column("targets", "positions", index=True)
    nwb.add_trial_column("bouts", "lists of times", index=2)
    nwb.add_trial(start_time=0.0, stop_time=1.0, licks=[0.1, 0.2], targets=[[1, 2], [3, 4]], bouts=[[0.1], [0.2]])
    nwb.add_trial(start_time=1.0, stop_time=2.0, licks=[1.1], targets=[[5, 6]], bouts=[[1.1]])
    recording = read_nwb(write(nwb))
    columns = recording.intervals["trials"].columns
    np.testing.assert_array_equal(columns["licks"], [[0.1, 0.2], [1.1, np.nan]])
    np.testing.assert_array_equal(columns["targets"], [[[1, 2], [3, 4]], [[5, 6], [np.nan, np.nan]]])
    assert set(columns) == {"licks", "targets"}
    assert recording.quality == {"interval_columns_left_out": 1.0}


def times_as_texts(path, name):
    """Store the starts of a table as texts, as a spreadsheet does."""
    with h5py.File(path, "r+") as file:
        column = file[name]
        texts, attributes = [f"{value:g} s" for value in column[:]], dict(column.attrs)
        del file[name]
        file.create_dataset(name, data=np.array(texts, dtype=object), dtype=h5py.string_dtype())
        file[name].attrs.update(attributes)
    return path


@pytest.mark.parametrize("name", ["trials", "invalid_times"])
def test_tables_whose_times_are_texts_are_counted_and_refused_with_strict(write, nwb, name):
    nwb.add_trial(start_time=1.0, stop_time=2.0)
    nwb.add_invalid_time_interval(start_time=3.0, stop_time=4.0)
    path = times_as_texts(write(nwb), f"intervals/{name}/start_time")
    assert read_nwb(path).quality["parts_left_out"] == 1.0
    with pytest.raises(SourceError, match="parts_left_out is 1"):
        read_nwb(path, strict=True)
