"""Spike times in another unit: detected, reported with the recipe line, and corrected by it; no false alarms."""

import numpy as np
import pytest
from pynwb.ophys import ImageSegmentation, PlaneSegmentation, RoiResponseSeries

from foundation.common.errors import ConfigError, SourceError
from foundation.store import Spikes
from ingest.nwb.read_nwb import read_nwb
from ingest.nwb.spikes.time_units import OtherTimes, suspicion
from ingest.recipe.recipes import load_recipe
from ingest.run.explain import explain

BESIDE = OtherTimes({"trials": 58.0})


def neurons(n_units, rate, seconds, refractory=0.002, seed=0):
    """Trains of random intervals with a refractory period; rates spread about ``rate``."""
    rng = np.random.default_rng(seed)
    trains = []
    for each in rng.lognormal(np.log(rate), 0.7, n_units):
        train = np.cumsum(rng.exponential(1 / each, int(2 * each * seconds) + 20) + refractory)
        trains.append(train[train < seconds])
    return trains


def reported(trains, others=None, resolution=0.0):
    return suspicion(Spikes.from_trains(trains), others or OtherTimes(), resolution)


@pytest.mark.parametrize(
    ("factor", "whole", "name"),
    [
        (1e3, False, "likely milliseconds"),
        (1e3, True, "likely milliseconds"),
        (3e4, True, "likely samples at 30000 Hz"),
        (1e6, True, "likely microseconds"),
        (1e9, True, "likely nanoseconds"),
    ],
)
@pytest.mark.parametrize("others", [BESIDE, OtherTimes(), OtherTimes({}, 60.0)], ids=["trials", "alone", "observed"])
def test_times_in_another_unit_are_found_with_their_factor(factor, whole, name, others):
    trains = [train * factor for train in neurons(20, 5.0, 60.0)]
    why = reported([np.rint(train) for train in trains] if whole else trains, others)
    assert name in why
    assert f"`spike_times: {{scale: {1 / factor!r}}}`" in why


def test_random_times_without_a_refractory_period_are_found():
    rng = np.random.default_rng(0)
    trains = [np.sort(rng.uniform(0, 60_000, 300)) for _ in range(6)]
    assert "likely milliseconds" in reported(trains, BESIDE)
    assert "likely milliseconds" in reported(trains)


def test_samples_at_the_rate_of_the_file_s_voltage():
    trains = [np.rint(train * 25_000) for train in neurons(20, 5.0, 60.0)]
    assert "likely samples at 25000 Hz" in reported(trains, OtherTimes(rates=[25_000.0]))


def test_file_in_milliseconds_is_found_by_whole_numbers():
    trains = [np.rint(train * 1000) for train in neurons(20, 5.0, 60.0)]
    assert "are whole numbers" in reported(trains, OtherTimes({"trials": 58_000.0}))


@pytest.mark.parametrize(("factor", "keys"), [(1.0, "since_1970: true"), (1e3, "scale: 0.001, since_1970: true")])
def test_times_since_1970_are_found(factor, keys):
    trains = [(train + 1.6e9) * factor for train in neurons(5, 5.0, 60.0)]
    assert f"`spike_times: {{{keys}}}`" in reported(trains, BESIDE)
    assert reported(trains, OtherTimes({"trials": (1.6e9 + 58) * factor})) is None or factor > 1


GOOD = {
    "ten units at 0.1 Hz for three hours, a minute of trials": (
        neurons(10, 0.1, 10_800.0),
        OtherTimes({"trials": 60.0}),
    ),
    "ten units at 0.1 Hz for three hours, a stimulus of 5 s": (neurons(10, 0.1, 10_800.0), OtherTimes({"trials": 5.0})),
    "two hours without trials": (neurons(30, 1.0, 7200.0), OtherTimes({"trials": 60.0})),
    "three silent units": (neurons(3, 0.03, 10_800.0), OtherTimes()),
    "twelve hours of sleep": (neurons(10, 0.5, 43_200.0), OtherTimes({"trials": 30.0})),
    "pacemakers": ([np.cumsum(np.random.default_rng(n).normal(1.0, 0.1, 3600)) for n in range(6)], OtherTimes()),
    "regular trains": ([np.arange(0.0, 5000.0, 5.0)] * 6, OtherTimes()),
    "few spikes": ([[0.5, 1.0, 900.0], [2.0], []], OtherTimes({"trials": 1.0})),
    "dense units": (neurons(5, 80.0, 60.0), OtherTimes()),
    "all since 1970": ([train + 1.6e9 for train in neurons(5, 5.0, 60.0)], OtherTimes({"trials": 1.6e9 + 50})),
    "no spikes": ([[], []], BESIDE),
}


@pytest.mark.parametrize("kind", GOOD)
def test_good_times_cause_no_warning(kind):
    assert reported(*GOOD[kind]) is None


@pytest.mark.parametrize("hours", [1, 8])
def test_events_of_slow_imaging(hours):
    trains = [np.floor(train) for train in neurons(50, 0.02, 3600.0 * hours, refractory=2.0)]
    end = 3600.0 * hours - 10
    assert reported(trains, OtherTimes({"trials": end + 0.25})) is None
    assert reported(trains, OtherTimes({"imaging": end}, in_seconds=frozenset({"imaging"}))) is None
    assert (reported(trains) is None) == (hours == 1)


@pytest.mark.parametrize("timing", [{"rate": 1.0}, {"timestamps": np.arange(28_800) + 0.25}], ids=["rate", "stamps"])
def test_imaging_shows_that_events_are_in_seconds(write, nwb_maker, timing):
    trains = [np.floor(train) for train in neurons(5, 0.02, 28_800.0, refractory=2.0)]
    nwb = nwb_maker.add_trains(nwb_maker.new(), trains)
    imaging = nwb_maker.add_imaging_plane(nwb)
    cells = PlaneSegmentation(name="cells", description="cells", imaging_plane=imaging)
    cells.add_roi(image_mask=np.zeros((2, 2)))
    module = nwb.create_processing_module("ophys", "imaging")
    module.add(ImageSegmentation(plane_segmentations=[cells]))
    region = cells.create_roi_table_region(region=[0], description="cells")
    data = np.zeros((28_800, 1), np.float32)
    module.add(RoiResponseSeries(name="dff", data=data, rois=region, unit="dF/F", **timing))
    assert read_nwb(write(nwb), strict=True).quality == {"activity_series_left_out": 1.0}


def test_rare_spikes_in_an_hour_without_other_times():
    assert reported(neurons(8, 0.03, 3600.0)) is None
    rng = np.random.default_rng(0)
    assert reported([np.sort(rng.uniform(0, 3600, 144)) for _ in range(8)]) is None


def test_rare_events_of_imaging_beside_its_behaviour():
    # Events are at least two frames of 1 s apart, and units fire every 50 s.
    trains = [np.floor(train) for train in neurons(50, 0.02, 1800.0, refractory=2.0)]
    assert reported(trains, OtherTimes({"trials": 1790.0})) is None


@pytest.mark.parametrize("end", [58_000.0, 1.6e9 + 58], ids=["milliseconds", "since 1970"])
def test_other_times_in_another_unit_are_named(write, nwb_maker, end, caplog):
    nwb = nwb_maker.add_trains(nwb_maker.new(), neurons(5, 5.0, 60.0))
    for k in range(4):
        nwb.add_trial(start_time=end - 10 + k, stop_time=end - 9 + k)
    path = write(nwb)
    assert read_nwb(path).quality == {"other_times_suspicious": 1.0}
    assert "intervals/trials ends at " in caplog.text
    with pytest.raises(SourceError, match="other_times_suspicious is 1"):
        read_nwb(path, strict=True)


@pytest.fixture
def in_milliseconds(write, nwb_maker):
    def make(**changes):
        trains = [train * 1000 for train in neurons(8, 8.0, 20.0)]
        nwb = nwb_maker.add_trains(nwb_maker.new(**changes), trains, changes.pop("obs", None))
        for k in range(4):
            nwb.add_trial(start_time=5.0 * k, stop_time=5.0 * k + 4.0)
        return write(nwb)

    return make


def test_suspicious_file_is_warned_about_counted_and_explained(in_milliseconds, caplog):
    path = in_milliseconds()
    recording = read_nwb(path)
    assert recording.quality == {"spike_times_suspicious": 1.0}
    assert "`spike_times: {scale: 0.001}`" in caplog.text
    text = str(explain(path))
    assert "spike_times_suspicious 1" in text
    assert "likely milliseconds" in text


def test_strict_refuses_a_suspicious_file(in_milliseconds):
    with pytest.raises(SourceError, match=r"units: spike times .*likely milliseconds .*spike_times: \{scale: 0.001\}"):
        read_nwb(in_milliseconds(), strict=True)


def test_suggested_recipe_line_corrects_the_times(in_milliseconds, tmp_path):
    (tmp_path / "own.yaml").write_text("extends: default\nspike_times: {scale: 0.001}")
    recipe = load_recipe(tmp_path / "own.yaml")
    recording = read_nwb(in_milliseconds(), recipe, strict=True)
    assert recording.domain.end.max() < 20.0
    expected = neurons(8, 8.0, 20.0)[0] * 1000 / 1000
    np.testing.assert_array_equal(recording.spikes.train(0), expected)
    assert recipe.digest != load_recipe("default").digest


def test_recipe_can_disable_the_check(in_milliseconds, tmp_path):
    (tmp_path / "own.yaml").write_text("extends: default\nspike_times: {check: false}")
    assert read_nwb(in_milliseconds(), load_recipe(tmp_path / "own.yaml"), strict=True).quality == {}


@pytest.mark.parametrize(("end", "expected"), [(20_000.0, 20.0), (20.0, 20.0)])
def test_observed_time_uses_the_unit_that_fits_the_spikes(write, nwb_maker, tmp_path, end, expected):
    (tmp_path / "own.yaml").write_text("extends: default\nspike_times: {scale: 0.001}")
    trains = [train * 1000 for train in neurons(3, 8.0, 20.0)]
    path = write(nwb_maker.add_trains(nwb_maker.new(), trains, [[[0.0, end]]] * 3))
    assert read_nwb(path, load_recipe(tmp_path / "own.yaml"), strict=True).domain.end.tolist() == [expected]


def test_times_since_1970_count_from_the_sessions_start(write, nwb_maker, tmp_path):
    start = 1614834367.0  # of the files that `nwb_maker` writes: 2021-03-04T05:06:07 in UTC
    nwb = nwb_maker.add_trains(nwb_maker.new(), [[start + 1.0, start + 2.5], [start + 4.0]])
    nwb.add_trial(start_time=0.0, stop_time=4.0)
    path = write(nwb)
    assert read_nwb(path).quality == {"spike_times_suspicious": 1.0}
    (tmp_path / "own.yaml").write_text("extends: default\nspike_times: {since_1970: true}")
    recording = read_nwb(path, load_recipe(tmp_path / "own.yaml"), strict=True)
    assert recording.spikes.train(0).tolist() == [1.0, 2.5]
    (tmp_path / "offset.yaml").write_text(f"extends: default\nspike_times: {{offset: -{start}}}")
    assert read_nwb(path, load_recipe(tmp_path / "offset.yaml"), strict=True).spikes.train(1).tolist() == [4.0]


@pytest.mark.parametrize("line", ["scale: 0", "scale: -1", "offset: .inf", "scale: fast"])
def test_invalid_rules_are_refused(tmp_path, line):
    (tmp_path / "own.yaml").write_text(f"spike_times: {{{line}}}")
    with pytest.raises(ConfigError, match=r"spike_times\."):
        load_recipe(tmp_path / "own.yaml")
