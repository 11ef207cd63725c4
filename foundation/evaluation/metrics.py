"""Metrics from sums over independent parts, so that a bootstrap resamples sums instead of samples.

Sums of classes are confusion counts; sums of values are squared errors of the prediction and of the training mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

CLASSES, VALUES = "classes", "values"
PRIMARY = {CLASSES: "balanced_accuracy", VALUES: "r2"}
TITLES = {
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "r2": "R²",
    "beyond_profile": "R² around the profile",
    "degrees": "error in degrees",
    "parent_accuracy": "balanced accuracy of the division",
}


@dataclass(frozen=True)
class Predictions:
    """Predictions of S samples, each by a readout that was not fitted to it.

    Args:
        y_S: ``(S,)`` class indices, or ``(S, K)`` values.
        predicted_S: the same shape.
        mean_S: ``(S, K)`` the mean of the training values of the sample's fold (values only, otherwise empty).
        fold_S: ``(S,)`` the fold that tested the sample.
        cluster_S: ``(S,)`` the independent part (animal, trial, time block) of the sample.
        n_classes: number of classes, 0 for values.
        confidence_S: ``(S,)`` the probability of the predicted class; empty where the readout gives none.
    """

    y_S: np.ndarray
    predicted_S: np.ndarray
    mean_S: np.ndarray
    fold_S: np.ndarray
    cluster_S: np.ndarray
    n_classes: int
    confidence_S: np.ndarray = field(default_factory=lambda: np.empty(0))

    @classmethod
    def of_classes(
        cls, y_S: np.ndarray, predicted_S: np.ndarray, n_classes: int, cluster_S: np.ndarray | None = None
    ) -> Predictions:
        """Return predictions of classes in one fold, by default of one part."""
        one = np.zeros(len(y_S), dtype=np.int64)
        return cls(y_S, predicted_S, np.empty((len(y_S), 0)), one, one if cluster_S is None else cluster_S, n_classes)

    @property
    def kind(self) -> str:
        return CLASSES if self.n_classes else VALUES


def sums(predictions: Predictions) -> np.ndarray:
    """Return sums per cluster: ``(G, C, C)`` counts of (true, predicted) class, or ``(G, K, 2)`` squared errors.

    Example:
        >>> empty = np.empty(0)
        >>> p = Predictions(np.array([0, 1, 1]), np.array([0, 1, 0]), empty, np.zeros(3), np.array([0, 0, 1]), 2)
        >>> sums(p).tolist()
        [[[1, 0], [0, 1]], [[0, 0], [1, 0]]]
    """
    _, cluster_S = np.unique(predictions.cluster_S, return_inverse=True)
    n_clusters = int(cluster_S.max(initial=-1)) + 1
    if predictions.kind == CLASSES:
        n = predictions.n_classes
        counts = np.zeros((n_clusters, n, n), dtype=np.int64)
        np.add.at(counts, (cluster_S, predictions.y_S, predictions.predicted_S), 1)
        return counts
    errors = np.stack(
        [(predictions.y_S - predictions.predicted_S) ** 2, (predictions.y_S - predictions.mean_S) ** 2], axis=-1
    )
    total = np.zeros((n_clusters, *errors.shape[1:]))
    np.add.at(total, cluster_S, errors)
    return total


def score(sums_: np.ndarray, kind: str) -> dict[str, np.ndarray]:
    """Return metrics of sums ``(..., C, C)`` or ``(..., K, 2)``, with the same leading axes.

    Classes that do not occur are left out of balanced accuracy, and of macro F1 if they are not predicted either, as in
    scikit-learn. R² is 1 - sum of squared errors / sum of squared errors of the training mean, averaged over the K
    dimensions: the training mean has an R² of 0.

    Example:
        >>> float(score(np.array([[8, 2], [1, 1]]), "classes")["balanced_accuracy"])
        0.65
    """
    if kind == VALUES:
        with np.errstate(invalid="ignore", divide="ignore"):
            r2_K = 1.0 - sums_[..., 0] / sums_[..., 1]
        return {"r2": r2_K.mean(axis=-1), **{f"r2_{k}": r2_K[..., k] for k in range(r2_K.shape[-1])}}
    right = np.diagonal(sums_, axis1=-2, axis2=-1).astype(np.float64)
    true, predicted = sums_.sum(axis=-1), sums_.sum(axis=-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = np.where(true > 0, right / true, np.nan)
        f1 = np.where(true + predicted > 0, 2 * right / (true + predicted), np.nan)
        accuracy = right.sum(axis=-1) / true.sum(axis=-1)
    return {
        "balanced_accuracy": _mean(recall),
        "accuracy": accuracy,
        "macro_f1": _mean(f1),
    }


def _mean(x: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis without NaN; NaN if all are NaN."""
    there = np.isfinite(x)
    return np.where(there, x, 0.0).sum(axis=-1) / np.maximum(there.sum(axis=-1), 1)


def primary(predictions: Predictions) -> float:
    """Return the primary metric, by which readouts are compared."""
    kind = predictions.kind
    return float(score(sums(predictions).sum(axis=0), kind)[PRIMARY[kind]])
