"""Decoders that learn from a few labelled trials."""

from dataclasses import replace

import numpy as np

from finetune.heads.fitting.label_curve import fewer_trials, label_curve
from finetune.heads.references.reference_rows import from_scratch
from foundation.evaluation.metrics import score, sums


def test_smaller_training_sets_are_nested_and_test_samples_stay(problems):
    problem = problems["velocity"]
    split = problem.split(3, 0)
    few, more = (fewer_trials(problem, split, trials, seed=0) for trials in (8, 16))
    for whole, some, many in zip(split.folds, few.folds, more.folds, strict=True):
        np.testing.assert_array_equal(some.test, whole.test)
        assert len(np.unique(problem.cluster_S[some.train])) == 8
        assert set(some.train) < set(many.train) < set(whole.train)
    assert fewer_trials(problem, split, 32, seed=0) is None, "a fold has no more than so many"


def test_model_is_probed_and_finetuned_with_few_labels(problems, population_model, settings):
    problem = problems["velocity"]
    settings = replace(settings, full=replace(settings.full, label_curve=[4, 20, 40]))
    split = problem.split(3, 0)
    features = problem.features(population_model)
    scratch = from_scratch(problem, population_model, seed=0)
    points = list(label_curve(problem, lambda _: (population_model, features), scratch, split, settings))
    assert [point.trials for point in points] == [4, 20], "40 are more than a fold has"
    values = []
    for point in points:
        assert list(point.rows) == ["rate", "probe", "both", "full", "scratch"]
        for predicted in point.rows.values():
            np.testing.assert_array_equal(predicted.y_S, points[0].rows["rate"].y_S)
        values.append(float(score(sums(point.rows["rate"]).sum(axis=0), "values")["r2"]))
    assert values[0] < values[1]
