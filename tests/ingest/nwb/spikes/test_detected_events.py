"""Threshold crossings and detected events are not voltage; a recipe can read them as spikes."""

import numpy as np
import pytest
from pynwb.ecephys import ElectricalSeries, EventDetection, SpikeEventSeries

from foundation.common.errors import SourceError
from ingest.nwb.read_nwb import NeedsSorting, read_nwb
from ingest.recipe.recipes import load_recipe
from ingest.run.explain import explain


@pytest.fixture
def rig(nwb_maker):
    """A file with six electrodes, three in CA1 and three in CA3; creates regions of them."""
    nwb = nwb_maker.new()
    device = nwb.create_device("probe")
    for place in ("CA1", "CA3"):
        group = nwb.create_electrode_group(f"tetrode {place}", "g", place, device)
        for _ in range(3):
            nwb.add_electrode(location=place, group=group)
    return nwb, lambda rows: nwb.create_electrode_table_region(rows, "some")


def crossings(region, name="crossings", times=(1.0, 2.5, 4.0), channels=3):
    waveforms = np.zeros((len(times), channels, 8))
    return SpikeEventSeries(name=name, data=waveforms, timestamps=list(times), electrodes=region)


def detection(nwb, region, indices, samples=1):
    """Detected events of a voltage that is only partly in the file."""
    voltage = ElectricalSeries(name="raw", data=np.zeros((samples, 6)), electrodes=region, rate=30000.0)
    nwb.add_acquisition(voltage)
    indices = np.array(indices)
    times = indices.reshape(len(indices), -1)[:, 0] / 30000.0
    module = nwb.create_processing_module("ecephys", "e")
    module.add(EventDetection("threshold", voltage, source_idx=indices, times=times, name="detected"))


def recipe_with(tmp_path, events):
    (tmp_path / "recipe.yaml").write_text(f"extends: default\nunits: {{events: ['{events}']}}\n", encoding="utf-8")
    return load_recipe(tmp_path / "recipe.yaml")


def test_threshold_crossings_are_named_with_the_recipe_line(write, rig):
    nwb, region = rig
    nwb.add_acquisition(crossings(region([0, 1, 2])))
    path = write(nwb)
    found = read_nwb(path)
    assert isinstance(found, NeedsSorting)
    assert found.channels == 0
    message = "acquisition/crossings: 3 threshold crossings, which are not sorted into units: `units: {events: "
    assert str(found).startswith(message)
    assert explain(path).result.startswith(f"no voltage and no units: {message}")
    assert explain(path).ok


def test_threshold_crossings_as_spikes(write, rig, tmp_path):
    nwb, region = rig
    nwb.add_acquisition(crossings(region([0, 1, 2]), "first"))
    nwb.add_acquisition(crossings(region([3, 4, 5]), "second", times=(3.0, 0.5)))
    recording = read_nwb(write(nwb), recipe_with(tmp_path, "acquisition/.*"))
    assert [recording.spikes.train(k).tolist() for k in range(2)] == [[1.0, 2.5, 4.0], [0.5, 3.0]]
    assert recording.units["location"].tolist() == ["CA1", "CA3"]
    assert recording.units["group"].tolist() == ["tetrode CA1", "tetrode CA3"]
    assert recording.units["events"].tolist() == ["acquisition/first", "acquisition/second"]
    assert recording.units["quality"].tolist() == ["unsorted", "unsorted"]
    assert recording.quality == {"units_sorted": 1.0}
    assert (recording.domain.start[0], recording.domain.end[0]) == (0.5, pytest.approx(4.0))


def test_detected_events_of_a_missing_voltage(write, rig, tmp_path):
    nwb, region = rig
    detection(nwb, region([0, 1, 2, 3, 4, 5]), [[30000, 4], [60000, 1], [90000, 4]])
    path = write(nwb)
    found = read_nwb(path)
    assert str(found).startswith("processing/ecephys/detected: 3 detected events, which are not sorted into units")
    recording = read_nwb(path, recipe_with(tmp_path, "detected"))
    assert recording.units["channel"].tolist() == [1, 4]
    assert recording.units["location"].tolist() == ["CA1", "CA3"]
    assert [recording.spikes.train(k).tolist() for k in range(2)] == [[2.0], [1.0, 3.0]]


def test_detected_events_beside_their_voltage(write, rig):
    nwb, region = rig
    detection(nwb, region([0, 1, 2, 3, 4, 5]), [10, 20, 40], samples=60)
    found = read_nwb(write(nwb))
    assert (found.channels, found.rate, found.duration) == (6, 30000.0, 0.002)
    assert "6 channels at 30000 Hz for 0.0 s; processing/ecephys/detected: 3 detected events" in str(found)


def test_detected_events_beside_units_are_left_out(write, rig, nwb_maker, tmp_path):
    nwb, region = rig
    nwb.add_acquisition(crossings(region([0, 1, 2])))
    path = write(nwb_maker.add_trains(nwb, [[0.5, 1.0]]))
    found = explain(path, recipe_with(tmp_path, "crossings"))
    left = {note.path: note.text for note in found.left}
    assert left["acquisition/crossings"].startswith("3 threshold crossings, which are not sorted into units")
    assert found.quality == {"series_left_out": 1.0}
    assert read_nwb(path).spikes.times.tolist() == [0.5, 1.0]


def test_events_without_times_are_refused(write, rig, tmp_path):
    nwb, region = rig
    nwb.add_acquisition(crossings(region([0, 1, 2]), times=(np.nan, np.inf)))
    with pytest.raises(SourceError, match="acquisition/crossings has no event with a time"):
        read_nwb(write(nwb), recipe_with(tmp_path, "crossings"))
