"""The initial head of full finetuning, and its schedule."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from finetune.finetune_settings import FullSettings
from finetune.heads.fitting.network_training import LinearHead, _rate, _with_fewer_units
from finetune.heads.fitting.shared_trunk import blend
from foundation.common.errors import ConfigError
from foundation.evaluation.linear_readout import fit, make_basis


@pytest.mark.parametrize("components", [3, 40])
@pytest.mark.parametrize("n_classes", [0, 3])
def test_finetuning_starts_from_the_predictions_of_the_probe(n_classes, components):
    rng = np.random.default_rng(0)
    x_SF = rng.normal(size=(60, 12)).astype(np.float32)
    y_S = rng.integers(0, 3, 60) if n_classes else 5.0 * rng.normal(size=(60, 2)) + x_SF[:, :2]
    basis = make_basis(x_SF, components, seed=0)
    readout = fit(basis(x_SF), y_S, 1.0, n_classes)
    spread_K = np.ones(n_classes) if n_classes else y_S.std(axis=0)
    with torch.no_grad():
        out_SK = LinearHead(basis, readout, spread_K)(torch.as_tensor(x_SF)).numpy()
    predicted = readout.predict(basis(x_SF))
    if n_classes:
        assert (out_SK.argmax(axis=1) == predicted).all()
    else:
        np.testing.assert_allclose(out_SK * spread_K, predicted, rtol=1e-3, atol=1e-3)


def test_class_without_training_samples_is_not_predicted_at_the_start():
    rng = np.random.default_rng(1)
    x_SF, y_S = rng.normal(size=(40, 6)).astype(np.float32), rng.integers(0, 2, 40)
    basis = make_basis(x_SF, 6, seed=0)
    head = LinearHead(basis, fit(basis(x_SF), y_S, 1.0, 3), np.ones(3))
    out_SK = head(torch.as_tensor(x_SF))
    assert torch.isfinite(out_SK).all()
    assert (out_SK.argmax(dim=1) < 2).all()


def test_learning_rate_warms_up_over_a_tenth_and_falls_to_a_tenth():
    rates = [_rate(step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert all(after <= before for before, after in pairwise(rates[10:]))
    assert rates[100] == pytest.approx(0.1)
    assert _rate(0, 1) == 1.0


@pytest.mark.parametrize("known", [True, False])
def test_unit_dropout_keeps_at_least_one_unit(known):
    rng = np.random.default_rng(0)
    there_BN = torch.ones(40, 6, dtype=torch.bool)
    there_BN[:, 5] = False  # padding
    given = {"mask_BN": there_BN, "x_BNT": torch.ones(40, 6, 4)}
    given |= {"population_row_BN": torch.zeros(40, 6, dtype=torch.int64)} if known else {}
    fewer = _with_fewer_units(given, "token", 0.8, rng)
    seen_BN = fewer["mask_BN"] & ~fewer["hidden_BN"] if known else fewer["mask_BN"]
    assert seen_BN.any(1).all()
    assert not seen_BN[:, 5].any()
    assert 0.45 < seen_BN[:, :5].float().mean() < 0.6, "a window that would lose all its units keeps them"
    assert fewer["x_BNT"] is given["x_BNT"]
    assert _with_fewer_units(given, "unit", 0.8, rng) is given, "labels of units need all of them"
    assert _with_fewer_units(given, "token", 0.0, rng) is given


def test_share_one_is_the_network_and_share_zero_the_readout():
    network_S, linear_S = np.array([1.0, 2.0]), np.array([3.0, 6.0])
    assert blend(network_S, linear_S, 1.0).tolist() == [1.0, 2.0]
    assert blend(network_S, linear_S, 0.0).tolist() == [3.0, 6.0]
    assert blend(network_S, linear_S, 0.25).tolist() == [2.5, 5.0]


@pytest.mark.parametrize("wrong", [{"dropout": 1.0}, {"unit_dropout": -0.1}, {"label_curve": [40, 20]}])
def test_invalid_finetuning_settings_are_rejected(wrong):
    with pytest.raises(ConfigError, match=f"full.{next(iter(wrong))} is"):
        FullSettings(**wrong)
