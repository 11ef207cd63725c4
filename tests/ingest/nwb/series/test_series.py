"""Behaviour: names, time, conversion, and what is left out."""

import h5py
import numpy as np
import pytest
from pynwb import TimeSeries
from pynwb.base import ImageReferences, Images
from pynwb.behavior import (
    BehavioralEvents,
    BehavioralTimeSeries,
    CompassDirection,
    EyeTracking,
    Position,
    PupilTracking,
    SpatialSeries,
)
from pynwb.ecephys import ElectricalSeries
from pynwb.image import GrayscaleImage, ImageSeries, IndexSeries

from foundation.common.errors import SourceError
from foundation.store import IrregularTimeSeries, RegularTimeSeries
from ingest.nwb.read_log import Notes
from ingest.nwb.read_nwb import read_nwb
from ingest.nwb.series.sampled_series import FoundSeries, read_data
from ingest.recipe.recipes import load_recipe

DATA = np.arange(12, dtype=np.float32).reshape(6, 2)
TIMES = np.array([0.0, 0.1, 0.25, 0.5, 1.5, 1.5])


@pytest.fixture
def file_with(write, nwb_maker):
    """Write a file of one unit whose behaviour module holds the given containers."""

    def make(*containers, acquisition=()):
        nwb = nwb_maker.add_trains(nwb_maker.new(), [[0.5, 1.0]])
        if containers:
            module = nwb.create_processing_module("behavior", "behaviour")
            for container in containers:
                module.add(container)
        for container in acquisition:
            nwb.add_acquisition(container)
        return write(nwb)

    return make


def series(name="x", data=DATA, **changes):
    timing = {} if {"rate", "timestamps"} & set(changes) else {"timestamps": TIMES}
    return TimeSeries(name=name, data=data, unit=changes.pop("unit", "m"), **timing, **changes)


def spatial(name="x", **changes):
    return SpatialSeries(name=name, data=DATA, reference_frame="centre", timestamps=TIMES, **changes)


def test_time_stamps_and_samples_are_read_bit_for_bit(file_with):
    recording = read_nwb(file_with(Position(spatial_series=spatial("hand_position", unit="cm"))))
    position = recording.behavior["position"]
    assert isinstance(position, IrregularTimeSeries)
    assert position.timestamps.tolist() == TIMES.tolist()
    assert position.data.dtype == np.float32
    assert position.data.tolist() == DATA.tolist()
    assert position.unit == "cm"
    assert recording.quality == {}


def test_rate_gives_a_regular_series(file_with):
    velocity = read_nwb(file_with(series("hand_velocity", rate=30.0, starting_time=2.5))).behavior["velocity"]
    assert isinstance(velocity, RegularTimeSeries)
    assert (velocity.rate, velocity.start) == (30.0, 2.5)
    assert velocity.timestamps[:2].tolist() == [2.5, 2.5 + 1 / 30]


def test_regular_series_starts_at_zero_by_default(file_with):
    assert read_nwb(file_with(series(rate=30.0))).behavior["x"].start == 0.0


def test_conversion_and_offset_are_applied(file_with):
    got = read_nwb(file_with(series(data=DATA.astype(np.int16), conversion=0.01, offset=-3.0))).behavior["x"]
    np.testing.assert_allclose(got.data, DATA.astype(np.float64) * 0.01 - 3.0, rtol=1e-12)


def test_one_dimension_becomes_a_column_and_missing_samples_stay(file_with):
    got = read_nwb(file_with(series(data=np.array([1.0, np.nan, 3.0, 4.0, 5.0, 6.0])))).behavior["x"]
    assert got.data.shape == (6, 1)
    np.testing.assert_array_equal(got.data[:, 0], [1.0, np.nan, 3.0, 4.0, 5.0, 6.0])


def test_containers_of_any_kind_and_acquisition_are_searched(file_with):
    head = SpatialSeries(name="hd", data=DATA[:, 0], reference_frame="north", timestamps=TIMES)
    path = file_with(
        CompassDirection(spatial_series=head, name="CompassDirection"),
        BehavioralTimeSeries(time_series=series("speed"), name="bts"),
        acquisition=[series("lick")],
    )
    assert set(read_nwb(path).behavior) == {"hd", "speed", "lick"}


def test_two_series_with_one_standard_name_are_both_kept(file_with):
    path = file_with(
        Position(name="P1", spatial_series=spatial("position")),
        Position(name="P2", spatial_series=spatial("position")),
        series("cursor_position"),
    )
    assert set(read_nwb(path).behavior) == {"position", "P2_position", "cursor_position"}


def test_shared_time_stamps_and_data_are_followed(file_with):
    first = series("first")
    got = read_nwb(file_with(first, series("second", data=DATA * 2, timestamps=first))).behavior
    assert got["second"].timestamps.tolist() == TIMES.tolist()


def test_non_behaviour_is_left_out_and_counted(file_with):
    path = file_with(
        series("fast", data=np.zeros(3000), rate=30000.0),
        series("movie", data=np.zeros((6, 2, 2))),
        series("text", data=["a", "b", "c", "d", "e", "f"]),
        series("sync_pulse"),
        series("kept"),
    )
    recording = read_nwb(path)
    assert set(recording.behavior) == {"kept"}
    assert recording.quality == {"series_left_out": 4.0}


def test_falling_time_stamps_are_sorted_and_counted(file_with):
    path = file_with(series(timestamps=np.array([0.0, 2.0, 1.0, 3.0, np.nan, 4.0]), data=np.arange(6.0)))
    recording = read_nwb(path)
    assert recording.behavior["x"].timestamps.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert recording.behavior["x"].data[:, 0].tolist() == [0.0, 2.0, 1.0, 3.0, 5.0]
    assert recording.quality == {"samples_dropped": 1.0, "series_sorted": 1.0}


@pytest.mark.parametrize("times", [[0.0, 2.0, 1.0, 3.0, 4.0, 5.0], [0.0, 1.0, 2.0, 3.0, np.nan, 5.0]])
def test_strict_refuses_bad_time_stamps(file_with, times):
    path = file_with(series(timestamps=np.array(times)))
    with pytest.raises(SourceError, match=r"processing/behavior/x has .*time stamps"):
        read_nwb(path, strict=True)


def shorten(path, name):
    """Remove two values from a dataset; pynwb itself refuses to write such a file."""
    with h5py.File(path, "r+") as file:
        values, attributes = file[name][:-2], dict(file[name].attrs)
        del file[name]
        file[name] = values
        file[name].attrs.update(attributes)


def test_time_stamps_of_another_length_leave_the_series_out(file_with):
    path = file_with(series())
    shorten(path, "processing/behavior/x/timestamps")
    recording = read_nwb(path)
    assert recording.behavior == {}
    assert recording.quality == {"parts_left_out": 1.0}
    with pytest.raises(SourceError, match="parts_left_out is 1"):
        read_nwb(path, strict=True)


def test_every_container_of_behaviour(file_with):
    path = file_with(
        EyeTracking(spatial_series=spatial("eye", unit="degrees")),
        PupilTracking(time_series=series("pupil_area", unit="mm^2")),
        BehavioralEvents(time_series=series("licks", data=np.ones(6))),
        BehavioralTimeSeries(time_series=[series("whisking"), series("running_speed", unit="cm/s")]),
        CompassDirection(spatial_series=spatial("head_direction", unit="radians")),
    )
    behavior = read_nwb(path).behavior
    assert {name: one.unit for name, one in behavior.items()} == {
        "eye": "degrees",
        "pupil_area": "mm^2",
        "licks": "m",
        "whisking": "m",
        "speed": "cm/s",
        "head_direction": "radians",
    }
    assert all(one.timestamps.tolist() == TIMES.tolist() for one in behavior.values())


def test_presented_stimuli_are_series_too(write, nwb_maker):
    nwb = nwb_maker.add_trains(nwb_maker.new(), [[0.5, 1.0]])
    nwb.add_stimulus(series("contrast"))
    frames = Images(name="frames", images=[GrayscaleImage(name=f"f{k}", data=np.zeros((2, 2))) for k in range(3)])
    frames.order_of_images = ImageReferences("order_of_images", list(frames.images.values()))
    nwb.add_stimulus_template(frames)
    index = np.array([2, 0, 1], np.uint32)
    shown = IndexSeries(name="shown", data=index, indexed_images=frames, rate=2.0, unit="N/A")
    nwb.add_stimulus(shown)
    behavior = read_nwb(write(nwb)).behavior
    assert behavior["contrast"].data.tolist() == DATA.tolist()
    assert behavior["shown"].data[:, 0].tolist() == [2, 0, 1]
    assert behavior["shown"].rate == 2.0


def test_frames_in_other_files_are_never_opened(write, nwb_maker):
    nwb = nwb_maker.add_trains(nwb_maker.new(), [[0.5, 1.0]])
    video = ImageSeries(
        name="camera", external_file=["/etc/passwd"], format="external", unit="n.a.", timestamps=[0.0, 1.0]
    )
    nwb.add_acquisition(video)
    notes = Notes()
    recording = read_nwb(write(nwb), notes=notes)
    assert recording.behavior == {}
    assert recording.quality == {"series_left_out": 1.0}
    assert notes.left[-1].text == "images in other files, which are never opened"


def test_numbers_in_the_units_that_the_file_states(file_with):
    """Against pynwb's own conversion, sample by sample."""
    given = series("wheel", data=np.arange(-6, 6, dtype=np.int16).reshape(6, 2), conversion=2.5e-3, offset=0.125)
    path = file_with(given)
    np.testing.assert_array_equal(read_nwb(path).behavior["wheel"].data, given.get_data_in_units())


def test_channels_with_their_own_conversion(nwb_maker):
    nwb = nwb_maker.new()
    group = nwb.create_electrode_group("g", "g", "CA1", nwb.create_device("probe"))
    for _ in range(2):
        nwb.add_electrode(location="CA1", group=group)
    given = ElectricalSeries(
        name="emg", data=np.arange(6, dtype=np.int16).reshape(3, 2), rate=10.0, conversion=0.5, offset=1.0,
        channel_conversion=[1.0, 4.0], electrodes=nwb.create_electrode_table_region([0, 1], "all"),
    )  # fmt: skip
    np.testing.assert_array_equal(
        read_data(FoundSeries("acquisition/emg", given)), [[1.0, 3.0], [2.0, 7.0], [3.0, 11.0]]
    )


def test_names_that_would_leave_the_store(write, nwb_maker):
    nwb = nwb_maker.add_trains(nwb_maker.new(), [[0.5, 1.0]])
    nwb.add_acquisition(series("wheel"))
    path = write(nwb)
    with h5py.File(path, "r+") as file:
        file.move("acquisition/wheel", "acquisition/..\\..\\evil")
    assert list(read_nwb(path).behavior) == [".._.._evil"]


def test_numbers_that_stand_for_a_missing_sample(file_with, tmp_path):
    (tmp_path / "r.yaml").write_text("extends: default\nbehavior: {missing: {'.*LED': ['-1', '-2.5']}}")
    data = np.array([[0, -1], [-1, -1], [2, 3], [4, 5], [6, 7], [8, 9]], dtype=np.int16)
    given = series("RedLED", data=data, conversion=0.5)
    path = file_with(given, series("other", data=data))
    behavior = read_nwb(path, load_recipe(tmp_path / "r.yaml")).behavior
    expected = np.where(data == -1, np.nan, data * 0.5)
    np.testing.assert_array_equal(behavior["RedLED"].data, expected)
    assert behavior["other"].data.tolist() == data.tolist()
