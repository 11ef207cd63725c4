"""The Bayesian place decoder: its equations against brute force, simulated place cells, and a rat on a track."""

from itertools import pairwise, product

import numpy as np
import pytest
from scipy.stats import poisson

from finetune.heads.references.place_decoder import (
    CAUSAL,
    MEMORYLESS,
    SMOOTHED,
    PlaceField,
    decode_place,
    fit_place_fields,
    walked,
)
from foundation.evaluation.splits import TooLittleError

TAU = 0.25
TRAIN, TEST = np.arange(1000), np.arange(1010, 1400)


@pytest.fixture(scope="module")
def runner():
    """Return 1,400 bins of an animal running up and down a 100 cm track, and the counts of 15 place cells."""
    rng = np.random.default_rng(0)
    place_S = 100 * np.abs((np.cumsum(rng.uniform(0.0, 0.03, 1400))) % 2.0 - 1.0)
    rate_SN = 1.0 + 14.0 * np.exp(-((place_S[:, None] - np.linspace(0, 100, 15)) ** 2) / (2 * 8.0**2))
    return rng.poisson(rate_SN * TAU), place_S[:, None], np.arange(1400) * TAU


def small_fields():
    rng = np.random.default_rng(1)
    prior_C = np.array([0.5, 0.2, 0.3])
    return PlaceField(np.array([[0.0], [1.0], [2.0]]), prior_C, rng.uniform(1.0, 8.0, (4, 3)))


def test_posterior_is_that_of_independent_poisson_counts():
    fields, counts_SN = small_fields(), np.array([[0, 3, 1, 2], [4, 0, 0, 1]])
    ours_SC = fields.log_posterior(counts_SN, TAU)
    theirs_SC = poisson.logpmf(counts_SN[:, :, None], TAU * fields.rate_NC).sum(axis=1) + np.log(fields.prior_C)
    difference_SC = ours_SC - theirs_SC
    np.testing.assert_allclose(difference_SC, difference_SC[:, :1].repeat(3, axis=1), atol=1e-12)


@pytest.mark.parametrize("continuity", [CAUSAL, SMOOTHED])
def test_walk_is_the_sum_over_all_paths(continuity):
    fields, counts_SN, walk = small_fields(), np.array([[0, 3, 1, 2], [4, 0, 0, 1], [1, 1, 2, 0], [0, 0, 5, 1]]), 0.7
    step_CC = np.exp(-((fields.centre_CK - fields.centre_CK.T) ** 2) / (2 * walk**2))
    step_CC = 0.999 * step_CC / step_CC.sum(axis=1, keepdims=True) + 0.001 * fields.prior_C
    likelihood_SC = poisson.pmf(counts_SN[:, :, None], TAU * fields.rate_NC).prod(axis=1)
    expected_SC = np.zeros((4, 3))
    for s in range(4):
        seen = s + 1 if continuity == CAUSAL else 4
        for path in product(range(3), repeat=4):
            weight = fields.prior_C[path[0]] * np.prod([step_CC[a, b] for a, b in pairwise(path)])
            expected_SC[s, path[s]] += weight * np.prod([likelihood_SC[t, path[t]] for t in range(seen)])
    expected_SC /= expected_SC.sum(axis=1, keepdims=True)
    found_SC = walked(fields, fields.log_posterior(counts_SN, TAU), [np.arange(4)], walk, continuity)
    np.testing.assert_allclose(found_SC, expected_SC, atol=1e-12)


def test_place_fields_match_those_of_the_simulation(runner):
    counts_SN, position_SK, _ = runner
    fields = fit_place_fields(counts_SN, position_SK, TAU, cell=4.0, smoothing=3.0)
    peak_N = fields.centre_CK[fields.rate_NC.argmax(axis=1), 0]
    np.testing.assert_allclose(peak_N, np.linspace(0, 100, 15), atol=8.0)
    assert 8 < np.median(fields.rate_NC.max(axis=1)) < 17
    assert fields.rate_NC.min() > 0
    assert fields.prior_C.sum() == pytest.approx(1.0)


def test_unvisited_places_are_left_out():
    corner_SK = np.concatenate([np.stack([np.linspace(0, 50, 200), np.zeros(200)], axis=1),
                                np.stack([np.full(200, 50.0), np.linspace(0, 50, 200)], axis=1)])  # fmt: skip
    fields = fit_place_fields(np.ones((400, 2), dtype=int), corner_SK, TAU, cell=2.0, smoothing=2.0)
    away_C = np.minimum(np.abs(fields.centre_CK[:, 1]), np.abs(fields.centre_CK[:, 0] - 50))
    assert len(away_C) < 26 * 26 / 2
    assert away_C.max() < 12


def test_position_is_decoded_and_continuity_helps(runner):
    counts_SN, position_SK, start_S = runner
    error = {}
    for continuity in (MEMORYLESS, CAUSAL, SMOOTHED):
        found = decode_place(counts_SN, position_SK, start_S, TRAIN, TEST, continuity=continuity)
        assert (found.walk is None) == (continuity == MEMORYLESS)
        assert found.mean_SK.shape == found.peak_SK.shape == (len(TEST), 1)
        error[continuity] = float(np.sqrt(((found.mean_SK - position_SK[TEST]) ** 2).mean()))
    chance = float(position_SK[TEST].std())
    assert error[SMOOTHED] < error[CAUSAL] < error[MEMORYLESS] < 0.5 * chance
    dealt_SN = np.random.default_rng(0).permutation(counts_SN)
    dealt = decode_place(dealt_SN, position_SK, start_S, TRAIN, TEST, continuity=MEMORYLESS)
    assert np.sqrt(((dealt.mean_SK - position_SK[TEST]) ** 2).mean()) > 0.9 * chance


def test_continuity_decides_which_bins_a_prediction_depends_on(runner):
    counts_SN, position_SK, start_S = runner
    later_SN, middle = counts_SN.copy(), 200
    later_SN[TEST[middle]] = 9  # another count in one bin of the test set
    for continuity in (MEMORYLESS, CAUSAL, SMOOTHED):
        given = {"continuity": continuity, "smoothings": [1.0], "walks": [1.0]}
        before = decode_place(counts_SN, position_SK, start_S, TRAIN, TEST, **given).mean_SK
        after = decode_place(later_SN, position_SK, start_S, TRAIN, TEST, **given).mean_SK
        changed = np.flatnonzero((before != after).any(axis=1))
        assert middle in changed
        assert (changed < middle).any() == (continuity == SMOOTHED)
        assert (changed > middle).any() == (continuity != MEMORYLESS)
        elsewhere_SK = position_SK.copy()
        elsewhere_SK[TEST] = -1e4  # true positions are not read
        same = decode_place(counts_SN, elsewhere_SK, start_S, TRAIN, TEST, **given).mean_SK
        np.testing.assert_array_equal(same, before)


def test_gap_in_time_ends_a_run(runner):
    counts_SN, position_SK, start_S = runner
    parted_S = start_S + 100.0 * (np.arange(len(start_S)) >= TEST[150])
    given = {"continuity": SMOOTHED, "smoothings": [1.0], "walks": [1.0]}
    parted = decode_place(counts_SN, position_SK, parted_S, TRAIN, TEST, **given).mean_SK
    for part in (slice(0, 150), slice(150, None)):
        alone = decode_place(counts_SN, position_SK, start_S, TRAIN, TEST[part], **given).mean_SK
        np.testing.assert_allclose(parted[part], alone)


def test_mismatched_recordings_are_rejected(runner):
    counts_SN, position_SK, start_S = runner
    with pytest.raises(ValueError, match=r"expected \(S, N\), \(S, K\) and \(S,\)"):
        decode_place(counts_SN, position_SK[:, 0], start_S, TRAIN, TEST)
    with pytest.raises(ValueError, match="positions finite"):
        decode_place(counts_SN, np.where(position_SK > 50, np.nan, position_SK), start_S, TRAIN, TEST)
    with pytest.raises(ValueError, match="continuity is 'forward'"):
        decode_place(counts_SN, position_SK, start_S, TRAIN, TEST, continuity="forward")
    with pytest.raises(TooLittleError, match="5 training samples"):
        decode_place(counts_SN, position_SK, start_S, TRAIN[:5], TEST)
    with pytest.raises(TooLittleError, match="never changes"):
        decode_place(counts_SN, np.ones_like(position_SK), start_S, TRAIN, TEST)


@pytest.mark.real_data
def test_position_of_a_rat_on_its_track_is_decoded(real_data):
    """Decode bins with movement above a twentieth of the track per second, each fifth from the rest."""
    pytest.importorskip("pynwb")
    from ingest.nwb.read_nwb import read_nwb

    recording = read_nwb(real_data / "nwb/rat-track/sub-rat/sub-rat_ses-linear-track_ecephys.nwb")
    series = recording.behavior["position"]
    times, start = series.timestamps, series.timestamps[0]
    edges = start + np.arange(int((times[-1] - start) / TAU) + 1) * TAU
    middle = edges[:-1] + TAU / 2
    position_SK = np.stack([np.interp(middle, times, axis) for axis in series.data.T.astype(float)], axis=1)
    trains = [recording.spikes.train(n) for n in range(recording.n_units)]
    counts_SN = np.stack([np.histogram(train, edges)[0] for train in trains], axis=1)
    length = np.ptp(position_SK, axis=0).max()
    moving = np.linalg.norm(np.gradient(position_SK, axis=0), axis=1) / TAU > 0.05 * length
    counts_SN, position_SK, start_S = counts_SN[moving], position_SK[moving], edges[:-1][moving]
    every = np.arange(len(start_S))
    median, squared = {}, {}
    for continuity in (MEMORYLESS, CAUSAL):
        given = {"continuity": continuity, "smoothings": [0.5], "walks": [4.0]}
        peak_SK, mean_SK, rest_SK = (np.empty_like(position_SK) for _ in range(3))
        for test in np.array_split(every, 5):
            train = every[(every < test[0] - 4) | (every > test[-1] + 4)]
            found = decode_place(counts_SN, position_SK, start_S, train, test, **given)
            peak_SK[test], mean_SK[test], rest_SK[test] = found.peak_SK, found.mean_SK, position_SK[train].mean(axis=0)
        median[continuity] = np.median(np.linalg.norm(peak_SK - position_SK, axis=1)) / length
        squared[continuity] = ((mean_SK - position_SK) ** 2).sum() / ((rest_SK - position_SK) ** 2).sum()
    chance = np.median(np.linalg.norm(rest_SK - position_SK, axis=1)) / length
    assert max(median.values()) < 0.1
    assert chance > 0.25
    assert squared[CAUSAL] < squared[MEMORYLESS] < 0.8
