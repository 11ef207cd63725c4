import numpy as np
import pytest
import torch
from torch import nn

from finetune.reproduce.myow.bins_training import LARS


def by_loops(weights, gradients_S, rates_S, momentum, decay, trust, adapted=None):
    """Algorithm 1 of arXiv 1708.03888 in plain numpy; arrays of one dimension take the plain rate and do not decay."""
    adapted = weights.ndim > 1 if adapted is None else adapted
    w, v = weights.copy(), np.zeros_like(weights)
    for g, rate in zip(gradients_S, rates_S, strict=True):
        local, pull = 1.0, g
        if adapted:
            norm, slope = np.sqrt((w**2).sum()), np.sqrt((g**2).sum())
            local = trust * norm / (slope + decay * norm) if norm > 0 and slope + decay * norm > 0 else 1.0
            pull = g + decay * w
        v = momentum * v + rate * local * pull
        w = w - v
    return w


@pytest.mark.parametrize("shape", [(3, 4), (5,)])
@pytest.mark.parametrize("scale", [1.0, 0.0])  # of the weights at first: none have no norm to go by
@pytest.mark.parametrize("adapted", [None, True, False])
def test_steps_match_the_paper(shape, scale, adapted):
    rng = np.random.default_rng(0)
    start, gradients_S, rates_S = (
        rng.normal(size=shape) * scale,
        rng.normal(size=(5, *shape)),
        [0.8, 0.6, 0.4, 0.2, 0.1],
    )
    weights = nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = LARS([{"params": [weights], "adapted": adapted}], lr=0.0, momentum=0.9, weight_decay=0.05, trust=0.02)
    for g, rate in zip(gradients_S, rates_S, strict=True):
        weights.grad = torch.from_numpy(g.copy())
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    expected = by_loops(start, gradients_S, rates_S, 0.9, 0.05, 0.02, adapted)
    assert np.allclose(weights.detach().numpy(), expected, rtol=1e-12, atol=0)


def test_layer_update_is_independent_of_gradient_size():
    moved = []
    for size in (1e-3, 1e3):
        layer = nn.Linear(6, 6, bias=False)
        layer.weight.data.fill_(0.5)
        layer.weight.grad = torch.full((6, 6), size)
        LARS(layer.parameters(), lr=1.0, weight_decay=0.0).step()
        moved.append(float((layer.weight.detach() - 0.5).norm()))
    assert moved[0] == pytest.approx(moved[1], rel=1e-5)
    assert moved[0] == pytest.approx(1e-3 * 3.0, rel=1e-4)  # a thousandth of the norm of 36 weights of 0.5


def test_closure_is_called_and_its_loss_returned():
    layer = nn.Linear(3, 1)
    optimizer = LARS(layer.parameters(), lr=0.1)
    before = layer.weight.detach().clone()

    def closure():
        loss = layer(torch.ones(1, 3)).square().sum()
        loss.backward()
        return loss

    assert float(optimizer.step(closure).detach()) > 0
    assert not torch.equal(layer.weight.detach(), before)
