"""Labels, groups, other columns, and the observed time of units."""

import numpy as np
import pytest
from pynwb.epoch import TimeIntervals

from foundation.common.errors import SourceError
from ingest.nwb.read_nwb import read_nwb
from ingest.recipe.recipes import load_recipe

TRAINS = [[0.5, 1.0, 9.0], [2.0], [3.0, 4.0]]


def with_electrodes(nwb, locations, per_unit, **columns):
    """A probe of one electrode per location; ``per_unit`` lists each unit's electrodes."""
    device = nwb.create_device("probe")
    groups = [nwb.create_electrode_group(f"shank{i}", "a shank", "somewhere", device) for i in range(2)]
    for i, location in enumerate(locations):
        nwb.add_electrode(location=location, group=groups[i % 2])
    for name in columns:
        nwb.add_unit_column(name, name)
    for n, electrodes in enumerate(per_unit):
        nwb.add_unit(spike_times=TRAINS[n], electrodes=electrodes, **{k: v[n] for k, v in columns.items()})
    return nwb


@pytest.mark.parametrize("column", ["cell_type", "celltype", "putative_cell_type", "Cell_Type"])
def test_cell_type_from_its_usual_names(write, nwb_maker, column):
    nwb = nwb_maker.add_trains(nwb_maker.new(), TRAINS, **{column: ["PV", "unknown", "SST"]})
    recording = read_nwb(write(nwb))
    assert recording.units["cell_type"].tolist() == ["PV", "", "SST"]
    if column != "cell_type":
        assert column not in recording.units  # taken, not doubled


@pytest.mark.parametrize("column", ["location", "brain_area", "brain_region", "area", "acronym"])
def test_location_from_its_usual_names(write, nwb_maker, column):
    recording = read_nwb(write(nwb_maker.add_trains(nwb_maker.new(), TRAINS, **{column: ["CA1", "CA3", "nan"]})))
    assert recording.units["location"].tolist() == ["CA1", "CA3", ""]


def test_empty_column_falls_back_to_the_next(write, nwb_maker):
    nwb = nwb_maker.add_trains(
        nwb_maker.new(), TRAINS, location=["unknown", "", "n/a"], brain_area=["CA1", "CA3", "DG"]
    )
    recording = read_nwb(write(nwb))
    assert recording.units["location"].tolist() == ["CA1", "CA3", "DG"]
    assert recording.units["source_location"].tolist() == ["unknown", "", "n/a"]


def test_location_and_group_from_most_of_a_units_electrodes(write, nwb_maker):
    locations = ["CA1", "CA3", "CA1", "brain_region: DG; layer: 1"]
    nwb = with_electrodes(nwb_maker.new(), locations, [[0, 1, 2], [1], [3]])
    units = read_nwb(write(nwb)).units
    assert units["location"].tolist() == ["CA1", "CA3", "DG"]
    assert units["group"].tolist() == ["shank0", "shank1", "shank1"]


def test_electrodes_fill_gaps_of_a_location_column(write, nwb_maker):
    nwb = with_electrodes(nwb_maker.new(), ["CA1", "CA3"], [[0], [1], [1]], location=["ADn", "", "ADn"])
    assert read_nwb(write(nwb)).units["location"].tolist() == ["ADn", "CA3", "ADn"]


def test_group_from_references_to_electrode_groups(write, nwb_maker):
    nwb = nwb_maker.new()
    device = nwb.create_device("probe")
    groups = [nwb.create_electrode_group(f"g{i}", "a shank", "CA1", device) for i in range(3)]
    for group, train in zip(groups, TRAINS, strict=True):
        nwb.add_unit(spike_times=train, electrode_group=group)
    assert read_nwb(write(nwb)).units["group"].tolist() == ["g0", "g1", "g2"]


def test_numbers_as_shanks_become_names(write, nwb_maker):
    nwb = nwb_maker.add_trains(nwb_maker.new(), TRAINS, shank_id=[1, 1, 2], quality=[0.5, 0.25, np.nan])
    units = read_nwb(write(nwb)).units
    assert units["group"].tolist() == ["1", "1", "2"]
    np.testing.assert_array_equal(units["quality"], [0.5, 0.25, np.nan])  # a quality may be a number


def test_scalar_columns_are_kept_and_others_counted(write, nwb_maker):
    nwb = nwb_maker.new()
    nwb.add_unit_column("depth", "um")
    nwb.add_unit_column("note", "text")
    nwb.add_unit_column("good", "bool")
    nwb.add_unit_column("amplitudes", "ragged", index=True)
    nwb.add_unit_column("each", "ragged, many values", index=True)
    nwb.add_unit_column("template", "two dimensions")
    nwb.add_unit_column("map", "two dimensions, many values")
    nwb.add_unit_column("peak", "a number, in brackets")
    nwb.add_unit_column("tags", "texts", index=True)
    for n, train in enumerate(TRAINS):
        nwb.add_unit(
            spike_times=train,
            depth=1.5 * n,
            note=f"n{n}",
            good=n > 0,
            amplitudes=[1.0] * (n + 1),
            each=[0.0] * (1025 if n else 1),
            template=[1.0, n],
            map=np.zeros((33, 33)),
            peak=[n],
            tags=["a", "b"][:n],
        )
    recording = read_nwb(write(nwb))
    assert recording.units["depth"].tolist() == [0.0, 1.5, 3.0]
    assert recording.units["note"].tolist() == ["n0", "n1", "n2"]
    assert recording.units["good"].tolist() == [False, True, True]
    assert recording.units["id"].tolist() == [0, 1, 2]
    assert recording.units["template"].tolist() == [[1.0, 0], [1.0, 1], [1.0, 2]]
    assert recording.units["peak"].tolist() == [0, 1, 2]
    assert recording.units["tags"].tolist() == ["", "a", "a; b"]
    # Lists of numbers are rows of one length, with NaN at their ends; long ones are left out.
    np.testing.assert_array_equal(recording.units["amplitudes"], np.where(np.tri(3), 1.0, np.nan))
    assert {"each", "map"}.isdisjoint(recording.units)
    assert recording.quality == {"unit_columns_left_out": 2.0}


def test_observed_time_is_that_of_the_units(write, nwb_maker):
    spans = [[0.0, 1.4000000000000001], [2.0, 10.0]]
    recording = read_nwb(write(nwb_maker.add_trains(nwb_maker.new(), TRAINS, [spans] * 3)))
    assert recording.domain.start.tolist() == [0.0, 2.0]
    assert recording.domain.end.tolist() == [1.4000000000000001, 10.0]
    assert recording.quality == {}


def test_spikes_outside_observation_are_kept_and_counted(write, nwb_maker):
    recording = read_nwb(write(nwb_maker.add_trains(nwb_maker.new(), TRAINS, [[[0.0, 4.0]]] * 3)))
    assert recording.quality == {"spikes_outside_observation": 1.0}
    assert recording.spikes.train(0).tolist() == TRAINS[0]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([[0.0, 10.0], [1.0, 10.0], [0.0, 9.0]], [1.0, 9.0]),  # common to all: 8 of 10 s
        ([[0.0, 10.0], [9.0, 12.0], [0.0, 12.0]], [0.0, 12.0]),  # only 1 of 12 s is common: the time of any
    ],
)
def test_differing_observed_times(write, nwb_maker, spans, expected):
    recording = read_nwb(write(nwb_maker.add_trains(nwb_maker.new(), TRAINS, [[s] for s in spans])))
    assert [*recording.domain.start, *recording.domain.end] == expected
    assert recording.quality["obs_intervals_differ"] == 2


def test_damaged_observation_intervals_are_dropped_and_counted(write, nwb_maker):
    spans = [[0.0, 10.0], [np.nan, 3.0], [8.0, 7.0]]
    recording = read_nwb(write(nwb_maker.add_trains(nwb_maker.new(), TRAINS, [spans] * 3)))
    assert recording.domain.end.tolist() == [10.0]
    assert recording.quality == {"obs_intervals_dropped": 6.0}


def test_without_observation_intervals_from_first_to_last_spike(write, nwb_maker):
    recording = read_nwb(write(nwb_maker.add_trains(nwb_maker.new(), TRAINS)))
    assert recording.domain.start.tolist() == [0.5]
    assert recording.domain.contains(np.array([0.5, 9.0])).all()
    assert not recording.domain.contains(np.array([9.001])).any()


def test_invalid_times_are_not_observed(write, nwb_maker):
    nwb = nwb_maker.add_trains(nwb_maker.new(), TRAINS, [[[0.0, 10.0]]] * 3)
    nwb.add_invalid_time_interval(start_time=2.0, stop_time=3.0)
    nwb.add_invalid_time_interval(start_time=9.5, stop_time=20.0)
    recording = read_nwb(write(nwb))
    assert recording.domain.start.tolist() == [0.0, 3.0]
    assert recording.domain.end.tolist() == [2.0, 9.5]
    assert recording.quality == {"invalid_seconds": 1.5}
    assert "invalid_times" not in recording.intervals


def test_intervals_that_a_recipe_excludes_are_not_observed(write, nwb_maker, tmp_path):
    (tmp_path / "own.yaml").write_text("observed: {exclude: ['light.*'], margin: 0.5}")
    nwb = nwb_maker.add_trains(nwb_maker.new(), TRAINS, [[[0.0, 10.0]]] * 3)
    pulses = TimeIntervals(name="light_pulses", description="pulses")
    for start in (2.0, 2.25, 9.75):
        pulses.add_interval(start_time=start, stop_time=start + 0.25)
    nwb.create_processing_module("optotagging", "tagging").add(pulses)
    path = write(nwb)
    recording = read_nwb(path, load_recipe(tmp_path / "own.yaml"))
    assert recording.domain.start.tolist() == [0.0, 3.0]
    assert recording.domain.end.tolist() == [1.5, 9.25]
    assert recording.quality == {"excluded_seconds": 2.25}
    assert len(recording.intervals["light_pulses"]) == 3
    assert read_nwb(path).domain.duration == 10.0
    (tmp_path / "all.yaml").write_text("observed: {exclude: ['light.*'], margin: 20}")
    with pytest.raises(SourceError, match=r"observed\.exclude covers all of the observed time \(light_pulses\)"):
        read_nwb(path, load_recipe(tmp_path / "all.yaml"))


def test_custom_recipe(write, nwb_maker, tmp_path):
    (tmp_path / "own.yaml").write_text("units: {cell_type: [klass], drop: [secret]}")
    nwb = nwb_maker.add_trains(
        nwb_maker.new(), TRAINS, klass=["a", "b", "c"], secret=[1, 2, 3], cell_type=["x", "y", "z"]
    )
    units = read_nwb(write(nwb), load_recipe(tmp_path / "own.yaml")).units
    assert units["cell_type"].tolist() == ["a", "b", "c"]
    assert units["source_cell_type"].tolist() == ["x", "y", "z"]
    assert "secret" not in units
