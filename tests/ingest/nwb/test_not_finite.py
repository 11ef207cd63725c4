"""Numbers that are infinite or too large for float32, anywhere in a file: missing, counted, refused by strict."""

import h5py
import numpy as np
import pytest
from pynwb import TimeSeries
from pynwb.epoch import TimeIntervals
from pynwb.misc import AnnotationSeries

from foundation.common.errors import SourceError
from ingest.nwb.read_nwb import read_nwb
from ingest.run.explain import explain

ABSURD = [np.inf, -np.inf, 1e300]


def with_activity(nwb, data, **changes):
    """Add dF/F to a file; the series samples at 10 Hz unless it has time stamps."""
    timing = {} if "timestamps" in changes else {"rate": 10.0}
    nwb.create_processing_module("ophys", "o").add(TimeSeries(name="dff", data=data, unit="dF/F", **timing, **changes))
    return nwb


def dff(n_samples=50, n_units=4):
    return np.random.default_rng(0).normal(size=(n_samples, n_units))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("absurd", ABSURD)
def test_absurd_sample_of_activity_is_missing(write, nwb_maker, absurd, dtype):
    data = dff().astype(dtype)
    with np.errstate(over="ignore"):
        data[3, 2] = absurd
    path = write(with_activity(nwb_maker.new(), data))
    recording = read_nwb(path)
    expected = np.where(np.arange(4) == 2, np.nan, data[3])
    np.testing.assert_array_equal(recording.activity.data[3], expected)
    assert recording.activity.data.dtype == dtype
    assert recording.quality == {"values_not_finite": 1.0}
    found = explain(path)
    assert found.quality == recording.quality
    assert "50 samples of 4 units at 10 Hz, 1 not finite: missing" in str(found)
    with pytest.raises(SourceError, match="values_not_finite is 1: expected 0 with strict"):
        read_nwb(path, strict=True)


def test_nan_alone_is_not_counted(write, nwb_maker):
    data = dff()
    data[3, 2] = np.nan
    assert read_nwb(write(with_activity(nwb_maker.new(), data)), strict=True).quality == {}


def test_conversion_that_overflows_gives_missing_samples(write, nwb_maker):
    data = np.array([[1, 2], [4, 3], [0, 5]], dtype=np.int16)
    recording = read_nwb(write(with_activity(nwb_maker.new(), data, conversion=1e38)))
    np.testing.assert_array_equal(recording.activity.data, [[1e38, 2e38], [np.nan, 3e38], [0.0, np.nan]])
    assert recording.quality == {"values_not_finite": 2.0}


def test_sample_without_a_time_is_dropped_and_leaves_a_gap(write, nwb_maker):
    data, times = dff(20), np.arange(20.0) / 10
    times[[4, 19]] = np.nan, np.inf
    recording = read_nwb(write(with_activity(nwb_maker.new(), data, timestamps=times)))
    assert recording.activity.data.shape == (19, 4)
    assert np.isnan(recording.activity.data[4]).all()
    np.testing.assert_array_equal(recording.activity.data[5:], data[5:19])
    assert recording.quality == {"samples_dropped": 2.0, "samples_missing": 1.0}


def test_activity_without_any_number(write, nwb_maker):
    with pytest.raises(SourceError, match=r"dff holds no number: each of its 200 samples is missing or not finite"):
        read_nwb(write(with_activity(nwb_maker.new(), np.full((50, 4), np.nan))))


@pytest.fixture
def spiking(nwb_maker):
    """A file of two units with labels and behaviour, changed by each test."""

    def make(**columns):
        return nwb_maker.add_trains(nwb_maker.new(), [[0.5, 9.0], [1.0, 8.0]], [[[0.0, 10.0]]] * 2, **columns)

    return make


@pytest.mark.parametrize("absurd", ABSURD)
def test_behaviour_with_absurd_samples_and_times(write, spiking, absurd):
    nwb = spiking()
    speed, place = np.arange(5.0), np.arange(5.0)
    speed[1], times = absurd, np.array([0.0, 1.0, absurd, 3.0, 4.0])
    nwb.add_acquisition(TimeSeries(name="speed", data=speed, unit="m/s", rate=10.0))
    nwb.add_acquisition(TimeSeries(name="place", data=place, unit="m", timestamps=times))
    recording = read_nwb(write(nwb))
    np.testing.assert_array_equal(recording.behavior["speed"].data[:, 0], [0, np.nan, 2, 3, 4])
    assert recording.behavior["place"].timestamps.tolist() == [0.0, 1.0, 3.0, 4.0]
    assert recording.quality == {"values_not_finite": 1.0, "samples_dropped": 1.0}


@pytest.mark.parametrize("absurd", ABSURD)
def test_columns_of_units_and_of_intervals(write, spiking, absurd):
    nwb = spiking(depth=[absurd, 2.0], shape=[[1.0, absurd], [2.0, 3.0]])
    nwb.add_trial_column("contrast", "c")
    nwb.add_trial(start_time=1.0, stop_time=2.0, contrast=absurd)
    nwb.add_trial(start_time=3.0, stop_time=4.0, contrast=0.5)
    path = write(nwb)
    recording = read_nwb(path)
    np.testing.assert_array_equal(recording.units["depth"], [np.nan, 2.0])
    np.testing.assert_array_equal(recording.units["shape"], [[1.0, np.nan], [2.0, 3.0]])
    np.testing.assert_array_equal(recording.intervals["trials"].columns["contrast"], [np.nan, 0.5])
    assert recording.quality == {"values_not_finite": 3.0}
    lines = [note.text for note in explain(path).taken if note.path == "intervals/trials/contrast"]
    assert lines == ["1 of its values are not finite: missing"]


def test_intervals_with_absurd_times(write, spiking):
    nwb = spiking()
    for start, stop in [(1.0, np.inf), (np.inf, 5.0), (6.0, 1e300)]:
        nwb.add_trial(start_time=start, stop_time=stop)
    events = TimeIntervals(name="events", description="e")
    events.add_interval(start_time=1.0, stop_time=-np.inf)
    nwb.add_time_intervals(events)
    nwb.add_stimulus(AnnotationSeries(name="ripple", data=["a", "b"], timestamps=[3.0, 1e300]))
    recording = read_nwb(write(nwb))
    trials = recording.intervals["trials"]
    assert (trials.start.tolist(), trials.end.tolist()) == ([1.0, 6.0], [6.0, 10.0])
    assert recording.intervals["events"].end.tolist() == [10.0]
    assert recording.intervals["ripple"].start.tolist() == [3.0]
    lost = {"values_not_finite": 4.0, "intervals_dropped": 2.0, "interval_stops_inferred": 3.0}
    assert recording.quality == lost


def test_invalid_times_without_an_end(write, spiking):
    nwb = spiking()
    nwb.add_invalid_time_interval(start_time=7.0, stop_time=np.inf)
    recording = read_nwb(write(nwb))
    assert recording.domain.end.tolist() == [7.0]
    assert recording.quality == {"invalid_seconds": 3.0, "values_not_finite": 1.0}


@pytest.mark.parametrize("absurd", ABSURD)
def test_spikes_and_observed_time(write, nwb_maker, absurd):
    nwb = nwb_maker.add_trains(
        nwb_maker.new(), [[1.0, 2.0, absurd], [3.0]], [[[0.0, 10.0], [20.0, absurd]], [[5.0, 5.0]]]
    )
    recording = read_nwb(write(nwb))
    assert sorted(recording.spikes.times.tolist()) == [1.0, 2.0, 3.0]
    assert recording.domain.end.tolist() == [10.0]
    assert recording.quality == {"spikes_dropped_out_of_range": 1.0, "obs_intervals_dropped": 2.0}


@pytest.mark.parametrize(
    "change", [{"rate": np.nan}, {"rate": 1e300}, {"rate": 1e-300}, {"rate": 10.0, "start": 1e300}]
)
def test_invalid_rates(write, nwb_maker, spiking, change):
    def written(nwb, name):
        path = write(nwb, f"{name}.nwb")
        with h5py.File(path, "r+") as file:
            start = file[f"acquisition/{name}/starting_time"]
            start.attrs["rate"], start[()] = change["rate"], change.get("start", 0.0)
        return path

    activity = nwb_maker.new()
    activity.add_acquisition(TimeSeries(name="dff", data=dff(), unit="dF/F", rate=10.0))
    with pytest.raises(SourceError, match="dff has neither time stamps nor a rate above 0 Hz"):
        read_nwb(written(activity, "dff"))
    nwb = spiking()
    nwb.add_acquisition(TimeSeries(name="speed", data=np.arange(5.0), unit="m/s", rate=10.0))
    path = written(nwb, "speed")
    recording = read_nwb(path)
    assert recording.behavior == {}
    # A rate above the recipe's highest is a raw signal, whatever it is.
    counter = "series_left_out" if change["rate"] == 1e300 else "rates_impossible"
    assert recording.quality == {counter: 1.0}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"conversion": 0.0}, "conversion 0: expected a finite number other than 0"),
        ({"conversion": np.nan}, "conversion nan: expected a finite number other than 0"),
        ({"conversion": np.inf}, "conversion inf: expected a finite number other than 0"),
        ({"offset": np.nan}, "offset nan: expected a finite number"),
    ],
)
def test_invalid_conversions(write, nwb_maker, spiking, change, why):
    with pytest.raises(SourceError, match=f"dff has an invalid {why}"):
        read_nwb(write(with_activity(nwb_maker.new(), dff(), **change), "activity.nwb"))
    nwb = spiking()
    nwb.add_acquisition(TimeSeries(name="speed", data=np.arange(5.0), unit="m/s", rate=10.0, **change))
    path = write(nwb)
    found = explain(path)
    assert [note.text for note in found.left] == [why]
    assert found.quality == {"conversions_impossible": 1.0}
    with pytest.raises(SourceError, match="conversions_impossible is 1"):
        read_nwb(path, strict=True)
