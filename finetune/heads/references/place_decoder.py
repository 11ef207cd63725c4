"""A Bayesian decoder of place from spike counts: the reference for the position of animals in a maze or on a track."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from foundation.evaluation.splits import TooLittleError

MEMORYLESS, CAUSAL, SMOOTHED = "memoryless", "causal", "smoothed"
INNER_FOLDS = 3
SHRINK_SECONDS = 0.1  # a cell's rate counts as if the unit had fired at its mean rate for so long there
JUMP = 1e-3  # chance that the animal is anywhere in the next bin: no certainty is for ever


@dataclass(frozen=True)
class PlaceDecoded:
    """Where the animal is decoded to have been at S samples of a test set.

    Args:
        mean_SK: mean of the posterior, in units of position: has the least squared error.
        peak_SK: centre of the most likely cell: what most papers report distances of.
        smoothing: standard deviation of the tuning curves' smoothing, in units of position.
        walk: standard deviation of a step from one bin to the next, in units of position; None if memoryless.
    """

    mean_SK: np.ndarray
    peak_SK: np.ndarray
    smoothing: float
    walk: float | None


@dataclass(frozen=True)
class PlaceField:
    """Tuning curves of N units over C cells that the animal visited.

    Args:
        centre_CK: centre of each cell.
        prior_C: smoothed share of the time spent in each cell; sums to 1.
        rate_NC: events per second of each unit in each cell, above 0.
    """

    centre_CK: np.ndarray
    prior_C: np.ndarray
    rate_NC: np.ndarray

    def log_posterior(self, counts_SN: np.ndarray, bin_seconds: float) -> np.ndarray:
        """Return ``(S, C)`` log probabilities, up to a constant of each sample.

        ``P(x | n) ~ P(x) prod_i f_i(x)^n_i exp(-tau sum_i f_i(x))``: units are independent Poisson processes
        (Zhang, Ginzburg, McNaughton and Sejnowski, J Neurophysiol 79, 1998).
        """
        return np.log(self.prior_C) + counts_SN @ np.log(self.rate_NC) - bin_seconds * self.rate_NC.sum(axis=0)


def fit_place_fields(
    counts_SN: np.ndarray, position_SK: np.ndarray, bin_seconds: float, cell: float, smoothing: float
) -> PlaceField:
    """Estimate the tuning curves of units over position, and the prior of being anywhere.

    Events and time per cell of a grid are smoothed alike by a Gaussian, and divided. Cells whose smoothed time is less
    than a hundredth of a bin were not visited and are left out.

    Args:
        counts_SN: ``(S, N)`` events of each unit in each bin.
        position_SK: ``(S, K)`` mean position in each bin, K 1 to 3.
        bin_seconds: length of a bin.
        cell: side of a cell, in units of position.
        smoothing: standard deviation of the Gaussian, in units of position.

    Example:
        >>> counts_SN, place_SK = np.repeat([[4], [0]], 40, axis=0), np.repeat([[0.0], [10.0]], 40, axis=0)
        >>> fields = fit_place_fields(counts_SN, place_SK, 0.25, cell=1.0, smoothing=0.5)
        >>> bool(fields.rate_NC[0, 0] > 10), bool(fields.rate_NC[0, -1] < 1)
        (True, True)
    """
    low_K, high_K = position_SK.min(axis=0), position_SK.max(axis=0)
    shape = tuple(np.floor((high_K - low_K) / cell).astype(int) + 1)
    at_S = np.ravel_multi_index(tuple(((position_SK - low_K) / cell).astype(int).T), shape)
    n_cells = int(np.prod(shape))

    def smoothed(weight_S: np.ndarray) -> np.ndarray:
        grid = np.bincount(at_S, weight_S, n_cells).reshape(shape)
        return gaussian_filter(grid, smoothing / cell, mode="constant").ravel()

    seconds_C = smoothed(np.full(len(at_S), bin_seconds))
    visited_C = seconds_C > 0.01 * bin_seconds
    seconds_C = seconds_C[visited_C]
    events_NC = np.stack([smoothed(events_S)[visited_C] for events_S in counts_SN.T.astype(np.float64)])
    # A unit that was silent in training has a small rate all the same: one event now does not rule out every place.
    mean_N = (counts_SN.sum(axis=0) + 0.5) / (len(counts_SN) * bin_seconds)
    rate_NC = (events_NC + SHRINK_SECONDS * mean_N[:, None]) / (seconds_C + SHRINK_SECONDS)
    cell_CK = np.stack(np.unravel_index(np.flatnonzero(visited_C), shape), axis=1)
    return PlaceField(low_K + (cell_CK + 0.5) * cell, seconds_C / seconds_C.sum(), rate_NC)


def decode_place(
    counts_SN: np.ndarray,
    position_SK: np.ndarray,
    start_S: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    *,
    bin_seconds: float = 0.25,
    continuity: str = CAUSAL,
    cells: int = 32,
    smoothings: Sequence[float] = (0.5, 1.0, 2.0),
    walks: Sequence[float] = (0.5, 1.0, 2.0, 4.0),
) -> PlaceDecoded:
    """Decode position at test samples from place fields fitted to training samples.

    What is chosen is chosen inside the training samples, on 3 contiguous blocks of them, by the squared error of the
    posterior's mean: first the smoothing, of the memoryless decoder, then the walk.

    Args:
        counts_SN: ``(S, N)`` events of each unit in each bin.
        position_SK: ``(S, K)`` position in each bin, finite, K 1 to 3.
        start_S: ``(S,)`` start of each bin in seconds. Bins that follow each other without a gap are a run.
        train, test: indices of samples, each in order of time.
        bin_seconds: length of a bin.
        continuity: ``memoryless``: each bin by itself. ``causal``: position walks from bin to bin of a run by Gaussian
            steps, and a bin is decoded from itself and those before it (Brown et al., J Neurosci 18, 1998, on a grid).
            ``smoothed``: from the whole run, which sees the future.
        cells: cells along the longest side of what was visited in training.
        smoothings, walks: what is chosen from, in cells.

    Raises:
        ValueError: if the shapes do not fit, counts are negative, or positions are not finite.
        TooLittleError: if there are fewer than 6 training samples, or the position never changes in them.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> place_S1 = np.abs((np.arange(800) * 0.02) % 2.0 - 1.0)[:, None]  # up and down a track of length 1
        >>> rate_SN = 40 * np.exp(-((place_S1 - np.linspace(0, 1, 20)) ** 2) / (2 * 0.1**2))
        >>> counts_SN, start_S = rng.poisson(rate_SN * 0.25), np.arange(800) * 0.25
        >>> decoded = decode_place(counts_SN, place_S1, start_S, np.arange(600), np.arange(610, 800))
        >>> bool(np.median(np.abs(decoded.mean_SK - place_S1[610:])) < 0.05)
        True
    """
    _check(counts_SN, position_SK, start_S, train, continuity)
    side = float(np.ptp(position_SK[train], axis=0).max())
    if not side > 0:
        raise TooLittleError("the position never changes in the training samples")
    cell = side / cells

    def posterior(fit: np.ndarray, rows: np.ndarray, smoothing: float) -> tuple[PlaceField, np.ndarray]:
        fields = fit_place_fields(counts_SN[fit], position_SK[fit], bin_seconds, cell, smoothing * cell)
        return fields, fields.log_posterior(counts_SN[rows], bin_seconds)

    def runs(rows: np.ndarray) -> list[np.ndarray]:
        gap = np.diff(start_S[rows]) > 1.5 * bin_seconds
        return np.split(np.arange(len(rows)), np.flatnonzero(gap) + 1)

    blocks = np.array_split(train, INNER_FOLDS)
    inner = [(np.concatenate([b for b in blocks if b is not block]), block) for block in blocks]

    def error(smoothing: float, walk: float | None) -> float:
        total = 0.0
        for fit, block in inner:
            fields, log_SC = posterior(fit, block, smoothing)
            p_SC = _normalised(log_SC) if walk is None else walked(fields, log_SC, runs(block), walk * cell, continuity)
            total += float(((p_SC @ fields.centre_CK - position_SK[block]) ** 2).sum())
        return total

    smoothing = min(smoothings, key=lambda value: error(value, None))
    walk = None if continuity == MEMORYLESS else min(walks, key=lambda value: error(smoothing, value))
    fields, log_SC = posterior(train, test, smoothing)
    p_SC = _normalised(log_SC) if walk is None else walked(fields, log_SC, runs(test), walk * cell, continuity)
    return PlaceDecoded(
        mean_SK=p_SC @ fields.centre_CK,
        peak_SK=fields.centre_CK[p_SC.argmax(axis=1)],
        smoothing=smoothing * cell,
        walk=None if walk is None else walk * cell,
    )


def walked(
    fields: PlaceField, log_SC: np.ndarray, runs: Sequence[np.ndarray], walk: float, continuity: str
) -> np.ndarray:
    """Return ``(S, C)`` probabilities of each cell under a Gaussian walk from bin to bin.

    The forward recursion of a hidden Markov model, and for ``smoothed`` the backward one too. A run begins with the
    prior, and steps lead to visited cells alone.

    Args:
        fields: the cells.
        log_SC: `PlaceField.log_posterior` of each sample.
        runs: indices of the samples of each run.
        walk: standard deviation of a step, in units of position.
        continuity: ``causal`` or ``smoothed``.
    """
    away_CC = ((fields.centre_CK[:, None] - fields.centre_CK[None]) ** 2).sum(axis=-1)
    step_CC = np.exp(-away_CC / (2 * walk**2))
    step_CC /= step_CC.sum(axis=1, keepdims=True)
    step_CC = (1 - JUMP) * step_CC + JUMP * fields.prior_C
    likelihood_SC = np.exp((log_SC - np.log(fields.prior_C)) - (log_SC - np.log(fields.prior_C)).max(1, keepdims=True))
    p_SC = np.empty_like(log_SC)
    for run in runs:
        before_C = fields.prior_C
        for s in run:
            p_SC[s] = _share(before_C * likelihood_SC[s])
            before_C = p_SC[s] @ step_CC
        if continuity == SMOOTHED:
            after_C = np.ones(len(fields.prior_C))
            for s in run[::-1]:
                p_SC[s] = _share(p_SC[s] * after_C)
                after_C = _share(step_CC @ (likelihood_SC[s] * after_C))
    return p_SC


def _share(p_C: np.ndarray) -> np.ndarray:
    """Return probabilities that sum to 1; even ones where all have underflowed."""
    total = p_C.sum()
    return p_C / total if total > 0 else np.full(len(p_C), 1.0 / len(p_C))


def _normalised(log_SC: np.ndarray) -> np.ndarray:
    p_SC = np.exp(log_SC - log_SC.max(axis=1, keepdims=True))
    return p_SC / p_SC.sum(axis=1, keepdims=True)


def _check(
    counts_SN: np.ndarray, position_SK: np.ndarray, start_S: np.ndarray, train: np.ndarray, continuity: str
) -> None:
    if counts_SN.ndim != 2 or position_SK.ndim != 2 or not len(counts_SN) == len(position_SK) == len(start_S):
        raise ValueError(
            f"counts_SN is {counts_SN.shape}, position_SK {position_SK.shape}, start_S {start_S.shape}: "
            "expected (S, N), (S, K) and (S,)"
        )
    if not 1 <= position_SK.shape[1] <= 3:
        raise ValueError(f"position_SK has {position_SK.shape[1]} dimensions: expected 1 to 3")
    if counts_SN.min(initial=0) < 0 or not np.isfinite(position_SK).all():
        raise ValueError("counts are 0 or more and positions finite: leave samples without a position out")
    if continuity not in (MEMORYLESS, CAUSAL, SMOOTHED):
        raise ValueError(f"continuity is {continuity!r}: expected {MEMORYLESS!r}, {CAUSAL!r} or {SMOOTHED!r}")
    if len(train) < 2 * INNER_FOLDS:
        raise TooLittleError(f"{len(train)} training samples: at least {2 * INNER_FOLDS} are needed")
