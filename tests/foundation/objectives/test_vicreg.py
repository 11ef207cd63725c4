import numpy as np
import pytest
import torch

from foundation.common.errors import ConfigError
from foundation.objectives import VICRegWeights
from foundation.objectives.parts.collapse import rank_me, similarity_gap
from foundation.objectives.parts.vicreg_terms import vicreg_terms


def by_loops(a, b, s: VICRegWeights) -> float:
    """VICReg as released, element by element."""
    m, d = a.shape
    invariance = sum((a[i, j] - b[i, j]) ** 2 for i in range(m) for j in range(d)) / (m * d)
    variance = covariance = 0.0
    for x in (a, b):
        mean = [sum(x[i, j] for i in range(m)) / m for j in range(d)]
        cov = [
            [sum((x[i, j] - mean[j]) * (x[i, k] - mean[k]) for i in range(m)) / (m - 1) for k in range(d)]
            for j in range(d)
        ]
        variance += sum(max(0.0, s.target - (cov[j][j] + s.eps) ** 0.5) for j in range(d)) / d / 2
        covariance += sum(cov[j][k] ** 2 for j in range(d) for k in range(d) if j != k) / d
    return s.invariance * invariance + s.variance * variance + s.covariance * covariance


def test_terms_equal_the_papers_forward_and_backward():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 7, 4)) * np.array([0.2, 1.0, 2.0, 0.8])
    settings = VICRegWeights(invariance=3.0, variance=2.0, covariance=0.5, target=1.1)
    t = torch.tensor(a, requires_grad=True)
    loss = vicreg_terms(t, torch.tensor(b), settings)["loss"]
    assert float(loss.detach()) == pytest.approx(by_loops(a, b, settings), rel=1e-10)
    loss.backward()
    step = 1e-6
    for i, j in [(0, 0), (3, 2), (6, 3)]:
        up, down = a.copy(), a.copy()
        up[i, j] += step
        down[i, j] -= step
        slope = (by_loops(up, b, settings) - by_loops(down, b, settings)) / (2 * step)
        assert float(t.grad[i, j]) == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_each_term_measures_its_property():
    settings = VICRegWeights()
    rng = torch.Generator().manual_seed(0)
    spread = torch.randn(500, 6, generator=rng) * 1.5
    good = vicreg_terms(spread, spread, settings)
    assert float(good["invariance"]) == 0
    assert float(good["variance"]) < 1e-3
    collapsed = vicreg_terms(torch.ones(500, 6), torch.ones(500, 6), settings)
    assert float(collapsed["variance"]) == pytest.approx(1 - settings.eps**0.5)
    copies = spread[:, :1].expand(-1, 6)
    assert float(vicreg_terms(copies, copies, settings)["covariance"]) > 20 * float(good["covariance"])


def test_invalid_weights_are_refused():
    with pytest.raises(ConfigError, match="covariance is -1"):
        VICRegWeights(covariance=-1.0)
    with pytest.raises(ConfigError, match=r"target is 0\.0"):
        VICRegWeights(target=0.0)


def test_collapse_figures():
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(400, 8, generator=rng)
    assert 7.5 < float(rank_me(z)) <= 8.01
    for rows in (5, 40, 300):  # fewer rows than features, and more
        some = torch.randn(rows, 40) @ torch.diag(torch.logspace(0, -5, 40))
        values = torch.linalg.svdvals(some.double())
        share = values / values.sum()
        assert float(rank_me(some)) == pytest.approx(float((-(share * share.log()).sum()).exp()), rel=1e-3)
    assert float(rank_me(z[:, :1] @ torch.ones(1, 8))) == pytest.approx(1.0, abs=0.01)
    gap = similarity_gap(z, z + 0.1 * torch.randn(400, 8, generator=rng))
    assert float(gap["similarity_within"]) > 0.95
    assert abs(float(gap["similarity_between"])) < 0.05
