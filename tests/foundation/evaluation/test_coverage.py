"""Accuracy over the share of samples that are classified."""

from dataclasses import replace

import numpy as np

from foundation.evaluation.coverage import SHARES, coverage_curve
from foundation.evaluation.metrics import Predictions


def predictions_of(n=200, seed=0):
    """Predictions that are right as often as they are confident."""
    rng = np.random.default_rng(seed)
    y_S, confidence_S = rng.integers(0, 3, n), rng.uniform(0.34, 1.0, n)
    predicted_S = np.where(rng.random(n) < confidence_S, y_S, (y_S + 1) % 3)
    return replace(Predictions.of_classes(y_S, predicted_S, 3, np.arange(n) // 10), confidence_S=confidence_S)


def test_confident_samples_are_predicted_better():
    points = coverage_curve(predictions_of(2000), 200, seed=0)
    assert [point.share for point in points] == list(SHARES)
    assert [point.samples for point in points] == [round(2000 * share) for share in SHARES]
    assert points[0].accuracy > points[4].accuracy > points[-1].accuracy
    assert all(point.low <= point.accuracy <= point.high for point in points)


def test_last_point_is_the_accuracy_of_all_samples():
    predictions = predictions_of()
    last = coverage_curve(predictions, 200, seed=0)[-1]
    assert last.accuracy == (predictions.y_S == predictions.predicted_S).mean()
    assert last.classes == 3
    recalls = [(predictions.predicted_S[predictions.y_S == k] == k).mean() for k in range(3)]
    assert np.isclose(last.balanced, np.mean(recalls))


def test_order_of_samples_changes_nothing():
    predictions = predictions_of()
    order = np.random.default_rng(1).permutation(200)
    arrays = ("y_S", "predicted_S", "mean_S", "fold_S", "cluster_S", "confidence_S")
    shuffled = replace(predictions, **{name: getattr(predictions, name)[order] for name in arrays})
    assert coverage_curve(shuffled, 200, seed=0) == coverage_curve(predictions, 200, seed=0)


def test_without_confidence_there_is_no_curve():
    assert coverage_curve(replace(predictions_of(), confidence_S=np.empty(0)), 200, seed=0) == []
