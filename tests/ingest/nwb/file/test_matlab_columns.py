"""Tables in the layout of MATLAB and others: vectors as matrices, one name as a text, indices without a target."""

import h5py
import numpy as np
import pytest
from pynwb import get_type_map

from foundation.common.errors import SourceError
from ingest.nwb.file.builder_parts import PartManager
from ingest.nwb.file.hdf5_builders import Hdf5Builders
from ingest.nwb.read_log import Notes
from ingest.nwb.read_nwb import read_nwb

TRAINS = [[0.5, 1.0, 9.0], [2.0], [3.0, 4.0]]
OBSERVED = [[[0.0, 10.0]]] * 3


def trains_of(recording):
    return [recording.spikes.train(unit).tolist() for unit in range(recording.n_units)]


def reshaped(path, shapes):
    """Give datasets of a written file another shape; their attributes stay."""
    with h5py.File(path, "r+") as file:
        for name, shape in shapes.items():
            values, attributes = file[name][...].reshape(shape), dict(file[name].attrs)
            del file[name]
            file[name] = values
            file[name].attrs.update(attributes)
        for name in shapes:
            if f"{name}_index" in file and "target" in file[f"{name}_index"].attrs:
                file[f"{name}_index"].attrs["target"] = file[name].ref
    return path


@pytest.mark.parametrize(("index", "times"), [((-1, 1), (1, -1)), ((1, -1), (-1, 1))], ids=["column", "row"])
def test_vectors_of_units_as_matrices(write, nwb_maker, index, times):
    nwb = nwb_maker.add_trains(nwb_maker.new(), TRAINS, OBSERVED, depth=[1.0, 2.0, 3.0])
    for k in range(3):
        nwb.add_trial(start_time=float(k), stop_time=k + 0.5)
    path = reshaped(
        write(nwb),
        {
            "units/id": (-1, 1),
            "units/spike_times_index": index,
            "units/spike_times": times,
            "units/depth": (1, -1),
            "units/obs_intervals_index": index,
            "intervals/trials/id": index,
            "intervals/trials/start_time": times,
            "intervals/trials/stop_time": index,
        },
    )
    recording = read_nwb(path, strict=True)
    assert trains_of(recording) == TRAINS
    assert recording.units["depth"].tolist() == [1.0, 2.0, 3.0]
    assert (recording.domain.start.tolist(), recording.domain.end.tolist()) == ([0.0], [10.0])
    assert recording.intervals["trials"].start.tolist() == [0.0, 1.0, 2.0]


def test_single_unit_keeps_its_interval_and_spike_times(write, nwb_maker):
    nwb = nwb_maker.add_trains(nwb_maker.new(), TRAINS[:1], OBSERVED[:1])
    path = write(nwb)
    with h5py.File(path, "r+") as file:
        del file["units/spike_times_index"]
    recording = read_nwb(reshaped(path, {"units/spike_times": (1, -1)}), strict=True)
    assert trains_of(recording) == TRAINS[:1]
    assert recording.domain.end.tolist() == [10.0]


def test_single_column_name_as_a_text(write, nwb_maker):
    nwb = nwb_maker.add_trains(nwb_maker.new(keywords=["sleep"]), TRAINS)
    nwb.add_trial_column("cue", "cue")
    nwb.add_trial(start_time=1.0, stop_time=2.0, cue="a")
    path = write(nwb)
    with h5py.File(path, "r+") as file:
        file["units"].attrs["colnames"] = "spike_times"
    recording = read_nwb(path, strict=True)
    assert trains_of(recording) == TRAINS
    assert "trials" in recording.intervals


def test_ids_one_short_beside_a_fitting_index(write, nwb_maker):
    path = write(nwb_maker.add_trains(nwb_maker.new(), TRAINS))

    def ids(count):
        with h5py.File(path, "r+") as file:
            attributes = dict(file["units/id"].attrs)
            del file["units/id"]
            file["units/id"] = np.arange(count)
            file["units/id"].attrs.update(attributes)

    ids(2)
    notes = Notes()
    assert trains_of(read_nwb(path, notes=notes)) == TRAINS
    assert notes.found() == {"table_ids_numbered": 1.0}
    with pytest.raises(SourceError, match="table_ids_numbered is 1"):
        read_nwb(path, strict=True)
    with h5py.File(path, "r+") as file:  # starts and ends: a row more than units
        file["units/spike_times_index"][...] = [0, 3, 6]
    with pytest.raises(SourceError, match="3 rows for 2 units"):
        read_nwb(path)


def test_index_without_a_target_is_paired_by_its_name(write, nwb_maker):
    path = write(nwb_maker.add_trains(nwb_maker.new(), TRAINS))
    with h5py.File(path, "r+") as file:
        del file["units/spike_times_index"].attrs["target"]
    notes = Notes()
    assert trains_of(read_nwb(path, notes=notes)) == TRAINS
    assert [note.path for note in notes.left] == ["units/spike_times_index@target"]
    assert notes.found() == {"parts_left_out": 1.0}


def test_reference_to_a_removed_object_is_named(write, nwb_maker):
    path = write(nwb_maker.add_trains(nwb_maker.new(), TRAINS))
    with h5py.File(path, "r+") as file:
        file["gone"] = [1.0]
        file["units/spike_times_index"].attrs["target"] = file["gone"].ref
        del file["gone"]
    with pytest.raises(
        SourceError, match=r"spike_times_index@target cannot be read: a reference to an object that was"
    ):
        read_nwb(path)
    with h5py.File(path, "r+") as file, Hdf5Builders(file, PartManager(get_type_map()), Notes()) as builders:
        unlinked = file["units/id"]
        del file["units/id"]
        with pytest.raises(SourceError, match="a reference to an object that was removed"):
            builders.get_builder(unlinked)
