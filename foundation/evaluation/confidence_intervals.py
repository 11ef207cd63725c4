"""95 % intervals: a bootstrap over independent parts (animals, trials, blocks of time), not over samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foundation.evaluation.metrics import PRIMARY, Predictions, score, sums

LEVEL = (2.5, 97.5)


def interval(predictions: Predictions, resamples: int, seed: int) -> tuple[float, float] | None:
    """Return the interval of the primary metric; None with fewer than two independent parts.

    Efron's percentile bootstrap (1979): parts are drawn with replacement, ``resamples`` times.

    Args:
        predictions: with the part of each sample in ``cluster_S``.
        resamples: number of bootstrap samples.
        seed: of the draws.
    """
    return interval_of(predictions, PRIMARY[predictions.kind], resamples, seed)


def interval_of(predictions: Predictions, metric: str, resamples: int, seed: int) -> tuple[float, float] | None:
    """Return the interval of any metric that `foundation.evaluation.metrics.score` gives; see `interval`.

    Example:
        >>> y_S = np.array([0, 0, 1, 1])
        >>> interval_of(Predictions.of_classes(y_S, y_S, 2, np.arange(4)), "accuracy", 200, seed=0)
        (1.0, 1.0)
    """
    drawn = _resampled(sums(predictions), predictions.kind, resamples, seed, metric)
    return None if drawn is None or not np.isfinite(drawn).any() else middle_95(drawn)


def gain(ours: Predictions, theirs: Predictions, resamples: int, seed: int) -> tuple[float, tuple[float, float] | None]:
    """Return the gain of one readout over another on the same samples, with a paired interval.

    Raises:
        ValueError: if the two readouts predicted different samples.
    """
    if not np.array_equal(ours.cluster_S, theirs.cluster_S) or not np.array_equal(ours.y_S, theirs.y_S):
        raise ValueError("the two readouts have different samples: expected the same samples")
    kind, name = ours.kind, PRIMARY[ours.kind]
    a, b = sums(ours), sums(theirs)
    value = float(score(a.sum(axis=0), kind)[name] - score(b.sum(axis=0), kind)[name])
    ours_drawn, theirs_drawn = (_resampled(parts, kind, resamples, seed) for parts in (a, b))
    if ours_drawn is None or theirs_drawn is None:
        return value, None
    drawn = ours_drawn - theirs_drawn
    return value, middle_95(drawn) if np.isfinite(drawn).any() else None


def recall_intervals(predictions: Predictions, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the correctly predicted share of each class, with its 95 % interval over independent parts.

    Args:
        predictions: of classes.
        resamples: number of bootstrap samples.
        seed: of the draws.

    Returns:
        ``(C,)`` shares, and ``(C, 2)`` limits; NaN for a class that does not occur, or with only one part.

    Example:
        >>> y = np.array([0, 0, 1, 1])
        >>> predictions = Predictions.of_classes(y, np.array([0, 1, 1, 1]), 2, cluster_S=np.arange(4))
        >>> recall_intervals(predictions, 200, seed=0)[0].tolist()
        [0.5, 1.0]
    """
    parts_GCC = sums(predictions).astype(np.float64)
    recall_C = _recall(parts_GCC.sum(axis=0))
    n = len(parts_GCC)
    if n < 2:
        return recall_C, np.full((len(recall_C), 2), np.nan)
    drawn_RC = _recall(np.tensordot(draw_parts(n, resamples, [seed, n]).astype(np.float64), parts_GCC, axes=1))
    empty = ~np.isfinite(drawn_RC).any(axis=0)
    drawn_RC[:, empty] = 0.0
    limits_C2 = np.nanpercentile(drawn_RC, LEVEL, axis=0).T
    limits_C2[empty] = np.nan
    return recall_C, limits_C2


def _recall(counts_CC: np.ndarray) -> np.ndarray:
    true = counts_CC.sum(axis=-1)
    right = np.diagonal(counts_CC, axis1=-2, axis2=-1)
    return np.where(true > 0, right / np.maximum(true, 1), np.nan)


def resampled_mean(sums_R: Sequence[np.ndarray], kind: str, resamples: int = 1000, seed: int = 0) -> np.ndarray:
    """Return ``(resamples,)`` values of the primary metric of resampled parts, averaged over runs.

    All runs are resampled alike, and so are those of another readout with the same number of parts: the difference of
    two results is paired.

    Args:
        sums_R: for each run (one per seed) its sums over parts, see `foundation.evaluation.metrics.sums`.
        kind: ``classes`` or ``values``.
        resamples: number of bootstrap samples.
        seed: of the draws.

    Raises:
        ValueError: if runs have different numbers of parts, or fewer than two.

    Example:
        >>> near, far = (np.array([[[e, 4.0]], [[e, 4.0]]]) for e in (1.0, 2.0))
        >>> resampled_mean([near, far], "values", resamples=2).tolist()
        [0.625, 0.625]
    """
    n_parts = {len(parts) for parts in sums_R}
    if len(n_parts) != 1 or min(n_parts) < 2:
        raise ValueError(f"runs have {sorted(n_parts)} independent parts: expected one number, at least 2")
    drawn = [_resampled(parts, kind, resamples, seed) for parts in sums_R]
    mean: np.ndarray = np.mean([d for d in drawn if d is not None], axis=0)
    return mean


def control_interval(values: list[float]) -> tuple[float, float]:
    """Return the interval that holds the score of the true labels in 95 % of cases if the labels are uninformative.

    The score then has any rank among the scores of the shuffles with equal chance. With 39 shuffles the interval
    reaches from the lowest to the highest; with fewer it does too, but holds less than 95 % (`control_level`).

    Example:
        >>> control_interval([float(k) for k in range(39)])
        (0.0, 38.0)
    """
    low, high = np.percentile(values, LEVEL, method="weibull")
    return float(low), float(high)


def control_level(repeats: int) -> float:
    """Return the share of cases that `control_interval` of this many shuffles holds.

    Example:
        >>> control_level(39), control_level(9)
        (0.95, 0.8)
    """
    return min(0.95, (repeats - 1) / (repeats + 1))


def draw_parts(n: int, resamples: int, seed: int | Sequence[int]) -> np.ndarray:
    """Return ``(resamples, n)``, how often each of n independent parts is drawn: n draws with replacement in each row.

    Example:
        >>> draw_parts(4, 3, seed=0).sum(axis=1).tolist()
        [4, 4, 4]
    """
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)


def mean_interval(value_R: np.ndarray, resamples: int = 10_000) -> tuple[float, float]:
    """Return the 95 % interval of the mean of R independent values; equal R give equal draws.

    Example:
        >>> low, high = mean_interval(np.array([0.0, 1.0] * 50))
        >>> bool(0.38 < low < 0.42 and 0.58 < high < 0.62)
        True
    """
    n = len(value_R)
    return middle_95((draw_parts(n, resamples, n) / n) @ value_R)


def middle_95(values: np.ndarray | Sequence[float]) -> tuple[float, float]:
    """Return the limits of the middle 95 % of resampled values, NaN left out.

    Example:
        >>> middle_95([float(k) for k in range(41)])
        (1.0, 39.0)
    """
    low, high = np.nanpercentile(values, LEVEL)
    return float(low), float(high)


def _resampled(parts: np.ndarray, kind: str, resamples: int, seed: int, metric: str | None = None) -> np.ndarray | None:
    """Return ``(resamples,)`` values of a metric, by default the primary one; equal seeds draw equal parts."""
    n = len(parts)
    if n < 2:
        return None
    weights = draw_parts(n, resamples, [seed, n])
    drawn = np.tensordot(weights.astype(np.float64), parts.astype(np.float64), axes=1)
    return score(drawn, kind)[metric or PRIMARY[kind]]
