"""Projectors and predictors: small perceptrons on the rows of the global batch."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn


def perceptron(dim: int, widths: list[int], *, batch_norm: bool) -> nn.Sequential:
    """Return linear layers with ReLU between them; without widths, the identity.

    Apply it to the rows of all processes from `gather_rows`: a plain batch norm then covers the global batch, and its
    gradient is complete on each process.

    Args:
        dim: input features.
        widths: of each layer.
        batch_norm: normalise the inner layers.

    Example:
        >>> [type(layer).__name__ for layer in perceptron(4, [8, 2], batch_norm=True)]
        ['Linear', 'BatchNorm1d', 'ReLU', 'Linear']
        >>> len(perceptron(4, [], batch_norm=True))
        0
    """
    sizes = [dim, *widths]
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise(sizes)):
        layers.append(nn.Linear(before, after))
        if i < len(sizes) - 2:
            layers += [nn.BatchNorm1d(after, track_running_stats=False)] if batch_norm else []
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def wide(z_MD: torch.Tensor) -> torch.Tensor:
    """Return a tensor in at least float32: bf16 has too few digits for statistics over a batch."""
    return z_MD.float() if z_MD.dtype in (torch.bfloat16, torch.float16) else z_MD
