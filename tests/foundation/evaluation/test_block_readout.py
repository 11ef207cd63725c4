"""Readouts of blocks: equal to scikit-learn's in both forms, and to single blocks at weights 0 and 1."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from foundation.evaluation.block_readout import (
    PENALTIES,
    WEIGHTS,
    LogisticReadout,
    RidgeReadout,
    choose_penalty,
    choose_weight,
    readout_of,
)
from foundation.evaluation.feature_blocks import Block, blocks
from foundation.evaluation.linear_readout import inner_score
from foundation.evaluation.readings import Features, each_row
from foundation.evaluation.splits import Fold

SAMPLES, TRAIN, TEST = 90, np.arange(60), np.arange(60, 90)
INNER = [Fold(np.arange(20, 60), np.arange(20)), Fold(np.arange(40), np.arange(40, 60))]


def block_of(n_features, seed=0):
    x_SF = np.random.default_rng(seed).normal(size=(SAMPLES, n_features)).astype(np.float32)
    ((_, block),) = blocks(Features("noise", x_SF, (each_row(SAMPLES),)), TRAIN)
    z_SF = (x_SF - x_SF[TRAIN].mean(axis=0)) / x_SF[TRAIN].std(axis=0)
    return block, z_SF / np.sqrt(n_features)  # standard normal: nothing is clipped at 5


@pytest.mark.parametrize("n_features", [4, 200])
def test_ridge_equals_scikit_learn(n_features):
    block, z_SF = block_of(n_features)
    assert (block.z_SC is None) == (n_features == 200)
    y_SK = np.random.default_rng(1).normal(size=(SAMPLES, 2)) + 3.0
    learn = TRAIN[10:50]  # as in an inner fold: centred by fewer samples than were standardised
    for penalty in (1e-3, 0.1, 10.0):
        expected = Ridge(alpha=penalty, solver="svd").fit(z_SF[learn].astype(np.float64), y_SK[learn])
        (got,) = RidgeReadout(block).path(y_SK, learn, TEST, [penalty])
        np.testing.assert_allclose(got, expected.predict(z_SF[TEST]), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("n_features", [4, 200])
def test_logistic_regression_on_training_axes_equals_all_features(n_features):
    block, z_SF = block_of(n_features)
    y_S = (z_SF[:, 0] + z_SF[:, 1] > 0).astype(np.int64) + 2 * (np.arange(SAMPLES) % 2)
    readout = LogisticReadout.of(block, TRAIN, 4)
    assert readout.scores_SC.shape[1] <= len(TRAIN)
    power = np.linalg.svd(z_SF[TRAIN] - z_SF[TRAIN].mean(axis=0), compute_uv=False)[0] ** 2 / len(TRAIN)
    exact = LogisticRegression(C=1.0, class_weight="balanced", tol=1e-8, max_iter=5000)
    exact.fit(z_SF[TRAIN] / np.sqrt(power), y_S[TRAIN])
    (predicted,) = readout.path(y_S, TRAIN, TEST, [1.0])
    assert (predicted == exact.predict(z_SF[TEST] / np.sqrt(power))).mean() > 0.96


def chosen(block, y_SK):
    readout = readout_of(block, TRAIN, 0)
    return block, readout, choose_penalty(readout, y_SK, TRAIN, INNER, 0)


def test_second_block_of_noise_gets_weight_0_and_one_of_signal_weight_1():
    (informative, z_SF), (noise, _) = block_of(5, seed=2), block_of(300, seed=3)
    y_SK = z_SF[:, :1].astype(np.float64)
    alone, other = chosen(informative, y_SK), chosen(noise, y_SK)
    mixed = choose_weight(alone, other, y_SK, TRAIN, INNER, 0)
    assert mixed.weight == 0.0
    (expected,) = alone[1].path(y_SK, TRAIN, TEST, [alone[2].penalty])
    np.testing.assert_array_equal(*mixed.readout.path(y_SK, TRAIN, TEST, [mixed.choice.penalty]), expected)
    turned = choose_weight(other, alone, y_SK, TRAIN, INNER, 0)
    assert turned.weight == 1.0
    np.testing.assert_array_equal(*turned.readout.path(y_SK, TRAIN, TEST, [turned.choice.penalty]), expected)


def test_blocks_with_half_of_the_signal_each_are_better_together():
    (a, za_SF), (b, zb_SF) = block_of(10, seed=4), block_of(12, seed=5)
    y_SK = (za_SF[:, :1] + zb_SF[:, :1]).astype(np.float64)
    one, two = chosen(a, y_SK), chosen(b, y_SK)
    mixed = choose_weight(one, two, y_SK, TRAIN, INNER, 0)
    assert 0 < mixed.weight < 1
    (predicted,), (alone,) = (
        readout.path(y_SK, TRAIN, TEST, [choice.penalty])
        for readout, choice in ((mixed.readout, mixed.choice), (one[1], one[2]))
    )
    mean = np.repeat(y_SK[TRAIN].mean(axis=0, keepdims=True), len(TEST), axis=0)
    assert inner_score(y_SK[TEST], predicted, mean, 0) > inner_score(y_SK[TEST], alone, mean, 0) + 0.3


def test_weight_of_equal_blocks_is_0():
    block, z_SF = block_of(5, seed=6)
    same = chosen(block, z_SF[:, :1].astype(np.float64))
    assert choose_weight(same, same, z_SF[:, :1].astype(np.float64), TRAIN, INNER, 0).weight == 0.0


def test_uninformative_labels_get_a_strong_penalty():
    block, _ = block_of(200)
    penalties = [
        chosen(block, np.random.default_rng([8, seed]).normal(size=(SAMPLES, 1)))[2].penalty for seed in range(9)
    ]
    assert np.median(penalties) >= 10.0


def test_constant_features_give_the_training_mean_or_one_class():
    for block in (Block(z_SC=np.zeros((SAMPLES, 3), np.float32)), Block(gram_SS=np.zeros((SAMPLES,) * 2, np.float32))):
        y_SK = np.arange(SAMPLES, dtype=np.float64)[:, None]
        (predicted,) = RidgeReadout(block).path(y_SK, TRAIN, TEST, [0.1])
        np.testing.assert_allclose(predicted, y_SK[TRAIN].mean())
        (classes,) = LogisticReadout.of(block, TRAIN, 2).path(np.arange(SAMPLES) % 2, TRAIN, TEST, [1.0])
        assert len(set(classes.tolist())) == 1


def test_penalties_and_weights_are_ordered_and_span_their_range():
    assert PENALTIES["values"][0] / PENALTIES["values"][-1] > 1e6
    assert list(PENALTIES["values"]) == sorted(PENALTIES["values"], reverse=True)
    assert list(PENALTIES["classes"]) == sorted(PENALTIES["classes"])
    assert (WEIGHTS[0], WEIGHTS[-1]) == (0.0, 1.0)
