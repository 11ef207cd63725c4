"""Moving averages of networks, under any ZeRO stage."""

from __future__ import annotations

import copy
import math
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from foundation.common.private_names import is_cut


def frozen_copy(module: nn.Module) -> nn.Module:
    """Return a copy of a module that takes no gradients: a target network."""
    return copy.deepcopy(module).requires_grad_(False)


def whole(parameters: list[nn.Parameter], changed_by: int | None) -> Any:
    """Gather parameters on every process within a context; changes by rank ``changed_by`` are kept."""
    if not any(is_cut(p) for p in parameters):
        return nullcontext()
    from deepspeed.runtime.zero import GatheredParameters

    return GatheredParameters(parameters, modifier_rank=changed_by)


@torch.no_grad()
def move_towards(target: nn.Module, online: nn.Module, momentum: float) -> None:
    """Set ``target = momentum * target + (1 - momentum) * online`` for every parameter; all processes call it.

    Example:
        >>> online, target = nn.Linear(1, 1), nn.Linear(1, 1)
        >>> online.weight.data.fill_(1.0), target.weight.data.fill_(0.0)
        (tensor([[1.]]), tensor([[0.]]))
        >>> move_towards(target, online, 0.75)
        >>> target.weight.item()
        0.25
    """
    for t, o in zip(target.parameters(), online.parameters(), strict=True):
        with whole([o], None), whole([t], 0):
            t.data.lerp_(o.data.to(t.dtype), 1.0 - momentum)


def momentum_at(progress: float, start: float, schedule: str) -> float:
    """Return the momentum of a target network at a share of the run (BYOL, arXiv 2006.07733, section 3.3).

    Example:
        >>> [round(momentum_at(p, 0.9, "cosine"), 3) for p in (0.0, 0.5, 1.0)]
        [0.9, 0.95, 1.0]
        >>> momentum_at(0.7, 0.98, "constant")
        0.98
    """
    if schedule == "constant":
        return start
    return 1.0 - (1.0 - start) * (math.cos(math.pi * progress) + 1.0) / 2.0
