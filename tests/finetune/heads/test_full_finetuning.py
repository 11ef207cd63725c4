"""The head that full finetuning starts from, and its schedule."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from finetune.heads.full_finetuning import Head, _rate
from foundation.evaluation.linear_readout import fit, make_basis


@pytest.mark.parametrize("components", [3, 40])
@pytest.mark.parametrize("n_classes", [0, 3])
def test_finetuning_starts_from_what_the_probe_predicts(n_classes, components):
    rng = np.random.default_rng(0)
    x_SF = rng.normal(size=(60, 12)).astype(np.float32)
    y_S = rng.integers(0, 3, 60) if n_classes else 5.0 * rng.normal(size=(60, 2)) + x_SF[:, :2]
    basis = make_basis(x_SF, components, seed=0)
    readout = fit(basis(x_SF), y_S, 1.0, n_classes)
    spread_K = np.ones(n_classes) if n_classes else y_S.std(axis=0)
    with torch.no_grad():
        out_SK = Head(basis, readout, spread_K)(torch.as_tensor(x_SF)).numpy()
    predicted = readout.predict(basis(x_SF))
    if n_classes:
        assert (out_SK.argmax(axis=1) == predicted).all()
    else:
        np.testing.assert_allclose(out_SK * spread_K, predicted, rtol=1e-3, atol=1e-3)


def test_a_class_without_training_samples_is_never_predicted_at_first():
    rng = np.random.default_rng(1)
    x_SF, y_S = rng.normal(size=(40, 6)).astype(np.float32), rng.integers(0, 2, 40)
    basis = make_basis(x_SF, 6, seed=0)
    head = Head(basis, fit(basis(x_SF), y_S, 1.0, 3), np.ones(3))
    out_SK = head(torch.as_tensor(x_SF))
    assert torch.isfinite(out_SK).all()
    assert (out_SK.argmax(dim=1) < 2).all()


def test_the_rate_rises_over_a_tenth_and_falls_to_a_tenth():
    rates = [_rate(step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert all(after <= before for before, after in pairwise(rates[10:]))
    assert rates[100] == pytest.approx(0.1)
    assert _rate(0, 1) == 1.0
