"""Each shipped recipe on a small file with the publicly described layout of its dandiset."""

import numpy as np
import pytest
from pynwb import TimeSeries
from pynwb.behavior import (
    BehavioralEpochs,
    BehavioralEvents,
    BehavioralTimeSeries,
    Position,
    PupilTracking,
    SpatialSeries,
)
from pynwb.epoch import TimeIntervals
from pynwb.file import Subject
from pynwb.misc import AnnotationSeries, IntervalSeries

from foundation.common.settings.resources import config_names
from ingest.nwb.read_nwb import read_nwb
from ingest.recipe.recipes import load_recipe, recipe_for

TIMES = np.arange(20) / 10
TRAINS = [[0.1, 0.5, 1.5], [0.2, 1.9], [0.7]]
SPANS = [[[0.0, 1.0], [1.2, 2.0]]] * 3


def spatial(name, columns=2, unit="mm"):
    data = np.arange(20.0 * columns).reshape(20, columns)
    return SpatialSeries(name=name, data=data, timestamps=TIMES, reference_frame="?", unit=unit)


def sampled(name, columns=2, unit="mm/s", **changes):
    timing = {"timestamps": TIMES} | changes
    return TimeSeries(name=name, data=np.arange(20.0 * columns).reshape(20, columns), unit=unit, **timing)


def animal(species):
    return Subject(subject_id="a1", species=species)


def module(nwb, name, *contents):
    made = nwb.create_processing_module(name, name)
    for content in contents:
        made.add(content)


def intervals(name, rows, **columns):
    table = TimeIntervals(name=name, description=name)
    for column in columns:
        table.add_column(column, column)
    for k, (start, stop) in enumerate(rows):
        table.add_interval(start_time=start, stop_time=stop, **{c: values[k] for c, values in columns.items()})
    return table


def trials(nwb, ragged=(), **columns):
    for name in columns:
        nwb.add_trial_column(name, name, index=name in ragged)
    for k in range(2):
        nwb.add_trial(start_time=float(k), stop_time=k + 0.9, **{name: values[k] for name, values in columns.items()})


def arrays(nwb, names, locations, **columns):
    """A group of one electrode for each location, on the device of the same place in ``names``."""
    for column in columns:
        nwb.add_electrode_column(column, column)
    for k, location in enumerate(locations):
        name = names[k]
        device = nwb.devices[name] if name in nwb.devices else nwb.create_device(name)
        group = f"group_{name}"
        made = nwb.electrode_groups[group] if group in nwb.electrode_groups else nwb.create_electrode_group(
            group, "electrodes", location, device
        )  # fmt: skip
        extra = {column: values[k] for column, values in columns.items()}
        nwb.add_electrode(location=location, group=made, x=float(k), y=0.0, z=0.0, **extra)


def units(nwb, ragged=(), **columns):
    """Three units; columns hold a value for each."""
    standard = {"spike_times", "electrodes", "electrode_group", "obs_intervals", "waveform_mean", "waveforms"}
    for name in columns:
        if name not in standard:
            nwb.add_unit_column(name, name, index=name in ragged)
    for n, train in enumerate(TRAINS):
        nwb.add_unit(spike_times=train, **{name: values[n] for name, values in columns.items()})


def perich_miller(nwb):
    arrays(nwb, ["electrode_array_M1", "electrode_array_PMd"], ["M1", "PMd"])
    units(nwb, electrodes=[[0], [1], [0]])
    trials(nwb, result=["R", "A"], target_dir=[0.0, np.pi / 2], go_cue_time=[0.2, 1.2], target_corners=[[0] * 4] * 2)
    module(
        nwb,
        "behavior",
        Position(spatial_series=spatial("cursor_pos", unit="cm")),
        BehavioralTimeSeries(name="Velocity", time_series=sampled("cursor_vel", unit="cm/s")),
        BehavioralTimeSeries(name="Acceleration", time_series=sampled("cursor_acc", unit="cm/s^2")),
    )


def mc_maze(nwb):
    arrays(nwb, ["electrode_array_M1", "electrode_array_PMd"], ["M1", "PMd"])
    units(nwb, electrodes=[[0], [1], [0]], obs_intervals=SPANS, heldout=[False, True, False])
    trials(
        nwb, ["target_pos"], target_pos=[[[1, 2]], [[3, 4], [5, 6]]], move_onset_time=[0.4, 1.4], split=["train", "val"]
    )
    module(nwb, "behavior", spatial("hand_pos"), spatial("cursor_pos"), spatial("eye_pos"), sampled("hand_vel"))


def mc_rtt(nwb):
    arrays(nwb, ["electrode_array"], ["M1"])
    units(nwb, electrodes=[[0], [0], [0]], obs_intervals=SPANS, heldout=[False, True, False])
    trials(nwb, split=["train", "val"])
    module(
        nwb, "behavior", spatial("finger_pos", 3), spatial("cursor_pos"), spatial("target_pos"), sampled("finger_vel")
    )


def steinmetz(nwb):
    arrays(nwb, ["0", "1"], ["VISp", "CA1"], ccf_ap=[1.0, 2.0])
    groups = [nwb.electrode_groups[f"group_{k}"] for k in (0, 1, 0)]
    amplitudes = [[[1.0]] * len(train) for train in TRAINS]
    units(
        nwb, ["spike_amps"], electrode_group=groups, electrodes=[[0], [1], [0, 1, 0]], phy_annotations=[2, 3, 1],
        cluster_depths=[[100.0], [200.0], [300.0]], spike_amps=amplitudes, waveform_mean=[np.zeros((82, 50))] * 3,
    )  # fmt: skip
    trials(nwb, response_choice=[-1.0, 1.0], visual_stimulus_left_contrast=[0.5, 0.0], included=[True, False])
    nwb.add_time_intervals(intervals("spontaneous", [(0.0, 1.0)]))
    nwb.add_acquisition(sampled("wheel_position", 1, rate=2500.0, timestamps=None))
    nwb.add_acquisition(sampled("lickPiezo", 1, rate=2500.0, timestamps=None))
    marks = IntervalSeries(name="wheel_moves", timestamps=[0.1, 0.4], data=np.array([1, -1], np.int8))
    module(
        nwb,
        "behavior",
        BehavioralEpochs(interval_series=marks),
        BehavioralEvents(time_series=sampled("lick_times", 1)),
        BehavioralTimeSeries(time_series=sampled("face_motion_energy", 1)),
        PupilTracking(time_series=[sampled("eye_area", 1), sampled("eye_xy_positions")]),
    )
    nwb.add_stimulus(sampled("passive_beeps", 1))


def ibl(nwb):
    arrays(
        nwb, ["probe00", "probe01"], ["VISp5", "CA1"], ibl_x=[-1.0, -2.0], beryl_location=["VISp", "CA1"],
        cosmos_location=["Isocortex", "HPF"],
    )  # fmt: skip
    units(
        nwb, electrodes=[[0, 1], [1, 0], [1]], max_electrode=[0, 1, 1], probe_name=["probe00", "probe01", "probe01"],
        ibl_quality_score=[1.0, 0.67, 0.0], kilosort2_label=["good", "mua", "noise"],
    )  # fmt: skip
    trials(nwb, mouse_wheel_choice=["left", "right"], probability_left=[0.5, 0.2], is_mouse_rewarded=[True, False])
    module(nwb, "wheel", sampled("WheelPosition", 1), sampled("WheelVelocity", 1), sampled("WheelPositionFiltered", 1))


def visual_coding(nwb):
    arrays(nwb, ["probeA", "probeB"], ["VISp", "grey"], probe_vertical_position=[40, 20])
    units(nwb, peak_channel_id=[0, 1, 0], quality=["good", "noise", "good"], snr=[1.0, 2.0, 3.0])
    shown = intervals("flashes_presentations", [(0.5, 0.75), (1.0, 1.25)], contrast=[0.8, 0.8], phase=["", "0"])
    nwb.add_time_intervals(shown)
    nwb.add_invalid_time_interval(start_time=0.9, stop_time=1.0)
    nwb.add_acquisition(sampled("running_wheel_signal_voltage", 1))
    module(nwb, "running", sampled("running_speed", 1, unit="cm/s"))


def sleep_states():
    return intervals("states", [(0.0, 1.0), (1.0, 2.0)], label=["Awake", "NREM"])


def grosmark(nwb):
    units(
        nwb, cell_type=["excitatory", "inhibitory", "excitatory"], location=["lCA1", "rCA1", "rCA1"], shank_id=[0, 1, 1]
    )
    nwb.add_epoch_column("label", "Name of epoch.")
    nwb.add_epoch(0.0, 2.0, label="PRE", tags=[])
    maze = "1.6mLinearMaze"
    module(
        nwb,
        "behavior",
        Position(name=f"{maze}Position", spatial_series=spatial(f"{maze}SpatialSeries")),
        Position(name=f"{maze}LinearizedPosition", spatial_series=spatial(f"{maze}LinearizedTimeSeries", 1)),
        sleep_states(),
    )


def peyrache(nwb):
    units(nwb)
    nwb.add_acquisition(spatial("RedLED"))
    module(nwb, "behavior", Position(name="SubjectPosition", spatial_series=spatial("RedLED")), sleep_states())
    nwb.add_stimulus(AnnotationSeries(name="rip", data=["a"], timestamps=[0.5]))


def senzai(nwb):
    units(nwb, cell_type=["granule cell", "mossy cell", "unknown"], shank_id=[0, 1, 1], global_id=[1, 2, 3])
    nwb.add_acquisition(spatial("position_sensor0"))
    place = Position(name="EightMazePosition", spatial_series=spatial("EightMaze_position"))
    module(nwb, "behavior", place, sleep_states())
    nwb.add_stimulus(AnnotationSeries(name="Ripple", data=["a"], timestamps=[0.5]))


def zheng(nwb):
    arrays(nwb, ["NLX-microwires-177", "NLX-microwires-178"], ["Left_hippocampus", "Right_amygdala"])
    units(nwb, electrodes=[[0], [1], [1]])
    nwb.add_time_intervals(intervals("encoding_table", [(0.0, 0.5), (1.0, 1.5)], stimCategory=[1, 3]))
    nwb.add_time_intervals(intervals("recognition_table", [(1.6, 1.8)], confidence=[3]))
    nwb.add_acquisition(sampled("events", 1))


FILES = {
    "000688": (perich_miller, "Macaca mulatta"),
    "000128": (mc_maze, "Macaca mulatta"),
    "000138": (mc_maze, "Macaca mulatta"),
    "000139": (mc_maze, "Macaca mulatta"),
    "000140": (mc_maze, "Macaca mulatta"),
    "000129": (mc_rtt, "Macaca mulatta"),
    "000017": (steinmetz, ""),
    "000409": (ibl, "Mus musculus"),
    "000021": (visual_coding, "Mus musculus"),
    "000044": (grosmark, "Rattus norvegicus"),
    "000056": (peyrache, "Mus musculus"),
    "000003": (senzai, "Mus musculus"),
    "000207": (zheng, "Homo sapiens"),
}


@pytest.fixture
def read(write, nwb_maker):
    """Read the file of a dandiset by its recipe."""

    def make(dandiset):
        fill, species = FILES[dandiset]
        nwb = nwb_maker.new(subject=animal(species or None))
        fill(nwb)
        recording = read_nwb(write(nwb), load_recipe(recipe_for(dandiset)))
        assert [train.tolist() for train in map(recording.spikes.train, range(3))] == TRAINS
        return recording

    return make


def test_every_dandiset_has_its_recipe():
    shipped = [load_recipe(name) for name in config_names("recipes")]
    assert sorted(dandiset for recipe in shipped for dandiset in recipe.dandisets) == sorted(FILES)
    # None of them has met its real files yet.
    assert not any(recipe.verified for recipe in shipped)


def texts(recording, name):
    return recording.units[name].tolist()


def test_perich_miller(read):
    recording = read("000688")
    assert texts(recording, "location") == ["M1", "PMd", "M1"]
    assert texts(recording, "probe") == ["electrode_array_M1", "electrode_array_PMd", "electrode_array_M1"]
    assert {name: one.unit for name, one in recording.behavior.items()} == {
        "position": "cm",
        "velocity": "cm/s",
        "acceleration": "cm/s^2",
    }
    columns = recording.intervals["trials"].columns
    assert columns["direction"].tolist() == [0.0, np.pi / 2]
    assert columns["target_corners"].shape == (2, 4)
    assert columns["result"].tolist() == ["R", "A"]


@pytest.mark.parametrize("dandiset", ["000128", "000138", "000139", "000140"])
def test_mc_maze(read, dandiset):
    recording = read(dandiset)
    assert recording.domain.start.tolist() == [0.0, 1.2]
    assert texts(recording, "heldout") == [False, True, False]
    assert set(recording.behavior) == {"position", "velocity", "cursor_position", "eye_position"}
    assert recording.behavior["position"].unit == "mm"
    assert recording.intervals["trials"].columns["split"].tolist() == ["train", "val"]
    assert recording.intervals["trials"].columns["target_pos"].ndim == 3  # targets of each trial, NaN at the end
    assert recording.quality == {}


def test_mc_rtt(read):
    recording = read("000129")
    assert set(recording.behavior) == {"position", "velocity", "cursor_position", "target_position"}
    assert recording.behavior["position"].data.shape == (20, 3)
    assert texts(recording, "location") == ["M1"] * 3
    assert "direction" not in recording.intervals["trials"].columns


def test_steinmetz(read):
    recording = read("000017")
    assert texts(recording, "region") == ["VISp", "CA1", "VISp"]
    assert texts(recording, "group") == ["group_0", "group_1", "group_0"]
    assert texts(recording, "quality") == [2, 3, 1]
    assert texts(recording, "cluster_depths") == [100.0, 200.0, 300.0]
    np.testing.assert_allclose(recording.units["ccf_ap"], [1.0, 2.0, 4 / 3])
    assert set(recording.behavior) == {
        "wheel_position", "licks", "face_motion_energy", "pupil_area", "eye_position", "passive_beeps",
    }  # fmt: skip
    assert recording.behavior["wheel_position"].rate == 2500.0
    assert set(recording.intervals) == {"trials", "spontaneous", "wheel_moves"}
    assert recording.quality == {"series_left_out": 1.0, "unit_columns_left_out": 1.0}


def test_ibl(read):
    recording = read("000409")
    assert texts(recording, "location") == ["VISp5", "CA1", "CA1"]
    assert texts(recording, "region") == ["VISp", "CA1", "CA1"]
    assert texts(recording, "probe") == ["probe00", "probe01", "probe01"]
    assert texts(recording, "quality") == ["good", "mua", "noise"]
    assert texts(recording, "ibl_quality_score") == [1.0, 0.67, 0.0]
    assert texts(recording, "cosmos_location") == ["Isocortex", "HPF", "HPF"]
    assert texts(recording, "ibl_x") == [-1.0, -2.0, -2.0]
    assert set(recording.behavior) == {"wheel_position", "wheel_velocity"}
    assert recording.intervals["trials"].columns["mouse_wheel_choice"].tolist() == ["left", "right"]


def test_visual_coding(read):
    recording = read("000021")
    assert texts(recording, "location") == ["VISp", "grey", "VISp"]
    assert texts(recording, "region_id") == [385, 8, 385]
    assert texts(recording, "probe") == ["probeA", "probeB", "probeA"]
    assert texts(recording, "quality") == ["good", "noise", "good"]
    assert texts(recording, "probe_vertical_position") == [40.0, 20.0, 40.0]
    assert set(recording.behavior) == {"speed"}
    assert recording.intervals["flashes_presentations"].columns["phase"].tolist() == ["", "0"]
    assert recording.quality["invalid_seconds"] == pytest.approx(0.1)


def test_grosmark(read):
    recording = read("000044")
    assert texts(recording, "cell_type") == ["excitatory", "inhibitory", "excitatory"]
    assert texts(recording, "location") == ["lCA1", "rCA1", "rCA1"]
    assert texts(recording, "group") == ["0", "1", "1"]
    assert {name: one.data.shape[1] for name, one in recording.behavior.items()} == {
        "position": 2,
        "linear_position": 1,
    }
    assert recording.intervals["states"].columns["state"].tolist() == ["wake", "nrem"]
    assert recording.intervals["epochs"].columns["label"].tolist() == ["PRE"]


def test_peyrache(read):
    recording = read("000056")
    assert set(recording.behavior) == {"RedLED", "SubjectPosition_RedLED"}
    assert recording.intervals["states"].columns["state"].tolist() == ["wake", "nrem"]
    assert recording.intervals["rip"].start.tolist() == [0.5]
    assert "location" not in recording.units


def test_senzai(read):
    recording = read("000003")
    assert texts(recording, "cell_type") == ["granule cell", "mossy cell", ""]
    assert set(recording.behavior) == {"position", "position_sensor0"}
    assert set(recording.intervals) == {"states", "Ripple"}


def test_zheng(read):
    recording = read("000207")
    assert texts(recording, "location") == ["Left_hippocampus", "Right_amygdala", "Right_amygdala"]
    assert recording.intervals["trials"].columns["stimCategory"].tolist() == [1, 3]
    assert set(recording.intervals) == {"trials", "recognition_table"}
    assert set(recording.behavior) == {"events"}
    assert "region" not in recording.units
