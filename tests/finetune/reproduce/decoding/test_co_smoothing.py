"""Hidden units predicted from the others: the sums, the regression, and no leak of hidden units."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from finetune.reproduce.decoding.co_smoothing import (
    HiddenUnits,
    PoissonRegression,
    by_model,
    by_regression,
    gained,
    usual_counts,
)
from finetune.reproduce.decoding.decoding_page import figure
from finetune.reproduce.decoding.decoding_runs import find_targets
from foundation.models import EIT, EITConfig
from foundation.store import Catalog, Store


@pytest.fixture(scope="module")
def target(place, settings):
    catalog = Catalog.open(Store(place / "store")).where("subject == 'Ann'")
    table = replace(settings.decoding, subjects=["Ann"], labels=["hidden_units"])
    return find_targets(table, catalog, 1)[0]


def test_bits_equal_those_of_a_loop_over_trials(target):
    hidden = HiddenUnits.of(target.problem)
    rng = np.random.default_rng(0)
    predicted = [rng.uniform(0.5, 3, (len(hidden.bins(fold.test)), 8)) for fold in target.split.folds]
    found = gained(hidden, target.split.folds, lambda k, fold: predicted[k])
    trials, place = hidden.trial_of_bins, 0
    for k, fold in enumerate(target.split.folds):
        usual = usual_counts(hidden.count_TN[hidden.bins(fold.train)])
        for trial in np.unique(trials[hidden.bins(fold.test)]):
            nats = events = 0.0
            for row, t in enumerate(hidden.bins(fold.test)):
                for n in range(8) if trials[t] == trial else ():
                    true, one = float(hidden.count_TN[t, n]), predicted[k][row, n]
                    nats += (true * math.log(one) - one) - (true * math.log(usual[n]) - usual[n])
                    events += true
            assert found[place] == pytest.approx([nats, events])
            place += 1
    assert place == len(found) == 48


def test_counts_of_hidden_units_do_not_affect_their_prediction(target):
    torch.manual_seed(0)
    shape = {"dim": 16, "heads": 2, "patch_length": 1, "population_layers": 1}
    model = EIT(EITConfig(**shape, population_tables=[{target.problem.recording.id: 8}]))
    hidden, fold = HiddenUnits.of(target.problem), target.split.folds[0]
    inner = target.problem.inner(fold.train, 0)
    read = target.problem.readers(target.problem.recording.id)

    class Changed:
        """A reader that changes the counts of some units."""

        def __init__(self, units):
            self.recording, self.table, self.units = read.recording, read.table, units

        def read(self, *args, **kwargs):
            batch = read.read(*args, **kwargs)
            x_BNT = batch.x_BNT.clone()
            x_BNT[:, self.units] += 3
            return replace(batch, x_BNT=x_BNT)

    plain, (plain_regression, _) = by_model(hidden, model, fold), by_regression(hidden, fold, inner)
    problem = target.problem.relabelled(target.problem.labels.y_S)
    for group in hidden.groups:
        problem.readers = lambda _, group=group: Changed(group)
        other = by_model(replace(hidden, problem=problem), model, fold)
        np.testing.assert_array_equal(other[:, group], plain[:, group])
        rest = np.setdiff1d(np.arange(8), group)
        assert (other[:, rest] != plain[:, rest]).any()
        count_TN = hidden.count_TN.copy()
        count_TN[np.ix_(hidden.bins(fold.test), group)] += 3
        other, _ = by_regression(replace(hidden, count_TN=count_TN), fold, inner)
        np.testing.assert_array_equal(other[:, group], plain_regression[:, group])


def test_gradient_vanishes_at_the_fit():
    rng = np.random.default_rng(0)
    x_TF = torch.as_tensor(rng.normal(size=(200, 5)))
    y_TU = torch.as_tensor(rng.poisson(np.exp(0.4 * x_TF.numpy()[:, :2])).astype(float))
    found = PoissonRegression.fit(x_TF, y_TU, 20.0)
    left_TU = found(x_TF) - y_TU
    assert left_TU.sum(0).abs().max() < 0.05
    assert (x_TF.T @ left_TU + 20.0 * found.weight_FU).abs().max() < 0.05


def test_units_with_a_shared_drive_are_predicted_by_regression(rows):
    found = figure(rows["hidden_units/Ann/others"])
    assert 0 < found.low < found.value < found.high
