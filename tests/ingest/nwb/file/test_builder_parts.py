"""Files with one damaged part: the part is left out and named, and the rest is read."""

import shutil

import h5py
import numpy as np
import pytest
from pynwb import TimeSeries
from pynwb.behavior import Position, SpatialSeries

from foundation.common.errors import SourceError
from ingest.nwb.read_log import Notes
from ingest.nwb.read_nwb import read_nwb

UNDERSTOOD = [[0.5, 1.0, 6.0], [2.0], [3.0, 4.0]]


@pytest.fixture(scope="module")
def whole(nwb_maker, tmp_path_factory):
    """A file with units, electrodes, trials and behaviour; tests damage copies of it."""
    nwb = nwb_maker.new()
    device = nwb.create_device("probe")
    group = nwb.create_electrode_group("shank", "a shank", "CA1", device)
    for _ in range(3):
        nwb.add_electrode(location="CA1", group=group)
    nwb.add_unit_column("depth", "depth")
    nwb.add_unit_column("label", "label")
    for n, train in enumerate(UNDERSTOOD):
        nwb.add_unit(spike_times=train, depth=10.0 * n, label=f"cell {n}", electrodes=[n])
    nwb.add_trial_column("cue", "cue")
    for n in range(5):
        nwb.add_trial(start_time=1.0 * n, stop_time=n + 0.5, cue=f"cue {n}")
    module = nwb.create_processing_module("behavior", "behavior")
    hand = SpatialSeries(name="hand", data=np.zeros((20, 2)), reference_frame="desk", timestamps=np.arange(20.0))
    module.add(Position(spatial_series=hand))
    nwb.add_acquisition(TimeSeries(name="wheel", data=np.arange(20.0), unit="cm", rate=10.0))
    return nwb_maker.save(nwb, tmp_path_factory.mktemp("parts") / "whole.nwb")


def shorter(file, path):
    """Make a dataset one value short."""
    values, attributes = file[path][:-1], dict(file[path].attrs)
    parent, name = file[path].parent, path.rpartition("/")[2]
    text = h5py.check_string_dtype(file[path].dtype)
    del parent[name]
    parent.create_dataset(name, data=values, dtype=None if text is None else h5py.string_dtype())
    parent[name].attrs.update(attributes)


def replace(file, path, value, **options):
    attributes = dict(file[path].attrs) if path in file else {}
    if path in file:
        del file[path]
    file.create_dataset(path, data=value, **options)
    file[path].attrs.update(attributes)


def missing_filter(file, path):
    """Make a dataset claim compression by a filter that is not installed."""
    values, attributes = file[path][...], dict(file[path].attrs)
    parent, name = file[path].parent, path.rpartition("/")[2]
    del parent[name]
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk(values.shape)
    plist.set_filter(32099, h5py.h5z.FLAG_OPTIONAL)
    made = h5py.h5d.create(
        parent.id, name.encode(), h5py.h5t.py_create(values.dtype), h5py.h5s.create_simple(values.shape), plist
    )
    made.write_direct_chunk((0,) * values.ndim, values.tobytes())
    parent[name].attrs.update(attributes)


def latin(file, path):
    attributes, parent = dict(file[path].attrs), file[path].parent
    name, count = path.rpartition("/")[2], len(file[path])
    del parent[name]
    made = parent.create_dataset(name, (count,), h5py.string_dtype())
    made[...] = np.array([b"caf\xe9"] * count, dtype=object)
    made.attrs.update(attributes)


def of_an_extension(file, path):
    file[path].attrs["namespace"] = "ndx-mine"
    file[path].attrs["neurodata_type"] = "MySeries"


def external(file, path):
    parent, name = file[path].parent, path.rpartition("/")[2]
    del parent[name]
    parent[name] = h5py.ExternalLink("elsewhere.nwb", "/data")


def without(file, path, attribute):
    del file[path].attrs[attribute]


# what is done to the file -> what stands in "left" and what is counted
DAMAGES = {
    "trial ids one short": (lambda f: shorter(f, "intervals/trials/id"), "intervals/trials/id", "table_ids_numbered"),
    "stop_time one short": (
        lambda f: shorter(f, "intervals/trials/stop_time"),
        "intervals/trials, rows from 5 on",
        "table_rows_cut",
    ),
    "a cue one short": (lambda f: shorter(f, "intervals/trials/cue"), "intervals/trials/cue", "parts_left_out"),
    "a column that is named alone": (
        lambda f: f["intervals/trials"].__delitem__("cue"),
        "intervals/trials/cue",
        "parts_left_out",
    ),
    "no unit ids": (lambda f: replace(f, "units/id", np.empty(0, int)), "units/id", "table_ids_numbered"),
    "depths one short": (lambda f: shorter(f, "units/depth"), "units/depth", "parts_left_out"),
    "a numeric age": (lambda f: replace(f, "general/subject/age", 90.0), "general/subject/age", "parts_left_out"),
    "spring": (
        lambda f: replace(f, "general/subject/date_of_birth", "spring 2023"),
        "general/subject/date_of_birth",
        "parts_left_out",
    ),
    "a numeric subject id": (
        lambda f: replace(f, "general/subject/subject_id", 17),
        "general/subject/subject_id",
        "texts_filled_in",
    ),
    "Latin-1 in a column": (lambda f: latin(f, "units/label"), "units/label", "parts_left_out"),
    "a filter that is not there": (
        lambda f: missing_filter(f, "acquisition/wheel/data"),
        "acquisition/wheel",
        "parts_left_out",
    ),
    "the same in a column": (lambda f: missing_filter(f, "units/depth"), "units/depth", "parts_left_out"),
    "the same in time stamps": (
        lambda f: missing_filter(f, "processing/behavior/Position/hand/timestamps"),
        "processing/behavior/Position/hand",
        "parts_left_out",
    ),
    "the same in start times": (
        lambda f: missing_filter(f, "intervals/trials/start_time"),
        "intervals/trials",
        "parts_left_out",
    ),
    "an electrode group without description": (
        lambda f: without(f, "general/extracellular_ephys/shank", "description"),
        "general/extracellular_ephys/shank",
        "texts_filled_in",
    ),
    "an electrode group without its device": (
        lambda f: f["general/extracellular_ephys/shank"].__delitem__("device"),
        "general/extracellular_ephys/shank",
        "parts_left_out",
    ),
    "no session_description": (lambda f: f.__delitem__("session_description"), "the file", "texts_filled_in"),
    "no start": (lambda f: f.__delitem__("session_start_time"), "session_start_time", "texts_filled_in"),
    "a start in spring": (lambda f: replace(f, "session_start_time", "spring"), "session_start_time", "parts_left_out"),
    "a lab that is a number": (lambda f: replace(f, "general/lab", 3.0), "general/lab", "parts_left_out"),
    "an extension without its definition": (
        lambda f: of_an_extension(f, "acquisition/wheel"),
        "acquisition/wheel",
        "parts_left_out",
    ),
    "the same in a module": (
        lambda f: of_an_extension(f, "processing/behavior/Position/hand"),
        "processing/behavior/Position/hand",
        "parts_left_out",
    ),
    "the same in a column ": (lambda f: of_an_extension(f, "units/depth"), "units/depth", "parts_left_out"),
    "samples in another file": (
        lambda f: external(f, "acquisition/wheel/data"),
        "acquisition/wheel",
        "parts_left_out",
    ),
    "a series in another file": (lambda f: external(f, "acquisition/wheel"), "acquisition/wheel", "parts_left_out"),
    "a series without time": (
        lambda f: f["acquisition/wheel"].__delitem__("starting_time"),
        "acquisition/wheel",
        "parts_left_out",
    ),
    "a link in a circle": (
        lambda f: f.__setitem__("processing/behavior/Position/up", h5py.SoftLink("/processing/behavior")),
        "processing/behavior/Position/up",
        "parts_left_out",
    ),
    "a soft link through another file": (
        lambda f: (
            f.__setitem__("scratch/out", h5py.ExternalLink("elsewhere.nwb", "/")),
            f.__setitem__("processing/behavior/through", h5py.SoftLink("/scratch/out/acquisition")),
        ),
        "processing/behavior/through",
        "parts_left_out",
    ),
    "spikes behind the last unit": (
        lambda f: f["units/spike_times_index"].__setitem__(..., [1, 2, 4]),
        "units/spike_times, its end",
        "spikes_dropped_without_unit",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_one_damaged_part_costs_only_that_part(whole, tmp_path, name):
    damage, path, counter = DAMAGES[name]
    file_path = str(shutil.copy(whole, tmp_path / "sub-x.nwb"))
    with h5py.File(file_path, "r+") as file:
        damage(file)
    notes = Notes()
    recording = read_nwb(file_path, notes=notes)
    left = {note.path: note.text for note in notes.left}
    assert path in left, left
    assert recording.quality[counter] >= 1, recording.quality
    good = read_nwb(whole)
    if counter != "spikes_dropped_without_unit":
        assert recording.spikes.times.tolist() == good.spikes.times.tolist()
    lost = {"trials"} if path == "intervals/trials" else set()
    assert set(recording.intervals) == set(good.intervals) - lost
    lost = {"wheel"} if "wheel" in path else {"hand"} if "hand" in path else set()
    assert set(recording.behavior) >= set(good.behavior) - lost
    with pytest.raises(SourceError, match=r"expected 0 with strict|without strict|not installed"):
        read_nwb(file_path, strict=True)
