"""The operations between a model's products: blocks whose products are replaced by copies, to be counted and timed."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from foundation.common.private_names import TorchDispatchMode, tree_leaves
from foundation.models.config import EITConfig
from foundation.models.parts.attention import Phases, phases, rotary_angles
from foundation.models.parts.transformer_blocks import Block

PRODUCTS = ("addmm", "mm", "bmm")
VIEWS = (
    "view", "_unsafe_view", "transpose", "t", "unsqueeze", "expand", "slice", "select", "detach", "split",
    "split_with_sizes",
)  # fmt: skip
LENGTH = 16  # tokens of a unit


class Moved(TorchDispatchMode):
    """Counts operations other than products, and the bytes that they read and write.

    Example:
        >>> with Moved() as moved:
        ...     _ = torch.ones(4) + torch.ones(4)
        >>> moved.bytes, moved.calls
        (80, 3)
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.calls = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        name = function.__name__.split(".")[0]
        if name not in VIEWS:
            self.calls += 1
            if name not in PRODUCTS:
                tensors = [x for x in tree_leaves((args, out)) if isinstance(x, torch.Tensor)]
                self.bytes += sum(x.numel() * x.element_size() for x in tensors)
        return out


class Copied(nn.Module):
    """Replaces a linear layer: outputs are copies of inputs, with the layer's number of features."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.out, self.times = layer.out_features, -(-layer.out_features // layer.in_features)

    def forward(self, x_BLD: torch.Tensor) -> torch.Tensor:
        """Return ``(..., out)``."""
        return torch.cat([x_BLD] * self.times, dim=-1) if self.times > 1 else x_BLD[..., : self.out]


class Between:
    """The forward and backward pass of consecutive blocks over time, without their products.

    Args:
        rows: tokens.
        dim: features.
        device: device to run on.
        blocks: number of blocks; their saved tensors should exceed the cache.
    """

    def __init__(self, rows: int, dim: int, device: torch.device, blocks: int = 4) -> None:
        config = EITConfig(dim=dim, heads=max(1, dim // 64))
        self.blocks = nn.ModuleList(Block(config) for _ in range(blocks))
        for layer in list(self.blocks.modules()):
            for name, part in list(layer.named_children()):
                if isinstance(part, nn.Linear):
                    setattr(layer, name, Copied(part))
        self.blocks.to(device)
        units = max(1, rows // LENGTH)
        self.x_BNTD = torch.randn(1, units, LENGTH, dim, device=device, requires_grad=True)
        self.mask_BT = torch.ones(units, LENGTH, dtype=torch.bool, device=device)
        seconds_BT = torch.arange(LENGTH, device=device)[None, None] * 0.1
        self.turn: Phases = phases(rotary_angles(seconds_BT, dim // config.heads // 2, 0.04, 256.0))

    def __call__(self) -> None:
        """Return the cost of one pass each way."""
        h_BNTD = self.x_BNTD
        for block in self.blocks:
            h_BNTD = block(h_BNTD, self.mask_BT, self.turn)
        h_BNTD.sum().backward()
        self.x_BNTD.grad = None

    def counted(self) -> Moved:
        """Return the bytes moved and the operations launched."""
        with Moved() as moved:
            self()
        return moved
