import numpy as np
import pytest
from sklearn import metrics as sk

from foundation.evaluation.confidence_intervals import gain, interval
from foundation.evaluation.metrics import Predictions, primary, score, sums


def classes(y, predicted, cluster=None, n=3) -> Predictions:
    cluster = np.arange(len(y)) if cluster is None else cluster
    return Predictions(np.asarray(y), np.asarray(predicted), np.empty(0), np.zeros(len(y)), np.asarray(cluster), n)


def test_class_metrics_equal_scikit_learn():
    rng = np.random.default_rng(0)
    y, predicted = rng.integers(0, 3, 200), rng.integers(0, 3, 200)
    found = score(sums(classes(y, predicted, rng.integers(0, 9, 200))).sum(axis=0), "classes")
    assert float(found["balanced_accuracy"]) == pytest.approx(sk.balanced_accuracy_score(y, predicted))
    assert float(found["accuracy"]) == pytest.approx(sk.accuracy_score(y, predicted))
    assert float(found["macro_f1"]) == pytest.approx(sk.f1_score(y, predicted, average="macro"))


def test_r2_is_relative_to_the_training_mean_of_each_fold():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(100, 2)) + 3
    predicted = y + rng.normal(size=(100, 2)) * 0.5
    mean = np.full((100, 2), 2.5)
    p = Predictions(y, predicted, mean, np.zeros(100), np.arange(100), 0)
    expected = np.mean(1 - ((y - predicted) ** 2).sum(0) / ((y - mean) ** 2).sum(0))
    assert primary(p) == pytest.approx(expected)
    assert primary(Predictions(y, mean, mean, np.zeros(100), np.arange(100), 0)) == 0


def test_interval_covers_the_truth_at_its_nominal_rate():
    rng = np.random.default_rng(0)
    covered = 0
    for k in range(200):
        right = rng.random(120) < 0.7
        y = np.tile([0, 1], 60)
        low, high = interval(classes(y, np.where(right, y, 1 - y), n=2), 300, seed=k)
        covered += low <= 0.7 <= high
    assert 0.90 <= covered / 200 <= 0.99


def test_dependent_samples_are_drawn_together():
    """Ten animals with twenty similar units each are ten observations, not two hundred."""
    rng = np.random.default_rng(0)
    right = np.repeat(rng.random(10) < 0.5, 20)
    y = np.tile([0, 1], 100)
    predicted = np.where(right, y, 1 - y)
    apart = interval(classes(y, predicted, n=2), 2000, 0)
    together = interval(classes(y, predicted, np.repeat(np.arange(10), 20), n=2), 2000, 0)
    assert together[1] - together[0] > 3 * (apart[1] - apart[0])


def test_single_part_has_no_interval():
    assert interval(classes([0, 1], [0, 1], [0, 0], n=2), 100, 0) is None


def test_paired_gain_is_narrower_than_two_intervals():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    theirs = np.where(rng.random(400) < 0.7, y, 1 - y)
    ours = np.where((theirs != y) & (rng.random(400) < 0.3), y, theirs)
    value, (low, high) = gain(classes(y, ours, n=2), classes(y, theirs, n=2), 1000, 0)
    assert value == pytest.approx(primary(classes(y, ours, n=2)) - primary(classes(y, theirs, n=2)))
    assert 0 < low < value < high
    with pytest.raises(ValueError, match="same samples"):
        gain(classes(y, ours, n=2), classes(1 - y, theirs, n=2), 100, 0)
