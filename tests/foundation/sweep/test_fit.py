"""Fits recover a known power law and report its uncertainty."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import huber

from foundation.sweep.power_law import HUBER, Law, fit_law, fit_with_intervals

NUMBERS = ("floor", "model_scale", "data_scale", "alpha", "beta")


def test_law_without_noise_is_recovered(true_law, trials_of):
    law = fit_law(trials_of())
    for name in NUMBERS:
        assert getattr(law, name) == pytest.approx(getattr(true_law, name), rel=1e-3)
    assert law.error < 1e-6


def test_fit_has_the_smallest_error(true_law, trials_of):
    measured = trials_of(noise=0.01)
    law = fit_law(measured)

    def cost(law: Law) -> float:
        return sum(huber(HUBER, math.log(m.loss) - math.log(law(m.parameters, m.tokens))) for m in measured)

    assert cost(law) < cost(true_law)
    for name in NUMBERS:
        for factor in (0.99, 1.01):
            assert cost(replace(law, **{name: getattr(law, name) * factor})) >= cost(law)


def test_outlier_hardly_moves_the_law(true_law, trials_of):
    measured = trials_of(noise=0.002)
    measured[0] = replace(measured[0], loss=3 * measured[0].loss)
    law = fit_law(measured)
    assert law.alpha == pytest.approx(true_law.alpha, abs=0.1)
    assert law.beta == pytest.approx(true_law.beta, abs=0.1)
    assert law.floor == pytest.approx(true_law.floor, rel=0.05)


def test_interval_covers_the_truth_at_its_nominal_rate(true_law, trials_of):
    held = {"floor": 0, "alpha": 0, "beta": 0}
    for seed in range(3):
        fit = fit_with_intervals(trials_of(noise=0.005, seed=seed), resamples=20, seed=seed)
        assert fit is not None
        for name in held:
            low, high = fit.intervals[name]
            assert low <= getattr(fit.law, name) <= high
            held[name] += low <= getattr(true_law, name) <= high
    assert min(held.values()) >= 2


def test_noise_widens_the_interval_and_the_largest_trial_is_predicted(trials_of):
    quiet, loud = (fit_with_intervals(trials_of(noise=noise), resamples=20, seed=0) for noise in (0.002, 0.02))
    assert quiet is not None
    assert loud is not None
    for name in ("alpha", "beta"):
        assert np.ptp(loud.intervals[name]) > 2 * np.ptp(quiet.intervals[name])
    assert quiet.largest is not None
    one, foretold = quiet.largest
    assert (one.parameters, one.tokens) == (256_000, 8_100_000)
    assert foretold == pytest.approx(one.loss, rel=0.02)


def test_equal_seeds_give_equal_intervals(trials_of):
    first, again, other = (fit_with_intervals(trials_of(noise=0.01), resamples=4, seed=s) for s in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(("sizes", "amounts"), [(2, 5), (5, 2), (1, 1)])
def test_too_few_trials_give_no_law(trials_of, sizes, amounts):
    assert fit_with_intervals(trials_of(sizes=sizes, amounts=amounts), resamples=20, seed=0) is None
