"""Spike trains in every place and layout that files use."""

import h5py
import numpy as np
import pytest
from pynwb.misc import Units

from foundation.common.errors import SourceError
from ingest.nwb.read_log import Notes
from ingest.nwb.read_nwb import read_nwb
from ingest.recipe.recipes import load_recipe

TRAINS = [[0.5, 1.0, 9.0], [2.0], [3.0, 4.0]]


def trains_of(recording):
    return [recording.spikes.train(unit).tolist() for unit in range(recording.n_units)]


def changed(path, change):
    """Change a written file with h5py."""
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def replace_spike_times(table, data):
    """Give the units table spike times without an index."""
    attributes = dict(table["spike_times"].attrs)
    for name in ("spike_times", "spike_times_index"):
        del table[name]
    made = table.create_dataset("spike_times", data=data)
    for name, value in attributes.items():
        made.attrs[name] = value


def in_processing(nwb, name, trains, **columns):
    """Add a units table to the processing module ``ecephys``, as neuroconv does."""
    module = nwb.processing.get("ecephys") or nwb.create_processing_module("ecephys", "sorted")
    table = Units(name=name, description="sorted")
    for column in columns:
        table.add_column(column, column)
    for n, train in enumerate(trains):
        table.add_unit(spike_times=train, **{column: values[n] for column, values in columns.items()})
    module.add(table)
    return nwb


def test_units_table_in_processing_is_read(write, nwb_maker):
    notes = Notes()
    nwb = in_processing(nwb_maker.new(), "sorted", TRAINS, cell_type=["PV", "SST", ""])
    recording = read_nwb(write(nwb), strict=True, notes=notes)
    assert trains_of(recording) == TRAINS
    assert recording.units["cell_type"].tolist() == ["PV", "SST", ""]
    assert [n.path for n in notes.taken][:2] == [
        "processing/ecephys/sorted/spike_times",
        "processing/ecephys/sorted/cell_type",
    ]


def test_second_units_table_is_left_out_and_named(write, nwb_maker, tmp_path):
    nwb = nwb_maker.add_trains(nwb_maker.new(), TRAINS)
    path, notes = write(in_processing(nwb, "curated", TRAINS[:2])), Notes()
    assert trains_of(read_nwb(path, notes=notes)) == TRAINS
    assert [n.path for n in notes.left] == ["processing/ecephys/curated"]
    assert notes.found() == {"units_tables_left_out": 1.0}
    with pytest.raises(SourceError, match="units_tables_left_out is 1"):
        read_nwb(path, strict=True)
    (tmp_path / "own.yaml").write_text("extends: default\nunits: {tables: ['.*/curated']}")
    notes = Notes()
    assert trains_of(read_nwb(path, load_recipe(tmp_path / "own.yaml"), strict=True, notes=notes)) == TRAINS[:2]
    assert [n.path for n in notes.left] == ["units"]


def test_interval_for_each_unit_without_an_index(write, nwb_maker):
    def drop_index(file):
        del file["units/obs_intervals_index"]

    nwb = nwb_maker.add_trains(nwb_maker.new(), TRAINS, [[[0.0, 10.0]]] * 3)
    recording = read_nwb(changed(write(nwb), drop_index), strict=True)
    assert recording.domain.start.tolist() == [0.0]
    assert recording.domain.end.tolist() == [10.0]


def test_obs_intervals_that_fit_no_unit_are_left_out(write, nwb_maker):
    def drop_index(file):
        del file["units/obs_intervals_index"]

    nwb = nwb_maker.add_trains(nwb_maker.new(), TRAINS, [[[0.0, 3.0], [4.0, 10.0]]] * 3)
    path = changed(write(nwb), drop_index)
    notes = Notes()
    assert trains_of(read_nwb(path, notes=notes)) == TRAINS
    assert [note.path for note in notes.left] == ["units/obs_intervals"]
    with pytest.raises(SourceError, match="parts_left_out"):
        read_nwb(path, strict=True)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ([0.0, 2.0, 3.0], [[0.0], [2.0], [3.0]]),
        ([[0.5, 1.0, 9.0], [2.0, np.nan, np.nan], [3.0, 4.0, np.nan]], TRAINS),
        ([[0.0, 1.0, 9.0], [2.0, 0.0, 0.0], [np.nan, np.nan, np.nan]], [[0.0, 1.0, 9.0], [2.0], []]),
        ([[0.5, 1.0, 9.0], [0.0, 0.0, 0.0], [3.0, 0.0, 0.0]], [[0.5, 1.0, 9.0], [], [3.0]]),
        ([[0.5, 1.0, 9.0], [0.0, np.nan, np.nan], [np.nan, np.nan, np.nan]], [[0.5, 1.0, 9.0], [0.0], []]),
        (np.array([[5], [6], [7]]), [[5.0], [6.0], [7.0]]),
        (np.array([[0], [6], [7]]), [[0.0], [6.0], [7.0]]),
    ],
    ids=[
        "one spike a unit",
        "filled up with NaN",
        "filled up with 0",
        "a silent unit filled up with 0",
        "a spike at 0 filled up with NaN",
        "integers in a column",
        "a spike at 0 in a column",
    ],
)
def test_spike_times_without_an_index(write, nwb_maker, stored, expected):
    path = write(nwb_maker.add_trains(nwb_maker.new(), TRAINS, depth=[1.0, 2.0, 3.0]))
    changed(path, lambda file: replace_spike_times(file["units"], stored))
    recording = read_nwb(path, strict=True)
    assert trains_of(recording) == expected
    assert recording.units["depth"].tolist() == [1.0, 2.0, 3.0]


def test_missing_times_inside_a_row_are_counted(write, nwb_maker):
    path = write(nwb_maker.add_trains(nwb_maker.new(), TRAINS))
    stored = [[0.5, np.nan, 9.0], [2.0, np.nan, np.nan], [3.0, 4.0, np.nan]]
    changed(path, lambda file: replace_spike_times(file["units"], stored))
    recording = read_nwb(path)
    assert trains_of(recording) == [[0.5, 9.0], [2.0], [3.0, 4.0]]
    assert recording.quality == {"spikes_dropped_nan": 1.0}


def test_texts_as_arrays_of_one_text(write, nwb_maker):
    def as_matlab(file):
        file.attrs["nwb_version"] = np.array(["2.6.0"], dtype=h5py.string_dtype())
        file["units"].attrs["description"] = np.array([["sorted"]], dtype=h5py.string_dtype())
        for name in ("session_description", "general/session_id", "general/subject/subject_id", "general/subject/sex"):
            text = file[name][()].decode()
            del file[name]
            file.create_dataset(name, data=np.array([text], dtype=h5py.string_dtype()))
        text = file["session_start_time"][()]
        del file["session_start_time"]
        file.create_dataset("session_start_time", data=np.array([[text]], dtype="S40"))

    nwb = nwb_maker.add_trains(nwb_maker.new(), TRAINS)
    whole = read_nwb(write(nwb, "whole.nwb"))
    recording = read_nwb(changed(write(nwb_maker.add_trains(nwb_maker.new(), TRAINS), "b.nwb"), as_matlab), strict=True)
    assert (recording.session, recording.subject, recording.start_time) == (
        whole.session,
        whole.subject,
        whole.start_time,
    )
