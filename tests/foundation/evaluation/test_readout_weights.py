"""Weights of a readout predict new samples as the readout does with inner products."""

import numpy as np
import pytest

from foundation.evaluation.block_readout import LogisticReadout, readout_of
from foundation.evaluation.feature_blocks import blocks, mix, read
from foundation.evaluation.readings import Features, WindowRows
from foundation.evaluation.readout_weights import Side, readout_weights

WINDOWS, LENGTH = 16, 6
TRAIN, TEST = np.arange(66), np.arange(66, 96)
WINDOW_S, BIN_S = np.repeat(np.arange(WINDOWS), LENGTH), np.tile(np.arange(LENGTH), WINDOWS)
ROWS = WindowRows(np.full(WINDOWS, LENGTH))
READINGS = {
    "own": ROWS.own_bin(WINDOW_S, BIN_S),
    "lags": ROWS.all_lags(WINDOW_S, BIN_S, 3),
    "mean": ROWS.window_mean(WINDOW_S),
}


def side_of(n_features, reading, seed):
    x_TF = np.random.default_rng(seed).normal(size=(len(ROWS), n_features)).astype(np.float32)
    x_TF[:, 0] = 3.0  # never changes
    ((read_as, block),) = blocks(Features("noise", x_TF, (READINGS[reading],)), TRAIN)
    return block, read_as


def outputs(sides, weights, bias_K):
    """Outputs of all samples from the weights and standardised features alone."""
    out_SK = np.zeros((len(WINDOW_S), len(bias_K))) + bias_K
    for side, weight_LFK in zip(sides, weights, strict=True):
        z_SC = read(side.standard.columns(slice(None)), side.reading)
        out_SK += z_SC @ weight_LFK.reshape(-1, len(bias_K))
    return out_SK


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("n_features", [5, 120])
@pytest.mark.parametrize("n_classes", [0, 3])
def test_weights_predict_as_the_readout_does(reading, n_features, n_classes):
    block, read_as = side_of(n_features, reading, seed=1)
    rng = np.random.default_rng(2)
    y_S = rng.integers(0, 3, len(WINDOW_S)) if n_classes else rng.normal(size=(len(WINDOW_S), 2)) + 5
    readout = readout_of(block, TRAIN, n_classes)
    solution = readout.solution(y_S, TRAIN, 0.1)
    assert solution.dual == (block.z_SC is None)
    sides = [Side.of(block, read_as)]
    out_SK = outputs(sides, *readout_weights(solution, sides, TRAIN))
    if isinstance(readout, LogisticReadout):
        expected = readout.logits(y_S, TRAIN, TEST, 0.1)
    else:
        (expected,) = readout.path(y_S, TRAIN, TEST, [0.1])
    np.testing.assert_allclose(out_SK[TEST], expected, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("sizes", [(5, 6), (120, 6), (120, 90)])
def test_two_sides_are_weighted_as_their_mixture(sizes):
    (a, read_a), (b, read_b) = (side_of(n, "lags", seed) for seed, n in enumerate(sizes))
    y_SK = np.random.default_rng(3).normal(size=(len(WINDOW_S), 2))
    readout = readout_of(mix(a, b, 0.25), TRAIN, 0)
    sides = [Side.of(a, read_a, 0.75), Side.of(b, read_b, 0.25)]
    out_SK = outputs(sides, *readout_weights(readout.solution(y_SK, TRAIN, 0.1), sides, TRAIN))
    (expected,) = readout.path(y_SK, TRAIN, TEST, [0.1])
    np.testing.assert_allclose(out_SK[TEST], expected, rtol=1e-3, atol=1e-3)
