"""95 % intervals: a bootstrap over independent parts (animals, trials, blocks of time), not over samples."""

from __future__ import annotations

import numpy as np

from foundation.evaluation.metrics import PRIMARY, Predictions, score, sums

LEVEL = (2.5, 97.5)


def interval(predictions: Predictions, resamples: int, seed: int) -> tuple[float, float] | None:
    """Interval of the primary metric; None with fewer than two independent parts.

    Efron's percentile bootstrap (1979): parts are drawn with replacement, as many as there are, ``resamples`` times.

    Args:
        predictions: with the part of each sample in ``cluster_S``.
        resamples: how many bootstrap samples.
        seed: of the draws.
    """
    parts = sums(predictions)
    return _percentiles(_resampled(parts, predictions.kind, resamples, seed))


def gain(ours: Predictions, theirs: Predictions, resamples: int, seed: int) -> tuple[float, tuple[float, float] | None]:
    """How much better one readout is than another on the same samples, with a paired interval.

    Raises:
        ValueError: if the two did not predict the same samples.
    """
    if not np.array_equal(ours.cluster_S, theirs.cluster_S) or not np.array_equal(ours.y_S, theirs.y_S):
        raise ValueError("two readouts are compared on the same samples only")
    kind, name = ours.kind, PRIMARY[ours.kind]
    a, b = sums(ours), sums(theirs)
    value = float(score(a.sum(axis=0), kind)[name] - score(b.sum(axis=0), kind)[name])
    drawn = [_resampled(parts, kind, resamples, seed) for parts in (a, b)]
    if drawn[0] is None or drawn[1] is None:
        return value, None
    return value, _percentiles(drawn[0] - drawn[1])


def control_interval(values: list[float]) -> tuple[float, float]:
    """Interval that holds the score of the true labels in 95 % of cases if these say nothing.

    The score is then as likely to have any rank among those of the shuffles. With 39 shuffles the interval reaches from
    the lowest to the highest; with fewer it does too, and holds less than 95 % (`control_level`).

    Example:
        >>> control_interval([float(k) for k in range(39)])
        (0.0, 38.0)
    """
    low, high = np.percentile(values, LEVEL, method="weibull")
    return float(low), float(high)


def control_level(repeats: int) -> float:
    """Share of cases that `control_interval` of this many shuffles holds.

    Example:
        >>> control_level(39), control_level(9)
        (0.95, 0.8)
    """
    return min(0.95, (repeats - 1) / (repeats + 1))


def _resampled(parts: np.ndarray, kind: str, resamples: int, seed: int) -> np.ndarray | None:
    """``(resamples,)`` the primary metric; the same seed and number of parts draw the same parts."""
    n = len(parts)
    if n < 2:
        return None
    weights = np.random.default_rng([seed, n]).multinomial(n, np.full(n, 1 / n), size=resamples)
    drawn = np.tensordot(weights.astype(np.float64), parts.astype(np.float64), axes=1)
    return score(drawn, kind)[PRIMARY[kind]]


def _percentiles(values: np.ndarray | None) -> tuple[float, float] | None:
    if values is None or not np.isfinite(values).any():
        return None
    low, high = np.nanpercentile(values, LEVEL)
    return float(low), float(high)
