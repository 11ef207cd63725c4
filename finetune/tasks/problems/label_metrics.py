"""Metrics that some labels have beside those of their kind: the error of an angle, the parents of classes."""

from __future__ import annotations

import numpy as np

from finetune.tasks.problems.decoding_task import Labels
from foundation.evaluation.metrics import CLASSES, Predictions, primary


def label_metrics(labels: Labels, predictions: Predictions) -> dict[str, float]:
    """Return the metrics that labels have beside those of their kind.

    Angles have ``degrees``, the mean absolute error on the circle (90 for an angle that says nothing). Classes that are
    part of something have ``parent_accuracy``, the balanced accuracy of what the predicted class is part of.

    Args:
        labels: of the target.
        predictions: of any of its readouts.

    Example:
        >>> regions, divisions = ("CA1", "DG", "VISp"), ("HPF", "HPF", "Isocortex")
        >>> labels = Labels("location", "all", "", np.array([0, 1, 2]), regions, parents=divisions)
        >>> label_metrics(labels, Predictions.of_classes(np.array([0, 1, 2]), np.array([1, 0, 2]), 3))
        {'parent_accuracy': 1.0}
    """
    if labels.circular:
        true_S, predicted_S = (np.arctan2(y[:, 1], y[:, 0]) for y in (predictions.y_S, predictions.predicted_S))
        off_S = np.abs((predicted_S - true_S + np.pi) % (2 * np.pi) - np.pi)
        return {"degrees": float(np.degrees(off_S.mean()))}
    if labels.parents and predictions.kind == CLASSES:
        names, parent_C = np.unique(labels.parents, return_inverse=True)
        y_S, predicted_S = parent_C[predictions.y_S], parent_C[predictions.predicted_S]
        return {"parent_accuracy": primary(Predictions.of_classes(y_S, predicted_S, len(names)))}
    return {}
