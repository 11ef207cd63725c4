import pytest
import torch
from torch import nn

from foundation.models.batch_norm import GlobalBatchNorm


def test_one_process_equals_torch_s_batch_norm():
    """Compares outputs, gradients and running statistics. (Tests of objectives cover several processes.)"""
    torch.manual_seed(0)
    ours, theirs = GlobalBatchNorm(5).double(), nn.BatchNorm1d(5).double()
    for norm in (ours, theirs):
        norm.weight.data = torch.linspace(0.5, 1.5, 5, dtype=torch.float64)
    for _ in range(3):
        x = torch.randn(9, 5, dtype=torch.float64) * 3 + 100
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        weight = torch.randn(9, 5, dtype=torch.float64)
        (ours(a) * weight).sum().backward()
        (theirs(b) * weight).sum().backward()
        assert torch.allclose(a.grad, b.grad, rtol=1e-9, atol=1e-12)
    assert torch.allclose(ours.weight.grad, theirs.weight.grad)
    assert torch.allclose(ours.running_mean_D, theirs.running_mean)
    assert torch.allclose(ours.running_var_D, theirs.running_var)
    assert torch.allclose(ours.eval()(x), theirs.eval()(x))


def test_one_row_is_refused():
    with pytest.raises(ValueError, match="over 1 rows: expected at least 2"):
        GlobalBatchNorm(3)(torch.ones(1, 3))
