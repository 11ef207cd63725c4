"""A power law of the loss: ``L(N, D) = E + A / N^alpha + B / D^beta``.

The form of Hoffmann et al. 2022 (arXiv 2203.15556, section 3.3): E is the irreducible loss, the second term the loss of
a model with N parameters, the third the loss from learning on only D tokens. It is fitted on the logarithm of the loss,
by least squares with Huber's loss for errors beyond 0.001, as in the paper: outliers then have no more influence than
other trials.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.optimize import least_squares
from scipy.special import logsumexp

from foundation.evaluation.confidence_intervals import middle_95
from foundation.sweep.sweep_trial import Measured

LEAST_TRIALS, LEAST_VALUES = 8, 3
STEEPEST = 5.0
HUBER = 1e-3
LOW = np.array([-25.0, -25.0, 0.0, -25.0, 0.0])
HIGH = np.array([10.0, 10.0, STEEPEST, 10.0, STEEPEST])


@dataclass(frozen=True)
class Law:
    """A fitted power law.

    Args:
        floor, model_scale, data_scale: E, A and B.
        alpha, beta: the exponents of model and data.
        error: median absolute error of the log loss.
    """

    floor: float
    model_scale: float
    data_scale: float
    alpha: float
    beta: float
    error: float

    def __call__(self, parameters: float, tokens: float) -> float:
        """Return the predicted loss.

        Example:
            >>> Law(0.1, 2.0, 3.0, 0.5, 1.0, 0.0)(4.0, 3.0)
            2.1
        """
        return self.floor + self.model_scale / parameters**self.alpha + self.data_scale / tokens**self.beta


@dataclass(frozen=True)
class Fit:
    """A law with its uncertainty.

    Args:
        law: fitted to all trials.
        intervals: name of a field of the law -> the middle 95 % over the bootstrap.
        resamples: draws of the bootstrap.
        largest: the trial with most parameters and tokens, predicted by a law that was fitted without all trials of
            that size or that amount; None if too few others remain.
    """

    law: Law
    intervals: dict[str, tuple[float, float]]
    resamples: int
    largest: tuple[Measured, float] | None


def fit_with_intervals(measured: Sequence[Measured], *, resamples: int, seed: int) -> Fit | None:
    """Return a law and its uncertainty; None if trials, sizes or amounts are too few for five parameters.

    The bootstrap draws whole trials with replacement. It covers the noise of training and the law's misfit, but not the
    choice of held-out recordings, and not larger models.

    Args:
        measured: the trials.
        resamples: number of draws.
        seed: of the draws.
    """
    if not _enough(measured):
        return None
    law = fit_law(measured)
    rng = np.random.default_rng(seed)
    drawn: list[Law] = []
    while len(drawn) < resamples:
        sample = [measured[i] for i in rng.integers(len(measured), size=len(measured))]
        if _enough(sample):
            drawn.append(fit_law(sample, near=law))
    intervals = {}
    for name in ("floor", "alpha", "beta"):
        intervals[name] = middle_95([getattr(one, name) for one in drawn])
    return Fit(law, intervals, resamples, _predicted(measured))


def fit_law(measured: Sequence[Measured], near: Law | None = None) -> Law:
    """Return the best fit to trials; ``near`` is an additional starting point."""
    log_n = np.log([m.parameters for m in measured])
    log_d = np.log([m.tokens for m in measured])
    log_loss = np.log([m.loss for m in measured])
    mean_n, mean_d = log_n.mean(), log_d.mean()
    x, y = log_n - mean_n, log_d - mean_d

    def terms(p: np.ndarray) -> np.ndarray:
        return np.stack([np.full_like(x, p[0]), p[1] - p[2] * x, p[3] - p[4] * y])

    def residuals(p: np.ndarray) -> np.ndarray:
        return np.asarray(logsumexp(terms(p), axis=0) - log_loss)

    def slopes(p: np.ndarray) -> np.ndarray:
        parts = terms(p)
        share = np.exp(parts - logsumexp(parts, axis=0))
        return np.stack([share[0], share[1], -share[1] * x, share[2], -share[2] * y], axis=1)

    least = log_loss.min()
    starts = []
    if near is not None:
        a = math.log(near.model_scale) - near.alpha * mean_n
        b = math.log(near.data_scale) - near.beta * mean_d
        starts.append([math.log(near.floor), a, near.alpha, b, near.beta])
    spread = list(product((0.2, 1.0), (0.2, 1.0), (0.5, 0.95)))
    for alpha, beta, share in spread if near is None else [(0.5, 0.5, 0.5)]:
        rest = least + math.log((1 - share) / 2)
        starts.append([least + math.log(share), rest, alpha, rest, beta])
    how = {"loss": "huber", "f_scale": HUBER, "ftol": 1e-6, "xtol": 1e-6, "max_nfev": 200}
    found = [least_squares(residuals, np.clip(start, LOW, HIGH), slopes, bounds=(LOW, HIGH), **how) for start in starts]
    best = min(found, key=lambda one: float(one.cost))
    e, a, alpha, b, beta = (float(value) for value in best.x)
    return Law(
        floor=math.exp(e),
        model_scale=math.exp(a + alpha * mean_n),
        data_scale=math.exp(b + beta * mean_d),
        alpha=alpha,
        beta=beta,
        error=float(np.median(np.abs(best.fun))),
    )


def _enough(measured: Sequence[Measured]) -> bool:
    sizes, amounts = {m.parameters for m in measured}, {m.tokens for m in measured}
    points = {(m.parameters, m.tokens) for m in measured}
    return len(points) >= LEAST_TRIALS and min(len(sizes), len(amounts)) >= LEAST_VALUES


def _predicted(measured: Sequence[Measured]) -> tuple[Measured, float] | None:
    most_n, most_d = max(m.parameters for m in measured), max(m.tokens for m in measured)
    rest = [m for m in measured if m.parameters < most_n and m.tokens < most_d]
    largest = next((m for m in measured if m.parameters == most_n and m.tokens == most_d), None)
    if largest is None or not _enough(rest):
        return None
    return largest, fit_law(rest)(most_n, most_d)
