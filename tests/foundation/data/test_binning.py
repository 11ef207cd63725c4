import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.data import ActivityReader
from foundation.data.binning import rebin
from foundation.store import (
    Interval,
    Recording,
    RegularTimeSeries,
    Source,
    Spikes,
    Store,
    StoredRecording,
    Subject,
    Units,
    write_recording,
)


def stored(tmp_path, **parts) -> StoredRecording:
    store = Store(tmp_path / "store", create=True)
    base = {"source": Source("x.nwb", "x"), "subject": Subject("m"), "session": "s"}
    return StoredRecording(store, write_recording(store, Recording(**(base | parts))))


def test_bins_hold_what_a_plain_loop_counts(tmp_path):
    rng = np.random.default_rng(1)
    # On a 1 ms grid, so that spikes fall on borders of bins: each belongs to the bin that it opens.
    ticks = [np.sort(rng.integers(0, 60_000, n)) for n in (0, 50, 4000, 90_000)]
    reader = ActivityReader(
        stored(
            tmp_path,
            units=Units(4),
            domain=Interval.single(0, 60),
            spikes=Spikes.from_trains([t / 1000 for t in ticks]),
        )
    )
    for start, n_bins, width in [(0, 50, 10), (12_345, 7, 3), (29_990, 40, 25), (59_000, 100, 20), (-500, 60, 10)]:
        expected = np.zeros((4, n_bins))
        for unit, train in enumerate(ticks):
            for tick in train:
                if start <= tick < start + n_bins * width:
                    expected[unit, (tick - start) // width] += 1
        found = reader.window(start / 1000, n_bins, width / 1000)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(
            reader.window(start / 1000, n_bins, width / 1000, np.array([2, 0])), expected[[2, 0]]
        )


def test_bins_of_a_tenth_of_a_second_do_not_drift(tmp_path):
    # 0.1 * k is not k / 10 in floating point; a spike in the middle of each bin must stay there.
    times = np.arange(36_000) / 10 + 0.05
    recording = stored(tmp_path, units=Units(1), domain=Interval.single(0, 3600), spikes=Spikes.from_trains([times]))
    assert (ActivityReader(recording).window(0.0, 36_000, 0.1) == 1).all()


def test_samples_are_spread_and_merged_without_loss(tmp_path):
    counts = np.random.default_rng(0).poisson(3.0, (40, 2)).astype(float)
    reader = ActivityReader(
        stored(tmp_path, units=Units(2), domain=Interval.single(0, 160), activity=RegularTimeSeries(counts, 0.25))
    )
    np.testing.assert_array_equal(reader.window(0.0, 40, 4.0), counts.T)
    np.testing.assert_allclose(reader.window(8.0, 8, 1.0)[0], np.repeat(counts[2:4, 0], 4) / 4, rtol=1e-6)
    np.testing.assert_allclose(reader.window(8.0, 2, 8.0)[1], counts[2:6, 1].reshape(2, 2).sum(1), rtol=1e-6)


@given(st.floats(-3, 12), st.floats(0.05, 5.0), st.integers(1, 30))
def test_rebinning_conserves_counts(position, samples_per_bin, n_bins):
    data = np.arange(1.0, 11.0)[:, None]
    out = rebin(data, position, samples_per_bin, n_bins, mean=False)
    low, high = np.clip([position, position + n_bins * samples_per_bin], 0, 10)
    exact = sum((k + 1) * max(0.0, min(high, k + 1) - max(low, k)) for k in range(10))
    assert out.sum() == pytest.approx(exact, abs=1e-6)
