"""Pre-norm blocks of EIT's modules."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from foundation.models.config import EITConfig
from foundation.models.parts.attention import Attention, BranchEnd, CrossAttention, Hidden, Phases

TOKENS_PER_PART = 4096


class FeedForward(nn.Module):
    """Two layers with GELU between them, or GEGLU (arXiv 2002.05202): one half of the first layer gates the other."""

    def __init__(self, config: EITConfig) -> None:
        super().__init__()
        hidden = int(config.dim * config.mlp_ratio)
        self.gated = config.gated_mlp
        self.up = Hidden(config.dim, 2 * hidden if self.gated else hidden)
        self.down = BranchEnd(hidden, config.dim)

    def forward(self, x_BLD: torch.Tensor) -> torch.Tensor:
        """Return a tensor of the same shape."""
        h = self.up(x_BLD)
        if not self.gated:
            return self.down(F.gelu(h))
        values, gates = h.chunk(2, dim=-1)
        return self.down(values * F.gelu(gates))


class Block(GradientCheckpointingLayer):
    """Attention and a feed-forward layer, each with layer norm before it and a residual connection (pre-norm).

    Args:
        config: of the model.
        causal: a position attends only to itself and earlier ones.
    """

    def __init__(self, config: EITConfig, causal: bool = False) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.dim)
        self.attention = Attention(config.dim, config.heads, config.rotate_values, causal)
        self.mlp_norm = nn.LayerNorm(config.dim)
        self.mlp = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BLD: torch.Tensor, mask_BL: torch.Tensor | None, turn: Phases | None = None) -> torch.Tensor:
        """Return a tensor of the same shape.

        Args:
            x_BLD: ``(..., L, D)``; rows of the leading axes do not attend to each other.
            mask_BL: ``(rows, L)`` with the leading axes flattened; valid positions. None: all.
            turn: ``(..., L, pairs)`` phases of their times, or None.
        """
        x_BLD = x_BLD + self.dropout(self.attention(self.attention_norm(x_BLD), mask_BL, turn))
        return x_BLD + self.dropout(self.mlp(self.mlp_norm(x_BLD)))

    def newest(self, x_BLD: torch.Tensor, turn: Phases | None = None) -> torch.Tensor:
        """Return ``(..., 1, D)``: what `forward` gives for the last position if all positions are valid."""
        newest = x_BLD[..., -1:, :] + self.dropout(self.attention.newest(self.attention_norm(x_BLD), turn))
        return newest + self.dropout(self.mlp(self.mlp_norm(newest)))


class Gather(GradientCheckpointingLayer):
    """Attention from learned points to rows."""

    def __init__(self, config: EITConfig) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.empty(config.inducing_points, config.dim))
        self.points_norm, self.rows_norm = nn.LayerNorm(config.dim), nn.LayerNorm(config.dim)
        self.attention = CrossAttention(config.dim, config.heads)

    def forward(self, x_BLD: torch.Tensor, mask_BL: torch.Tensor | None) -> torch.Tensor:
        """Return ``(..., I, D)`` points."""
        points_BID = self.points.expand(*x_BLD.shape[:-2], -1, -1)
        return points_BID + self.attention(self.points_norm(points_BID), self.rows_norm(x_BLD), mask_BL)


class Give(GradientCheckpointingLayer):
    """Attention from rows to points, each row separately."""

    def __init__(self, config: EITConfig) -> None:
        super().__init__()
        self.points_norm, self.rows_norm = nn.LayerNorm(config.dim), nn.LayerNorm(config.dim)
        self.attention = CrossAttention(config.dim, config.heads)
        self.mlp_norm = nn.LayerNorm(config.dim)
        self.mlp = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BLD: torch.Tensor, points_BID: torch.Tensor) -> torch.Tensor:
        """Return rows of the same shape."""
        x_BLD = x_BLD + self.dropout(self.attention(self.rows_norm(x_BLD), self.points_norm(points_BID)))
        return x_BLD + self.dropout(self.mlp(self.mlp_norm(x_BLD)))


class InducedBlock(nn.Module):
    """Rows attend to each other through a few learned points: time and memory grow linearly with the number of rows.

    Points attend to rows, then rows to points (the induced set attention of Set Transformer, arXiv 1810.00825, with
    pre-norm). Equivariant to the order of rows, like `Block` without phases.
    """

    def __init__(self, config: EITConfig) -> None:
        super().__init__()
        self.gather, self.give = Gather(config), Give(config)

    def forward(self, x_BLD: torch.Tensor, mask_BL: torch.Tensor | None) -> torch.Tensor:
        """Return a tensor of the same shape, as `Block` without phases."""
        points_BID = self.gather(x_BLD, mask_BL)
        return in_parts(self.give, lambda part_BLD: self.give(part_BLD, points_BID), x_BLD, dim=-2)


def in_parts(layer: nn.Module, run: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, dim: int) -> torch.Tensor:
    """Return ``run(x)``, computed in parts along an axis if a layer's intermediate values need not be kept.

    That is the case with checkpointing or without gradients. Memory is then that of one part.

    Args:
        layer: what ``run`` calls.
        run: maps each place along ``dim`` independently of the others.
        x: ``(..., D)`` tokens.
        dim: the axis.
    """
    held = torch.is_grad_enabled() and not (layer.training and getattr(layer, "gradient_checkpointing", False))
    n_parts = -(-(x.numel() // x.shape[-1]) // TOKENS_PER_PART)
    if held or n_parts < 2 or torch.compiler.is_compiling():
        return run(x)
    return torch.cat([run(part) for part in x.chunk(n_parts, dim=dim)], dim=dim)
