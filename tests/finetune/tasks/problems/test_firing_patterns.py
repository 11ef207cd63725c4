"""Measures of spike trains with known statistics: regular, bursting, random, and with gaps in observed time."""

import numpy as np
import pytest

from finetune.tasks.problems import autocorrelograms as module
from finetune.tasks.problems.autocorrelograms import DECILES, LAGS, autocorrelograms, lag_edges, local_rate
from finetune.tasks.problems.firing_patterns import GROUPS, burst_statistics, firing_patterns
from foundation.store import Interval

SECONDS = 400.0


@pytest.fixture(scope="module")
def random_times():
    return np.sort(np.random.default_rng(0).uniform(0, SECONDS, 8000))


def counted(times, end_S):
    """Return the pairs at each lag and the observed time there, by brute force."""
    lag_SS = times[None] - times[:, None]
    inside = end_S[None] == end_S[:, None]
    return np.histogram(lag_SS[inside & (lag_SS > 0)], lag_edges())[0]


def test_random_spikes_have_a_flat_autocorrelogram_in_every_decile(random_times):
    all_L, by_decile_DL = autocorrelograms(random_times, np.full(8000, SECONDS))
    late = lag_edges()[:-1] > 0.2  # longer than the window of the local rate
    np.testing.assert_allclose(all_L[late], 1.0, atol=0.05)
    np.testing.assert_allclose(by_decile_DL[:, late], 1.0, atol=0.15)


def test_lags_cover_all_pairs(random_times, monkeypatch):
    monkeypatch.setattr(module, "gaussian_filter1d", lambda x, *_, **__: x)
    times = random_times[:1500]
    end_S = np.where(times < 30.0, 30.0, SECONDS)  # two observed intervals
    all_L, _ = autocorrelograms(times, end_S)
    counts = counted(times, end_S)
    edges = lag_edges()
    seconds = (np.minimum((end_S - times)[:, None], edges[1:]) - edges[:-1]).clip(min=0).sum(axis=0)
    np.testing.assert_allclose(all_L, counts / seconds / (counts.sum() / seconds.sum()))


def test_spikes_are_sorted_by_the_rate_around_them():
    slow, fast = np.arange(0.0, 50.0, 0.1), np.arange(50.0, 60.0, 0.01)
    times = np.concatenate([slow, fast])
    rate_S = local_rate(times)
    assert rate_S[250] == pytest.approx(10.0)
    assert rate_S[1000] == pytest.approx(100.0)
    _, by_decile_DL = autocorrelograms(times, np.full(len(times), 60.0))
    assert lag_edges()[by_decile_DL[0].argmax()] == pytest.approx(0.1, rel=0.2)
    assert lag_edges()[by_decile_DL[-1].argmax()] < 0.02


def test_many_spikes_are_subsampled_evenly(random_times, monkeypatch):
    full, _ = autocorrelograms(random_times, np.full(8000, SECONDS))
    monkeypatch.setattr(module, "MAX_REFERENCES", 4000)
    some, _ = autocorrelograms(random_times, np.full(8000, SECONDS))
    np.testing.assert_allclose(some[15:], full[15:], rtol=0.1)


def test_bursts_and_refractoriness_are_measured():
    bursts = np.add.outer(np.arange(0.0, SECONDS, 0.5), 0.004 * np.arange(4)).ravel()
    domain = Interval.single(0.0, SECONDS)
    found = firing_patterns(bursts, domain)[13:25]
    assert found[:3].tolist() == pytest.approx([0.0, 0.0, 0.75], abs=0.01)
    assert found[3:5].tolist() == pytest.approx([1.0, 4.0], abs=0.01)
    assert found[6] > 0.9
    assert np.exp(found[7]) == pytest.approx(0.004, rel=0.5)
    random = firing_patterns(np.sort(np.random.default_rng(1).uniform(0, SECONDS, 4000)), domain)[13:25]
    assert random[6] < 0.5
    assert abs(random[9]) < 0.1  # successive intervals are independent


def test_intervals_over_unobserved_time_are_not_counted():
    times = np.concatenate([np.arange(0.0, 10.0, 0.07), np.arange(20.0, 30.0, 0.07)])
    gap = firing_patterns(times, Interval(np.array([0.0, 20.0]), np.array([10.0, 30.0])))
    one = firing_patterns(np.arange(0.0, 20.0, 0.07), Interval.single(0.0, 20.0))
    np.testing.assert_allclose(gap[25 : 25 + 40 + 144], one[25 : 25 + 40 + 144], atol=1e-9)


@pytest.mark.parametrize("times", [[], [1.0], [1.0, 2.0], [1.0, 1.0, 1.0, 1.0]])
def test_unit_with_few_spikes_has_finite_statistics(times):
    found = firing_patterns(np.array(times), Interval.single(0.0, 10.0))
    assert len(found) == sum(GROUPS.values())
    assert np.isfinite(found).all()


def test_spike_train_without_intervals_has_no_bursts():
    assert not burst_statistics(np.empty(0), np.empty(0, bool), np.zeros(LAGS)).any()
    assert not autocorrelograms(np.arange(5.0), np.full(5, 9.0))[1].any()
    assert DECILES == 10
