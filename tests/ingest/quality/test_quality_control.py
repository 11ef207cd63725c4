"""Rules of quality control: which units they drop, and the reported reasons."""

import json

import numpy as np
import pytest

from foundation.common.errors import ConfigError
from foundation.store import (
    Interval,
    IrregularTimeSeries,
    RegularTimeSeries,
    Spikes,
    Store,
    StoredRecording,
    Units,
    write_recording,
)
from ingest.nwb.read_nwb import read_nwb
from ingest.quality.quality_control import assess, remarks, why_not
from ingest.quality.recording_filters import KeepRules
from ingest.recipe.recipe_rules import ControlRules
from ingest.recipe.recipes import load_recipe


@pytest.fixture
def recording(make_recording):
    """Four units in 100 s: 1 Hz and good; 0.05 Hz; 1 Hz with violations, noise; 1 Hz without a label."""
    regular = np.arange(100) + 0.5
    bursts = np.sort(np.concatenate([regular[:50], regular[:50] + 0.001]))
    trains = [regular, [1.0, 2.0, 3.0, 4.0, 99.0], bursts, regular + 0.1]
    columns = {
        "id": np.array([10, 11, 12, 13]),
        "quality": np.array(["good", "good", "noise", ""]),
        "snr": np.array([5.0, np.nan, 1.0, 4.0]),
        "qc_rate": np.array([9.0, 9.0, 9.0, 9.0]),
    }
    return make_recording(
        0,
        spikes=Spikes.from_trains(trains),
        units=Units(4, columns),
        domain=Interval.single(0.0, 100.0),
        quality={"units_sorted": 1.0},
    )


def test_without_rules_every_unit_is_kept_and_measured(recording):
    found = assess(recording, ControlRules())
    assert found.n_units == 4
    assert found.spikes is recording.spikes
    assert found.units["qc_rate"].tolist() == [1.0, 0.05, 1.0, 1.0]
    assert found.units["source_qc_rate"].tolist() == [9.0] * 4  # the file's own
    np.testing.assert_array_equal(found.units["qc_snr"], recording.units["snr"])
    assert "qc_amplitude_cutoff" not in found.units
    assert found.units["qc_isi_violations"].tolist() == [0.0, 0.0, 50 / 99, 0.0]
    assert found.quality == {"units_sorted": 1.0}
    assert found.control["dropped"] == []
    assert (found.control["units_in_file"], found.control["units_kept"]) == (4, 4)


def test_each_dropped_unit_is_named_with_rule_value_and_limit(recording):
    found = assess(recording, ControlRules(min_rate=0.1, max_isi_violations=0.1, min_snr=2.0, quality=["good"]))
    assert found.units["id"].tolist() == [10]
    assert found.spikes.times.tolist() == recording.spikes.train(0).tolist()
    assert found.control["dropped"] == [
        {"unit": 1, "id": 11, "rule": "least_rate", "value": 0.05, "limit": 0.1},
        {"unit": 2, "id": 12, "rule": "least_snr", "value": 1.0, "limit": 2.0},
        {"unit": 2, "id": 12, "rule": "most_isi_violations", "value": 0.505051, "limit": 0.1},
        {"unit": 2, "id": 12, "rule": "quality", "value": "noise", "limit": "good"},
        {"unit": 3, "id": 13, "rule": "quality", "value": "", "limit": "good"},
    ]
    assert found.control["unknown"] == {"least_snr": 1}  # unit 11's is not known: it would have stayed
    assert found.quality == {
        "units_sorted": 1.0,
        "units_dropped": 3.0,
        "units_dropped_least_rate": 1.0,
        "units_dropped_least_snr": 1.0,
        "units_dropped_most_isi_violations": 1.0,
        "units_dropped_quality": 2.0,
    }


def test_right_trains_are_kept(recording):
    found = assess(recording, ControlRules(quality=["noise", ""]))
    assert found.units["id"].tolist() == [12, 13]
    for n, original in enumerate((2, 3)):
        assert found.spikes.train(n).tolist() == recording.spikes.train(original).tolist()


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        ({"min_presence": 0.5}, [10, 11, 12, 13]),
        ({"min_presence": 0.5, "presence_bin": 10.0}, [10, 12, 13]),
        ({"max_contamination": 0.5}, [10, 11, 13]),
        ({"min_rate": 1.0}, [10, 12, 13]),  # the limit itself is allowed
        ({"quality": ["go+d", ""]}, [10, 11, 13]),
    ],
)
def test_rules_one_by_one(recording, rules, left):
    assert assess(recording, ControlRules(**rules)).units["id"].tolist() == left


def test_rule_without_a_figure_is_reported_as_not_applied(recording):
    found = assess(recording, ControlRules(max_amplitude_cutoff=0.1))
    assert found.n_units == 4
    assert found.control["not_applied"] == {"most_amplitude_cutoff": "amplitude_cutoff is not known of any unit"}
    unlabelled = assess(
        found.__class__(**{**vars(recording), "units": Units(4)}), ControlRules(quality=["good"], min_snr=3.0)
    )
    assert unlabelled.n_units == 4
    assert set(unlabelled.control["not_applied"]) == {"quality", "least_snr"}


def test_units_of_sampled_activity_are_dropped_with_their_column(make_recording):
    data = np.array([[1, 0, 2]] * 100, dtype=np.uint8)
    recording = make_recording(
        0, spikes=None, units=Units(3), activity=RegularTimeSeries(data, rate=1.0), domain=Interval.single(0, 100)
    )
    found = assess(recording, ControlRules(min_rate=0.5))
    assert found.activity.data.tolist() == [[1, 2]] * 100
    assert found.activity.data.dtype == np.uint8
    assert found.control["dropped"][0]["unit"] == 1


def test_problems_of_the_session_are_reported(make_recording):
    times = np.concatenate([np.arange(0, 20, 0.01), np.arange(50, 60, 0.01)])
    train = np.sort(np.concatenate([times, [5.0, 5.0, 5.5]]))
    recording = make_recording(
        0,
        spikes=Spikes.from_trains([train] + [times] * 4),
        units=Units(5),
        domain=Interval([0.0, 70.0], [60.0, 80.0]),
        behavior={"position": IrregularTimeSeries(times, times[:, None])},
    )
    found = assess(recording, ControlRules(silence=9.0))
    assert found.control["gaps"]["spans"] == [[60.0, 70.0]]
    assert found.control["silences"]["spans"] == [[19.99, 50.0], [70.0, 80.0]]
    assert found.control["clock_jumps"]["position"]["spans"] == [[19.99, 50.0]]
    assert found.control["counts"] == {
        "units_dropped": 0,
        "duplicate_spikes": 3,
        "gaps": 1,
        "silences": 2,
        "clock_jumps": 1,
    }
    assert found.quality == {}  # nothing was changed
    assert remarks(found) == "duplicate_spikes 3, silences 2, clock_jumps 1"


def test_silence_of_few_units_is_not_reported(recording):
    found = assess(recording, ControlRules(silence=0.1))
    assert found.control["silences"] is None
    assert found.control["counts"]["silences"] == 0


def test_remarks_name_changes_and_unapplied_rules(recording):
    assert remarks(recording) == "units_sorted 1"
    found = assess(recording, ControlRules(min_rate=0.1, max_amplitude_cutoff=0.5))
    expected = "units_sorted 1, units_dropped 1, units_dropped_least_rate 1, most_amplitude_cutoff not applied"
    assert remarks(found) == expected


def test_control_is_plain_json_and_round_trips(tmp_path, recording):
    found = assess(recording, ControlRules(min_rate=0.1, min_snr=2.0, max_amplitude_cutoff=0.5))
    assert json.loads(json.dumps(found.control, allow_nan=False)) == found.control
    store = Store(tmp_path / "store", create=True)
    back = StoredRecording(store, write_recording(store, found)).load()
    assert back.control == found.control
    np.testing.assert_array_equal(back.units["qc_snr"], found.units["qc_snr"])


def test_recording_without_units_is_left_out(recording):
    found = assess(recording, ControlRules(min_rate=50.0))
    assert found.n_units == found.n_spikes == 0
    assert why_not(found, KeepRules()) == "0 units, min_units is 1 (quality control dropped 4)"


def test_recordings_to_keep(make_recording):
    recording = make_recording(0, intervals={"trials": Interval([0.0], [1.0], {"direction": np.array([0.5])})})
    assert why_not(recording, KeepRules(min_units=12, min_duration=60.0, labels=["cell_type", "trials"])) == ""
    assert why_not(recording, KeepRules(labels=["trials.direction"])) == ""
    message = why_not(recording, KeepRules(min_units=13, min_duration=60.5, labels=["cell_type", "position"]))
    assert message == (
        "12 units, min_units is 13; 60 s observed, min_duration is 60.5 s; "
        "no position, it has cell_type, trials.direction"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_presence": 1.5}, "control.min_presence is 1.5: expected 0 to 1"),
        ({"min_rate": -1.0}, "control.min_rate is -1.0: expected a finite number from 0"),
        ({"min_snr": float("nan")}, "control.min_snr is nan: expected a finite number"),
        ({"refractory": 0.0}, "control.refractory is 0.0: expected a finite number above 0"),
    ],
)
def test_invalid_rules_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ControlRules(**settings)
    with pytest.raises(ConfigError, match=r"keep\.min_units is 0: expected at least 1"):
        KeepRules(min_units=0)


def test_the_shipped_recipe_has_the_defaults():
    assert load_recipe("default").control == ControlRules()


def test_recipe_drops_units_of_a_file(tmp_path, write, nwb_maker):
    path = write(nwb_maker.add_trains(nwb_maker.new(), [[1.0, 2.0, 9.0], [5.0]], quality=["good", "mua"]))
    assert read_nwb(path).units["qc_rate"].tolist() == pytest.approx([3 / 8, 1 / 8], rel=1e-6)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("units: {quality: [quality]}\ncontrol: {quality: [good], min_rate: 1e-1}\n")
    kept = read_nwb(path, load_recipe(recipe))
    assert kept.units["quality"].tolist() == ["good"]
    assert kept.quality["units_dropped"] == 1.0
    assert load_recipe(recipe).digest != load_recipe("default").digest
