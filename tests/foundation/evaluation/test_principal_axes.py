import tracemalloc

import numpy as np
import pytest
from sklearn.decomposition import PCA

from foundation.evaluation import principal_axes
from foundation.evaluation.linear_readout import make_basis


@pytest.mark.parametrize(("n_samples", "n_features"), [(200, 300), (300, 40)])
def test_axes_in_parts_equal_axes_of_all_rows(n_samples, n_features, monkeypatch):
    monkeypatch.setattr(principal_axes, "PART_BYTES", 1 << 14)  # many parts
    rng = np.random.default_rng(0)
    x_SF = (rng.normal(size=(n_samples, 6)) * [9, 7, 5, 4, 3, 2] @ rng.normal(size=(6, n_features))).astype(np.float32)
    x_SF += 5 + rng.normal(size=x_SF.shape).astype(np.float32) / 10
    rows = rng.permutation(n_samples)[: n_samples * 4 // 5]
    basis = make_basis(x_SF, 5, seed=0, rows=rows)
    train = x_SF[rows].astype(np.float64)
    expected = PCA(5).fit_transform((train - train.mean(0)) / train.std(0))
    scores = basis(x_SF, rows=rows)
    for k in range(5):
        assert abs(np.corrcoef(scores[:, k], expected[:, k])[0, 1]) > 0.9999
    assert scores[:, 0].std() == pytest.approx(1.0, rel=0.01)
    np.testing.assert_array_equal(scores, basis(x_SF[rows]))


@pytest.mark.parametrize("n_samples", [600, 3600])
def test_basis_needs_little_extra_memory(n_samples):
    x_SF = np.random.default_rng(0).normal(size=(n_samples, 24_000_000 // n_samples)).astype(np.float32)
    rows = np.arange(0, n_samples, 2) if n_samples < 1000 else np.arange(n_samples - 100)
    tracemalloc.start()
    try:
        basis = make_basis(x_SF, 16, seed=0, rows=rows)
        basis(x_SF, rows=rows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.4 * x_SF.nbytes  # a copy of the training rows alone would be 0.5 and more
