"""Accuracy over the share of samples that are classified, the most confident first."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from foundation.evaluation.confidence_intervals import interval_of
from foundation.evaluation.metrics import CLASSES, Predictions, score, sums

SHARES = tuple(k / 10 for k in range(1, 11))


@dataclass(frozen=True)
class CoveragePoint:
    """Accuracy of a readout on its most confident samples.

    Args:
        share: share of samples that are classified.
        samples: number of these samples.
        classes: number of their classes.
        accuracy: share of these samples that are predicted correctly.
        low, high: 95 % interval of the accuracy; None with fewer than two independent parts.
        balanced: balanced accuracy over the remaining classes.
    """

    share: float
    samples: int
    classes: int
    accuracy: float
    low: float | None
    high: float | None
    balanced: float


def coverage_curve(predictions: Predictions, resamples: int, seed: int) -> list[CoveragePoint]:
    """Return the accuracy of the most confident 10 %, 20 %, ... 100 % of samples (risk and coverage).

    Samples of all folds are ordered together by the probability of their predicted class. The interval resamples
    independent parts of the classified samples; the confidence threshold stays fixed.

    Args:
        predictions: of classes.
        resamples: number of bootstrap samples of each interval.
        seed: of the draws.

    Returns:
        Points in the order of their shares; none if the predictions have no confidence.

    Example:
        >>> y_S = np.array([0, 1, 0, 1])
        >>> predictions = Predictions.of_classes(y_S, np.array([0, 1, 1, 1]), 2)
        >>> points = coverage_curve(replace(predictions, confidence_S=np.array([0.9, 0.8, 0.6, 0.7])), 100, seed=0)
        >>> [(point.share, point.accuracy) for point in points if point.share in (0.5, 1.0)]
        [(0.5, 1.0), (1.0, 0.75)]
    """
    if predictions.kind != CLASSES or not len(predictions.confidence_S):
        return []
    order = np.argsort(-predictions.confidence_S, kind="stable")
    points = []
    for share in SHARES:
        kept = np.sort(order[: max(1, round(share * len(order)))])
        part = replace(
            predictions,
            **{
                name: getattr(predictions, name)[kept]
                for name in ("y_S", "predicted_S", "mean_S", "fold_S", "cluster_S")
            },
            confidence_S=predictions.confidence_S[kept],
        )
        total = score(sums(part).sum(axis=0), CLASSES)
        low, high = interval_of(part, "accuracy", resamples, seed) or (None, None)
        n_classes = len(np.unique(part.y_S))
        balanced = float(total["balanced_accuracy"])
        points.append(CoveragePoint(share, len(kept), n_classes, float(total["accuracy"]), low, high, balanced))
    return points
