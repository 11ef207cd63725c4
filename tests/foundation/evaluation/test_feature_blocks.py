"""Features of readouts: standardised, clipped, lagged inside a window, and equal in both forms."""

import tracemalloc

import numpy as np
import pytest

from foundation.evaluation.feature_blocks import CLIP, blocks, mix
from foundation.evaluation.readings import Features, WindowRows, each_row

LENGTH_W = np.array([4, 7, 5, 6] * 6)
WINDOW_S = np.repeat(np.arange(len(LENGTH_W)), LENGTH_W)
BIN_S = np.concatenate([np.arange(n) for n in LENGTH_W])
TRAIN, TEST = np.flatnonzero(WINDOW_S < 16), np.flatnonzero(WINDOW_S >= 16)
ROWS = WindowRows(LENGTH_W)
READINGS = {
    "own bin": ROWS.own_bin(WINDOW_S, BIN_S),
    "all lags": ROWS.all_lags(WINDOW_S, BIN_S, max_lag=99),
    "two lags": ROWS.all_lags(WINDOW_S, BIN_S, max_lag=2),
    "window mean": ROWS.window_mean(WINDOW_S),
}


def by_hand(x_TF, reading):
    """Readings of samples, computed bin by bin."""
    z_TF = np.clip((x_TF - x_TF[TRAIN].mean(axis=0)) / x_TF[TRAIN].std(axis=0), -CLIP, CLIP)
    rows = []
    for sample in reading.rows_SL:
        read = [z_TF[row] if row >= 0 else np.zeros(x_TF.shape[1]) for row in sample]
        rows.append(
            np.mean([z_TF[row] for row in sample if row >= 0], axis=0) if reading.mean else np.concatenate(read)
        )
    return np.stack(rows)


@pytest.mark.parametrize("name", READINGS)
@pytest.mark.parametrize("n_features", [3, 300])
def test_inner_products_equal_features_computed_bin_by_bin(name, n_features):
    x_TF = np.random.default_rng(0).standard_t(2, size=(len(ROWS), n_features)).astype(np.float32)  # some far out
    ((_, block),) = blocks(Features("noise", x_TF, (READINGS[name],)), TRAIN)
    assert (block.z_SC is None) == (READINGS[name].width(n_features) > len(TRAIN))
    expected = by_hand(x_TF.astype(np.float64), READINGS[name])
    expected /= np.sqrt(expected[TRAIN].var(axis=0).sum())
    np.testing.assert_allclose(block.inner_products, expected @ expected.T, atol=2e-5)


def test_readings_of_one_table_equal_separate_ones():
    x_TF = np.random.default_rng(0).normal(size=(len(ROWS), 200)).astype(np.float32)
    together = blocks(Features("noise", x_TF, tuple(READINGS.values())), TRAIN)
    for reading, block in together:
        ((_, alone),) = blocks(Features("noise", x_TF, (reading,)), TRAIN)
        np.testing.assert_allclose(block.inner_products, alone.inner_products, rtol=1e-4, atol=1e-5)


def test_test_samples_do_not_change_features_of_training_samples():
    x_TF = np.random.default_rng(0).normal(size=(len(ROWS), 5)).astype(np.float32)
    other = x_TF.copy()
    other[TEST] += 100.0
    ((_, a),), ((_, b),) = (blocks(Features("", x, (READINGS["own bin"],)), TRAIN) for x in (x_TF, other))
    np.testing.assert_array_equal(a.z_SC[TRAIN], b.z_SC[TRAIN])


def test_lags_reach_both_ends_of_the_longest_window():
    reading = READINGS["all lags"]
    assert reading.rows_SL.shape[1] == 2 * 7 - 1
    first_of_second = reading.rows_SL[4]
    assert first_of_second.tolist() == [-1] * 6 + [4, 5, 6, 7, 8, 9, 10]
    assert (WINDOW_S[np.maximum(reading.rows_SL, 0)] == WINDOW_S[:, None])[reading.rows_SL >= 0].all()


def test_constant_training_features_are_ignored():
    x_TF = np.zeros((len(ROWS), 2), np.float32)
    x_TF[TEST, 0] = 7.0
    x_TF[:, 1] = BIN_S
    ((_, block),) = blocks(Features("", x_TF, (READINGS["own bin"],)), TRAIN)
    assert (block.z_SC[:, 0] == 0).all()


@pytest.mark.parametrize(("wide", "narrow"), [(300, 3), (3, 300), (3, 4), (300, 310)])
def test_weights_0_and_1_give_the_single_blocks(wide, narrow):
    rng = np.random.default_rng(0)
    a, b = (
        next(blocks(Features("", rng.normal(size=(len(ROWS), n)).astype(np.float32), (READINGS["own bin"],)), TRAIN))[1]
        for n in (wide, narrow)
    )
    assert mix(a, b, 0.0) is a
    assert mix(a, b, 1.0) is b
    expected = 0.75 * a.inner_products + 0.25 * b.inner_products
    np.testing.assert_allclose(mix(a, b, 0.25).inner_products, expected, atol=1e-6)
    with pytest.raises(ValueError, match="expected 0 to 1"):
        mix(a, b, 1.5)


def test_wide_block_needs_little_extra_memory():
    x_TF = np.random.default_rng(0).normal(size=(600, 40_000)).astype(np.float32)
    rows = WindowRows(np.full(60, 10))
    lags = rows.all_lags(np.repeat(np.arange(60), 10), np.tile(np.arange(10), 60), 9)
    tracemalloc.start()
    try:
        ((_, block),) = blocks(Features("", x_TF, (lags,)), np.arange(400))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert block.gram_SS.shape == (600, 600)
    assert peak < 0.2 * x_TF.nbytes, f"{peak / x_TF.nbytes:.2f} times the features, beside them"


def test_each_unit_has_a_row():
    x_SF = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    ((_, block),) = blocks(Features("", x_SF, (each_row(20),)), np.arange(12))
    np.testing.assert_allclose(block.z_SC[:12].mean(axis=0), 0.0, atol=1e-6)
    assert block.z_SC[:12].var(axis=0).sum() == pytest.approx(1.0, rel=1e-5)
