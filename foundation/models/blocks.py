"""Pre-norm blocks that the modules of EIT are made of."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from foundation.models.attention import Attention, BranchEnd, CrossAttention, Hidden, Phases
from foundation.models.config import EITConfig


class FeedForward(nn.Module):
    """Two layers with GELU between them, or GEGLU (arXiv 2002.05202): one half of the first layer gates the other."""

    def __init__(self, config: EITConfig) -> None:
        super().__init__()
        hidden = int(config.dim * config.mlp_ratio)
        self.gated = config.gated_mlp
        self.up = Hidden(config.dim, 2 * hidden if self.gated else hidden)
        self.down = BranchEnd(hidden, config.dim)

    def forward(self, x_BLD: torch.Tensor) -> torch.Tensor:
        """Same shape in and out."""
        h = self.up(x_BLD)
        if not self.gated:
            return self.down(F.gelu(h))
        values, gates = h.chunk(2, dim=-1)
        return self.down(values * F.gelu(gates))


class Block(GradientCheckpointingLayer):
    """Attention and a feed-forward layer, each added to what comes in after a layer norm (pre-norm)."""

    def __init__(self, config: EITConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.dim)
        self.attention = Attention(config.dim, config.heads, config.rotate_values)
        self.mlp_norm = nn.LayerNorm(config.dim)
        self.mlp = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BLD: torch.Tensor, mask_BL: torch.Tensor | None, turn: Phases | None = None) -> torch.Tensor:
        """Same shape in and out.

        Args:
            x_BLD: ``(..., L, D)``; rows of the leading axes do not see each other.
            mask_BL: ``(rows, L)`` with the leading axes as one; which of the L are seen. None: all.
            turn: ``(..., L, pairs)`` phases of their times, or None if they have none.
        """
        x_BLD = x_BLD + self.dropout(self.attention(self.attention_norm(x_BLD), mask_BL, turn))
        return x_BLD + self.dropout(self.mlp(self.mlp_norm(x_BLD)))


class InducedBlock(GradientCheckpointingLayer):
    """Rows see each other through a few learned points: time and memory grow linearly with the number of rows.

    Points attend to rows, then rows to points (the induced set attention of Set Transformer, arXiv 1810.00825, with
    pre-norm). Equivariant to the order of rows, as `Block` without phases is.
    """

    def __init__(self, config: EITConfig) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.empty(config.inducing_points, config.dim))
        self.points_norm = nn.LayerNorm(config.dim)
        self.gather_norm = nn.LayerNorm(config.dim)
        self.gather = CrossAttention(config.dim, config.heads)
        self.given_norm = nn.LayerNorm(config.dim)
        self.give = CrossAttention(config.dim, config.heads)
        self.mlp_norm = nn.LayerNorm(config.dim)
        self.mlp = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BLD: torch.Tensor, mask_BL: torch.Tensor | None, turn: Phases | None = None) -> torch.Tensor:
        """As `Block`; ``turn`` must be None."""
        seen_BLD = self.gather_norm(x_BLD)
        points_BID = self.points.expand(*x_BLD.shape[:-2], -1, -1)
        points_BID = points_BID + self.gather(self.points_norm(points_BID), seen_BLD, mask_BL)
        x_BLD = x_BLD + self.dropout(self.give(seen_BLD, self.given_norm(points_BID)))
        return x_BLD + self.dropout(self.mlp(self.mlp_norm(x_BLD)))
