"""Figures of units against hand-computed ones, a slow second implementation, and known contamination."""

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.store import Interval, Recording, RegularTimeSeries, Source, Spikes, Subject, Units
from ingest.quality.unit_quality import train_figures, unit_figures


def figures(trains, domain, **settings):
    return train_figures(Spikes.from_trains([np.array(t, float) for t in trains]), domain, **settings)


def test_by_hand():
    # 240 s of observed time in two parts are four bins of 60 s: the third is the second part's first minute.
    domain = Interval([0.0, 1000.0], [120.0, 1120.0])
    trains = [
        [10.0, 10.001, 70.0, 1000.0, 1000.0, 1119.0],  # every bin; one duplicate; one interval of 1 ms
        [500.0, 1060.0, 1119.9],  # the first is not observed; the others are both in the last minute
        [],
        [119.9995, 1000.0],  # the gap between is no interval
        [10.0, 10.0015, 10.0030],  # 1.5 ms is no violation, though the float is a little less
    ]
    found = figures(trains, domain)
    np.testing.assert_allclose(found.rate, np.array([6, 2, 0, 2, 3]) / 240)
    np.testing.assert_allclose(found.presence_ratio, [1.0, 0.25, 0.0, 0.5, 0.25])
    # 10-10.001, 10.001-70, 1000-1119 are intervals inside a part
    np.testing.assert_allclose(found.isi_violations, [1 / 3, 0.0, np.nan, np.nan, 0.0])
    assert found.duplicates.tolist() == [1, 0, 0, 0, 0]
    # One pair where 5 spikes at random would give 25 * 0.0015 / 240: more than contamination can explain.
    assert found.contamination[0] == 1.0
    assert found.contamination[4] == 0.0


def test_contamination_by_hand():
    # 1,000 spikes 0.1 s apart and 10 more, each 1 ms after another: v T / (N^2 r) = 10 * 100 / (1010^2 * 0.0015).
    train = np.sort(np.concatenate([np.arange(1000) * 0.1, np.arange(10) * 5.0 + 0.001]))
    found = figures([train], Interval.single(0.0, 100.0))
    assert found.isi_violations[0] == pytest.approx(10 / 1009)
    assert found.contamination[0] == pytest.approx(1 - np.sqrt(1 - 1000 / (1010**2 * 0.0015)))


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2])
def test_contamination_of_a_contaminated_neuron_is_estimated(share):
    rng = np.random.default_rng(0)
    seconds, rate = 3600.0, 10.0
    own = np.cumsum(0.003 + rng.exponential(1 / rate, int(seconds * rate)))
    own = own[own < seconds]
    foreign = rng.uniform(0, seconds, int(len(own) * share / (1 - share)))
    found = figures([np.sort(np.concatenate([own, foreign]))], Interval.single(0, seconds))
    assert found.contamination[0] == pytest.approx(share, abs=0.03)
    assert (found.isi_violations[0] > 0) == (share > 0)


def slowly(train, domain, presence_bin, refractory):
    """The same figures with Python's loops over whole lists."""
    observed = domain.union()
    n_bins = max(1, int(observed.duration // presence_bin))
    parts = [[t for t in train if s <= t < e] for s, e in zip(observed.start, observed.end, strict=True)]
    n = sum(map(len, parts))
    distinct = [sorted(set(p)) for p in parts]
    isi = [b - a for p in distinct for a, b in pairwise(p)]
    near = refractory - 1e-9
    pairs = sum(b - a < near for p in distinct for i, a in enumerate(p) for b in p[i + 1 :])
    before, bins = 0.0, set()
    for part, s, e in zip(parts, observed.start, observed.end, strict=True):
        bins |= {min(int((before + t - s) / (observed.duration / n_bins)), n_bins - 1) for t in part}
        before += e - s
    m = sum(map(len, distinct))
    rest = 1 - pairs * observed.duration / (m**2 * refractory) if m > 1 else np.nan
    contamination = 1 - np.sqrt(max(rest, 0.0)) if m > 1 else np.nan
    violations = sum(i < near for i in isi) / len(isi) if isi else np.nan
    return n / observed.duration, len(bins) / n_bins, violations, contamination, n - m


# Times in quarters of a second are exact in floats.
times = st.lists(st.integers(0, 400), max_size=60).map(lambda t: sorted(x / 4 for x in t))
domains = st.lists(st.tuples(st.integers(0, 90), st.integers(1, 30)), min_size=1, max_size=4)


@settings(deadline=None)  # the first call compiles, and machines are shared
@given(st.lists(times, min_size=1, max_size=4), domains, st.sampled_from([5.0, 20.0]), st.sampled_from([0.5, 1.6]))
def test_metrics_equal_the_slow_implementation(trains, spans, presence_bin, refractory):
    domain = Interval(np.array([s for s, _ in spans], float), np.array([s + d for s, d in spans], float))
    found = figures(trains, domain, presence_bin=presence_bin, refractory=refractory)
    expected = [slowly(train, domain, presence_bin, refractory) for train in trains]
    columns = (found.rate, found.presence_ratio, found.isi_violations, found.contamination, found.duplicates)
    np.testing.assert_allclose(np.array(columns), np.array(expected).T, rtol=1e-9, atol=1e-12)


def test_unit_lost_halfway_is_present_half_the_time():
    rng = np.random.default_rng(1)
    found = figures([np.sort(rng.uniform(0, 1800, 9000))], Interval.single(0, 3600))
    assert found.presence_ratio[0] == 0.5


def test_metrics_below_the_resolution_are_unknown():
    found = figures([[1.0, 1.0005]], Interval.single(0, 10), resolution=0.1)
    assert np.isnan(found.isi_violations[0])
    assert np.isnan(found.contamination[0])
    assert found.rate[0] == 0.2


def test_no_observed_time_gives_no_figures():
    found = figures([[1.0]], Interval(np.empty(0), np.empty(0)))
    assert np.isnan([found.rate[0], found.presence_ratio[0], found.isi_violations[0]]).all()


def recording_of(data, kind, rate=0.1):
    series = RegularTimeSeries(data, rate=rate)
    return Recording(
        Source("a", "a"),
        Subject("m"),
        "s",
        Units(data.shape[1]),
        series.domain,
        activity=series,
        activity_kind=kind,
    )


def test_sampled_counts_by_hand():
    counts = np.zeros((12, 3))  # samples of 10 s: two bins of a minute
    counts[0, 0] = 6
    counts[:, 1] = 1
    counts[6:, 2] = np.nan  # not observed in the second minute
    counts[3, 2] = 3
    found = unit_figures(recording_of(counts, "counts"), presence_bin=60.0, refractory=0.0015)
    np.testing.assert_allclose(found.rate, [6 / 120, 12 / 120, 3 / 60])
    np.testing.assert_allclose(found.presence_ratio, [0.5, 1.0, 1.0])
    assert np.isnan(found.isi_violations).all()


def test_sampled_values_have_no_metrics():
    found = unit_figures(recording_of(np.ones((12, 2)), "values"), presence_bin=60.0, refractory=0.0015)
    assert np.isnan(found.rate).all()
    assert np.isnan(found.presence_ratio).all()


def test_ten_million_spikes_of_a_thousand_units_take_seconds():
    rng = np.random.default_rng(0)
    spikes = Spikes(np.sort(rng.uniform(0, 3600, (1000, 10_000)), axis=1).reshape(-1), np.arange(1001) * 10_000)
    figures([[1.0]], Interval.single(0, 10))  # compiled
    began = time.process_time()
    found = train_figures(spikes, Interval.single(0, 3600))
    assert time.process_time() - began < 5.0  # 0.1 s on a quiet machine
    np.testing.assert_allclose(found.rate, 10_000 / 3600)


def test_train_of_equal_times_is_not_slow():
    began = time.process_time()
    found = figures([np.full(2_000_000, 5.0), 5 + np.arange(2_000_000) * 1e-10], Interval.single(0, 10))
    assert time.process_time() - began < 5.0
    assert found.duplicates[0] == 1_999_999
    assert found.contamination[1] == 1.0
