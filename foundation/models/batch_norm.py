"""Batch norm over the global batch, on any device (torch's SyncBatchNorm refuses CPU tensors)."""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed as dist
from torch import nn
from torch.nn import functional as F


def several_processes() -> bool:
    """Return whether this process belongs to a group of two or more."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class _SumOverProcesses(torch.autograd.Function):
    """Sum over processes, with the gradients of all processes summed in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        total = grads[0].clone()
        dist.all_reduce(total)
        return total


def sum_over_processes(x: torch.Tensor) -> torch.Tensor:
    """Return the sum of a tensor over all processes, with gradients; without a process group, the tensor itself."""
    if not several_processes():
        return x
    total: torch.Tensor = _SumOverProcesses.apply(x.contiguous())
    return total


class GlobalBatchNorm(nn.Module):
    """Normalise each feature by its mean and variance over the rows of all processes (arXiv 1502.03167).

    Every process must call it, even without rows. Gradients flow through the statistics, so that N processes get the
    same gradients as one process with all rows.

    Args:
        features: D.
        eps: added to the variance.
        momentum: weight of a new batch in the running statistics that evaluation uses.

    Raises:
        ValueError: if the global batch has fewer than two rows in training.

    Example:
        >>> norm = GlobalBatchNorm(2)
        >>> norm(torch.tensor([[0.0, 1.0], [2.0, 5.0]])).round(decimals=2).tolist()
        [[-1.0, -1.0], [1.0, 1.0]]
    """

    running_mean_D: torch.Tensor
    running_var_D: torch.Tensor

    def __init__(self, features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.features, self.eps, self.momentum = features, eps, momentum
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean_D", torch.zeros(features))
        self.register_buffer("running_var_D", torch.ones(features))

    def forward(self, x_MD: torch.Tensor) -> torch.Tensor:
        """Normalise ``(M, D)``; the shape stays the same."""
        if not self.training:
            scale_D = self.weight * (self.running_var_D + self.eps).rsqrt()
            return (x_MD - self.running_mean_D) * scale_D + self.bias
        wide = x_MD if x_MD.dtype == torch.float64 else x_MD.float()
        if not several_processes() and len(wide) > 1:
            return F.batch_norm(
                wide, self.running_mean_D, self.running_var_D, self.weight, self.bias, True, self.momentum, self.eps
            ).to(x_MD.dtype)
        # Two sums, one after the other: a variance from squared distances keeps its precision when the mean is large.
        count = torch.full((1,), float(len(wide)), dtype=wide.dtype, device=wide.device)
        sums = sum_over_processes(torch.cat([wide.sum(0), count]))
        total = sums[-1].detach()
        if total < 2:
            raise ValueError(f"batch norm over {int(total)} rows: expected at least 2 rows in the global batch")
        mean_D = sums[:-1] / total
        centred = wide - mean_D
        var_D = sum_over_processes(centred.square().sum(0)) / total
        with torch.no_grad():
            self.running_mean_D.lerp_(mean_D.to(self.running_mean_D.dtype), self.momentum)
            unbiased_D = var_D * total / (total - 1)
            self.running_var_D.lerp_(unbiased_D.to(self.running_var_D.dtype), self.momentum)
        return (centred * (var_D + self.eps).rsqrt() * self.weight + self.bias).to(x_MD.dtype)
