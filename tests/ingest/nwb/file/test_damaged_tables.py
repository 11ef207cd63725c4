"""Damaged tables in a file with intact spike trains."""

import h5py
import numpy as np
import pytest
from pynwb import TimeSeries
from pynwb.misc import Units

from foundation.common.errors import SourceError
from ingest.nwb.file import builder_parts as parts
from ingest.nwb.file.builder_parts import PartManager
from ingest.nwb.read_log import Notes
from ingest.nwb.read_nwb import read_nwb
from ingest.recipe.recipes import load_recipe

TRAINS = [[0.5, 1.0, 9.0], [2.0], [3.0, 4.0]]


def trains_of(recording):
    return [recording.spikes.train(unit).tolist() for unit in range(recording.n_units)]


def replaced(path, changes):
    """Give datasets of a written file other values; their attributes stay."""
    with h5py.File(path, "r+") as file:
        for name, values in changes.items():
            attributes = dict(file[name].attrs)
            del file[name]
            file.create_dataset(name, data=values)
            file[name].attrs.update(attributes)
    return path


@pytest.fixture
def two_tables(write, nwb_maker, tmp_path):
    """A file with an intact table ``units`` beside one whose index is a row short."""
    nwb = nwb_maker.add_trains(nwb_maker.new(), TRAINS)
    raw = Units(name="raw_units", description="before curation")
    for train in TRAINS:
        raw.add_unit(spike_times=train)
    nwb.create_processing_module("ecephys", "sorted").add(raw)
    return replaced(write(nwb), {"processing/ecephys/raw_units/spike_times_index": [3, 4]})


def test_damaged_second_units_table_is_left_out(two_tables):
    notes = Notes()
    assert trains_of(read_nwb(two_tables, notes=notes)) == TRAINS
    left = {note.path: note.text for note in notes.left}
    assert "2 rows for 3 units" in left["processing/ecephys/raw_units"]
    assert notes.found() == {"parts_left_out": 1.0}
    with pytest.raises(SourceError, match="parts_left_out is 1"):
        read_nwb(two_tables, strict=True)


def test_damaged_table_named_by_the_recipe_is_refused(two_tables, tmp_path):
    (tmp_path / "own.yaml").write_text("extends: default\nunits: {tables: ['.*/raw_units']}")
    with pytest.raises(SourceError, match=r"raw_units, which the recipe's units\.tables names, cannot be read"):
        read_nwb(two_tables, load_recipe(tmp_path / "own.yaml"))


def test_damaged_single_units_table_is_refused(two_tables):
    with h5py.File(two_tables, "r+") as file:
        del file["units"]
    with pytest.raises(SourceError, match="2 rows for 3 units"):
        read_nwb(two_tables)


def test_objects_of_unknown_types_are_removed_in_one_walk(write, nwb_maker, monkeypatch):
    nwb = nwb_maker.add_trains(nwb_maker.new(), TRAINS, depth=[1.0, 2.0, 3.0])
    for n in range(20):
        nwb.add_acquisition(TimeSeries(name=f"odd{n}", data=np.zeros(3), unit="V", rate=1.0))
    path = write(nwb)
    with h5py.File(path, "r+") as file:
        for name in ("units/depth", *(f"acquisition/odd{n}" for n in range(20))):
            file[name].attrs.update(namespace="ndx-mine", neurodata_type="MySeries")
    walks, walk = [], parts.walk

    def counted(builder):
        walks.append(builder.name == "root")
        return walk(builder)

    monkeypatch.setattr(parts, "walk", counted)
    notes = Notes()
    recording = read_nwb(path, notes=notes)
    assert trains_of(recording) == TRAINS
    assert "depth" not in recording.units
    assert notes.found() == {"parts_left_out": 21.0}
    assert sum(walks) <= 2


@pytest.mark.parametrize("damage", ["no description", "no device"])
def test_failures_of_a_kind_are_repaired_in_one_round(write, nwb_maker, monkeypatch, damage):
    nwb = nwb_maker.add_trains(nwb_maker.new(), TRAINS)
    device = nwb.create_device("probe")
    for n in range(12):
        nwb.create_electrode_group(f"shank{n}", "a shank", "CA1", device)
    path = write(nwb)
    with h5py.File(path, "r+") as file:
        for n in range(12):
            group = file[f"general/extracellular_ephys/shank{n}"]
            del (group.attrs if damage == "no description" else group)[damage.removeprefix("no ")]
    rounds, construct = [], PartManager.construct

    def counted(manager, builder):
        rounds.append(builder.name == "root")
        return construct(manager, builder)

    monkeypatch.setattr(PartManager, "construct", counted)
    monkeypatch.setattr("ingest.nwb.file.construct.MOST_ROUNDS", 1 if damage == "no description" else 2)
    notes = Notes()
    assert trains_of(read_nwb(path, notes=notes)) == TRAINS
    assert notes.found() == {"texts_filled_in" if damage == "no description" else "parts_left_out": 12.0}
    assert sum(rounds) == 2
