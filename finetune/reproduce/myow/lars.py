"""LARS, the optimiser that MYOW on reaches was published with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn


class LARS(torch.optim.Optimizer):
    """Momentum with a rate for each layer, in proportion to its weights over their gradient.

    You, Gitman and Ginsburg 2017 (arXiv 1708.03888), algorithm 1. As in BYOL (arXiv 2006.07733), biases and the scales
    of norms take the plain rate and do not decay, unless a group of parameters says otherwise: ``adapted`` is then
    whether all of it takes the rates of layers.

    Args:
        parameters: that are trained, or groups of them.
        lr: the global rate.
        momentum: of the update.
        weight_decay: of the weights of layers.
        trust: how far a layer's weights move, over their own norm, at a global rate of 1.

    Example:
        >>> layer = nn.Linear(4, 2, bias=False)
        >>> _ = layer.weight.data.fill_(1.0)
        >>> layer.weight.grad = torch.ones(2, 4) * 100
        >>> LARS(layer.parameters(), lr=1.0, weight_decay=0.0, trust=0.1).step()
        >>> round(float(layer.weight[0, 0].detach()), 6)  # a tenth of its norm, however large the gradient
        0.9
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 1e-6,
        trust: float = 1e-3,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust, "adapted": None}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move the weights along their gradients, after a closure that makes these, whose loss is given back."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                move, rate = p.grad, group["lr"]
                if p.ndim > 1 if group["adapted"] is None else group["adapted"]:
                    size, slope = p.norm(), p.grad.norm()
                    against = slope + group["weight_decay"] * size
                    known = (size > 0) & (against > 0)
                    rate = rate * torch.where(known, group["trust"] * size / against.clamp(min=1e-30), 1.0)
                    move = move + group["weight_decay"] * p
                state = self.state[p]
                if "velocity" not in state:
                    state["velocity"] = torch.zeros_like(p)
                state["velocity"].mul_(group["momentum"]).add_(rate * move)
                p.sub_(state["velocity"])
        return loss
