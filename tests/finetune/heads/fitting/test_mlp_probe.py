"""The MLP probe on frozen features: it decodes what a linear readout cannot, and never sees test labels."""

from dataclasses import replace

import numpy as np
import pytest

from finetune.finetune_settings import FinetuneSettings, MLPSettings
from finetune.heads.fitting.head_probe import probe
from finetune.heads.fitting.mlp_probe import mlp_probe, strongest_axes
from finetune.tasks.problems.decoding_task import Labels
from foundation.evaluation.feature_blocks import Block
from foundation.evaluation.readings import Features, each_row
from foundation.evaluation.splits import Split, split_units

RNG = np.random.default_rng(0)
X_SF = RNG.normal(size=(240, 4)).astype(np.float32)
SETTINGS = FinetuneSettings("c", "s", "o", mlp=MLPSettings(units=32, dropout=0.1, learning_rate=1e-2, batch_samples=32))


class Samples:
    """Labelled rows of a matrix, all independent of each other."""

    def __init__(self, y_S, classes=()):
        self.labels = Labels("t", "t", "t", y_S, classes)
        self.cluster_S = np.arange(len(y_S))

    @property
    def strata(self):
        return self.labels.y_S if self.labels.n_classes else np.zeros(len(self.cluster_S), np.int64)

    def inner(self, train, seed):
        return split_units(self.strata[train], 3, seed).folds


def both(problem):
    features = [Features("frozen", X_SF, (each_row(len(X_SF)),))]
    split = split_units(problem.strata, 3, 0)
    assert isinstance(split, Split)
    linear, network = (read(problem, features, split, SETTINGS) for read in (probe, mlp_probe))
    return linear.predictions, network.predictions, network.choices


def test_network_reads_classes_that_are_not_linearly_separable():
    linear, network, choices = both(Samples((X_SF[:, 0] * X_SF[:, 1] > 0).astype(np.int64), ("odd", "even")))
    right = [(predictions.predicted_S == predictions.y_S).mean() for predictions in (linear, network)]
    assert right[0] < 0.65
    assert right[1] > 0.8
    assert choices["features"] == ["frozen"] * 3


def test_network_reads_values_in_their_own_units():
    y_SK = np.stack([X_SF[:, 0] ** 2 * 100 + 500, X_SF[:, 1]], axis=1)
    _, network, _ = both(Samples(y_SK))
    rest = ((network.predicted_S - network.y_S) ** 2).sum(0) / ((network.y_S - network.y_S.mean(0)) ** 2).sum(0)
    assert (rest < 0.4).all()


def test_predictions_are_deterministic_and_use_no_test_label():
    y_S = (X_SF[:, 0] * X_SF[:, 1] > 0).astype(np.int64)
    problem, features = Samples(y_S, ("odd", "even")), [Features("frozen", X_SF, (each_row(len(X_SF)),))]
    split = split_units(y_S, 3, 0)
    first = mlp_probe(problem, features, Split(split.folds[:1], ""), SETTINGS).predictions
    other = y_S.copy()
    other[split.folds[0].test] ^= 1
    again = mlp_probe(Samples(other, ("odd", "even")), features, Split(split.folds[:1], ""), SETTINGS).predictions
    np.testing.assert_array_equal(first.predicted_S, again.predicted_S)


def test_class_missing_from_training_is_never_predicted():
    y_S = np.zeros(240, np.int64)
    y_S[:120] = 1
    _, network, _ = both(Samples(y_S, ("a", "b", "none")))
    assert set(network.predicted_S.tolist()) <= {0, 1}


@pytest.mark.parametrize("dual", [False, True])
def test_strongest_axes_are_the_principal_components(dual):
    from sklearn.decomposition import PCA

    z_SC = (X_SF * [4.0, 3.0, 2.0, 1.0]).astype(np.float32)
    block = Block(gram_SS=z_SC @ z_SC.T) if dual else Block(z_SC=z_SC)
    train = np.arange(200)
    found_SC = strongest_axes(block, train, 2)
    true_SC = PCA(2, svd_solver="full").fit(z_SC[train]).transform(z_SC)[:, ::-1]
    true_SC /= np.sqrt((true_SC[train, -1] ** 2).mean())
    np.testing.assert_allclose(np.abs(found_SC), np.abs(true_SC), atol=2e-3)
    assert replace(block).scale == 1.0
