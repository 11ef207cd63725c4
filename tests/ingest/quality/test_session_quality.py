"""Gaps, silences and clock jumps in recordings with known ones."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.store import Interval, IrregularTimeSeries, RegularTimeSeries, Spikes
from ingest.quality.session_quality import LISTED, clock_jumps, gaps, silences, spans


def test_gaps_lie_between_observed_intervals():
    domain = Interval([50.0, 0.0, 5.0], [60.0, 5.0, 10.0])
    found = gaps(domain)
    assert (found.start.tolist(), found.end.tolist()) == ([10.0], [50.0])
    assert len(gaps(Interval.single(0, 1))) == len(gaps(Interval([], []))) == 0


def test_only_the_longest_are_listed_but_all_are_counted():
    lengths = np.arange(1, 101) / 100
    found = spans(Interval(np.arange(100.0), np.arange(100.0) + lengths))
    assert (found["count"], found["longest"], len(found["spans"])) == (100, 1.0, LISTED)
    assert found["seconds"] == round(lengths.sum(), 6)
    assert found["spans"][0] == [80.0, 80.81]
    assert spans(Interval([], [])) == {"count": 0, "seconds": 0.0, "longest": 0.0, "spans": []}


def poisson(rate, spans_, seed=0):
    rng = np.random.default_rng(seed)
    return np.sort(np.concatenate([rng.uniform(a, b, rng.poisson(rate * (b - a))) for a, b in spans_]))


def test_dropout_of_all_units_is_found_exactly():
    parts = [(0.0, 300.0), (340.0, 600.0)]
    spikes = Spikes.from_trains([poisson(5, parts, n) for n in range(10)])
    found = silences(spikes, Interval.single(0, 600), least=10.0)
    assert found.start.tolist() == [spikes.times[spikes.times < 320].max()]
    assert found.end.tolist() == [spikes.times[spikes.times > 320].min()]
    assert len(silences(spikes, Interval([0, 340], [300, 600]), least=10.0)) == 0  # that time was not observed
    assert len(silences(spikes, Interval.single(0, 600), least=60.0)) == 0


def test_silence_at_the_ends_counts_and_a_quiet_unit_is_not_silent():
    assert len(silences(Spikes.from_trains([poisson(0.05, [(0, 3600)])]), Interval.single(0, 3600), 10.0)) == 0
    late = Spikes.from_trains([poisson(20, [(100, 200)])])
    found = silences(late, Interval.single(0, 300), 10.0)
    assert (found.start[0], found.end[-1], len(found)) == (0.0, 300.0, 2)
    assert len(silences(Spikes.from_trains([[]]), Interval.single(0, 10), 1.0)) == 0


@settings(deadline=None)  # the first call compiles, and machines are shared
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=80), st.floats(1.0, 90.0))
def test_silences_are_the_long_steps_between_sorted_spikes(ticks, least):
    times = np.sort(np.array(ticks) / 8)
    found = silences(Spikes.from_trains([times]), Interval.single(0, 125.5), least)
    limit = max(least, 50 * 125.5 / len(times))
    edges = np.concatenate([[0.0], times, [125.5]])
    expected = [(a, b) for a, b in pairwise(edges) if b - a > limit]
    assert list(zip(found.start, found.end, strict=True)) == expected


def series(*parts):
    times = np.concatenate([np.asarray(p, float) for p in parts])
    return IrregularTimeSeries(times, np.zeros((len(times), 1)))


def test_jump_of_a_regular_clock_is_found():
    jumped = series(np.arange(0, 100, 1 / 60), np.arange(130, 200, 1 / 60))
    found = clock_jumps(jumped, Interval.single(0, 200), least=1.0)
    assert (round(found.start[0], 2), found.end.tolist()) == (99.98, [130.0])
    assert len(clock_jumps(jumped, Interval([0, 120], [100, 200]), least=15.0)) == 0  # only 10 s of it were observed
    assert len(clock_jumps(jumped, Interval.single(0, 200), least=60.0)) == 0


def test_jitter_events_and_rates_have_no_jumps():
    rng = np.random.default_rng(0)
    steady = np.arange(0, 100, 1 / 60) + rng.uniform(-0.002, 0.002, 6000)
    assert len(clock_jumps(series(np.sort(steady)), Interval.single(0, 100), 1.0)) == 0
    licks = np.sort(rng.uniform(0, 600, 400))
    assert len(clock_jumps(series(licks), Interval.single(0, 600), 1.0)) == 0
    assert len(clock_jumps(RegularTimeSeries(np.zeros(9), rate=0.01), Interval.single(0, 900), 1.0)) == 0
