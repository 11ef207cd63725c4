"""Properties that units get from their electrodes: regions, coordinates, groups, probes."""

import numpy as np
import pytest

from ingest.nwb.read_log import Notes
from ingest.nwb.read_nwb import read_nwb
from ingest.recipe.recipes import load_recipe


@pytest.fixture
def two_probes(nwb_maker):
    """Two probes of two shanks and eight electrodes; a unit is added by each test."""
    nwb = nwb_maker.new()
    nwb.add_electrode_column("rel_y", "depth along the probe")
    nwb.add_electrode_column("pin", "a pin of the connector")
    for p in range(2):
        device = nwb.create_device(f"probe{p}", description=f"probe number {p}", manufacturer="Imec")
        for s in range(2):
            group = nwb.create_electrode_group(f"p{p}s{s}", "a shank", "?", device)
            for e in range(2):
                nwb.add_electrode(
                    x=100.0 * p, y=10.0 * s, z=float(e), rel_y=20.0 * e, pin=e, group=group, id=50 + 4 * p + 2 * s + e,
                    location="VISp5" if p else "CA1",
                )  # fmt: skip
    return nwb


def test_units_of_two_probes_have_their_probe(write, two_probes):
    two_probes.add_unit(spike_times=[0.5], electrodes=[0, 1])
    two_probes.add_unit(spike_times=[0.5], electrodes=[6])
    two_probes.add_unit(spike_times=[0.5], electrodes=[3])
    recording = read_nwb(write(two_probes))
    units = recording.units
    assert units["probe"].tolist() == ["probe0", "probe1", "probe0"]
    assert units["probe_description"].tolist() == [f"Imec; probe number {k}" for k in (0, 1, 0)]
    assert units["group"].tolist() == ["p0s0", "p1s1", "p0s1"]
    assert units["location"].tolist() == ["CA1", "VISp5", "CA1"]
    assert units["region"].tolist() == ["CA1", "VISp", "CA1"]
    assert units["x"].tolist() == [0.0, 100.0, 0.0]
    assert units["y"].tolist() == [0.0, 10.0, 10.0]
    assert units["z"].tolist() == [0.5, 0.0, 1.0]  # the mean of its electrodes
    assert units["rel_y"].tolist() == [10.0, 0.0, 20.0]
    assert "pin" not in units
    assert recording.quality == {}


def test_probe_from_the_groups_alone(write, two_probes):
    groups = two_probes.electrode_groups
    for name in ("p0s1", "p1s0"):
        two_probes.add_unit(spike_times=[0.5], electrode_group=groups[name])
    units = read_nwb(write(two_probes)).units
    assert units["probe"].tolist() == ["probe0", "probe1"]
    assert units["group"].tolist() == ["p0s1", "p1s0"]


def test_electrodes_by_id(write, two_probes):
    two_probes.add_unit_column("peak_channel_id", "id of an electrode")
    for one in (57, 50, 999):
        two_probes.add_unit(spike_times=[0.5], peak_channel_id=one)
    units = read_nwb(write(two_probes)).units
    assert units["location"].tolist() == ["VISp5", "CA1", ""]
    assert units["probe"].tolist() == ["probe1", "probe0", ""]
    np.testing.assert_array_equal(units["z"], [1.0, 0.0, np.nan])


def test_unit_s_own_coordinates_take_precedence(write, two_probes):
    two_probes.add_unit_column("x", "the unit's own")
    two_probes.add_unit(spike_times=[0.5], electrodes=[7], x=3.5)
    units = read_nwb(write(two_probes)).units
    assert units["x"].tolist() == [3.5]
    assert units["electrode_x"].tolist() == [100.0]


def test_recipe_names_other_electrode_columns(write, two_probes, tmp_path):
    (tmp_path / "own.yaml").write_text("extends: default\nunits: {electrode_columns: [pin]}")
    two_probes.add_unit(spike_times=[0.5], electrodes=[1])
    units = read_nwb(write(two_probes), load_recipe(tmp_path / "own.yaml")).units
    assert units["pin"].tolist() == [1.0]
    assert "x" not in units


def test_small_mean_waveforms_are_kept_and_large_ones_left_out(write, two_probes):
    for n in range(2):
        two_probes.add_unit(spike_times=[0.5], electrodes=[n], waveform_mean=np.full((40, 2), float(n)))
    path = write(two_probes)
    assert read_nwb(path).units["waveform_mean"].shape == (2, 40, 2)
    assert read_nwb(path).units["waveform_mean"][1, 0, 0] == 1.0
    recipe = load_recipe("default")
    object.__setattr__(recipe.units, "array_size", 79)
    recording = read_nwb(path, recipe)
    assert "waveform_mean" not in recording.units
    assert recording.quality == {"unit_columns_left_out": 1.0}


def test_missing_electrodes(write, two_probes):
    import h5py

    two_probes.add_unit(spike_times=[0.5], electrodes=[1])
    path = write(two_probes)
    with h5py.File(path, "r+") as file:
        file["units/electrodes"][...] = 99
    notes = Notes()
    recording = read_nwb(path, notes=notes)
    assert recording.quality["parts_left_out"] == 1
    assert "location" not in recording.units
    left = {note.path: note.text for note in notes.left}
    assert "electrode 99, but the table of electrodes has 8 rows" in left["units/electrodes"]
