"""Attention with positions in seconds, and the pre-norm block that every module of EIT is made of."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F


def rotary_angles(seconds_BT: torch.Tensor, n_pairs: int, shortest: float, longest: float) -> torch.Tensor:
    """Angles by which pairs of features turn with time.

    Pair ``k`` turns once in a period that runs geometrically from ``shortest`` to ``longest`` seconds. Attention then
    depends on time differences alone: moving all times by the same amount changes phases only (RoFormer,
    arXiv 2104.09864, eq. 34, with seconds for positions).

    Args:
        seconds_BT: ``(B, T)`` times.
        n_pairs: pairs of features of one head.
        shortest, longest: periods in seconds.

    Returns:
        ``(B, T, n_pairs)`` float32 radians.
    """
    steps = torch.linspace(0.0, 1.0, n_pairs, device=seconds_BT.device, dtype=torch.float32)
    periods = shortest * (longest / shortest) ** steps
    return seconds_BT.float()[..., None] * (2 * math.pi / periods)


def rotate(x_BHTD: torch.Tensor, angles_BTP: torch.Tensor) -> torch.Tensor:
    """Turn pairs of features ``(d, d + D/2)`` of every head by the angles of their time.

    Example:
        >>> x = torch.randn(2, 3, 5, 8)
        >>> turned = rotate(x, torch.rand(2, 5, 4))
        >>> torch.allclose(turned.norm(dim=-1), x.norm(dim=-1), atol=1e-5)
        True
    """
    cos, sin = angles_BTP.cos()[:, None], angles_BTP.sin()[:, None]
    first, second = x_BHTD.to(cos.dtype).chunk(2, dim=-1)
    turned = torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
    return turned.to(x_BHTD.dtype)


class BranchEnd(nn.Linear):
    """The last layer of a residual branch: the model starts it smaller, the more branches there are."""


class Attention(nn.Module):
    """Multi-head self-attention over one axis, with keys that may be masked and times that may turn.

    Args:
        dim: features D.
        heads: heads; must divide ``dim``.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = BranchEnd(dim, dim)

    def forward(
        self, x_BLD: torch.Tensor, mask_BL: torch.Tensor, angles_BLP: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Mix L positions; keys where ``mask_BL`` is false are not seen. At least one key of a row must be there."""
        batch, length, dim = x_BLD.shape
        q, k, v = self.qkv(x_BLD).view(batch, length, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        if angles_BLP is not None:
            q, k = rotate(q, angles_BLP), rotate(k, angles_BLP)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask_BL[:, None, None, :])
        return self.out(mixed.transpose(1, 2).reshape(batch, length, dim))


class Block(nn.Module):
    """Attention and a feed-forward layer, each added to what comes in after a layer norm (pre-norm).

    Args:
        dim: features D.
        heads: attention heads.
        mlp_ratio: width of the feed-forward layer over ``dim``.
        dropout: share of each branch's output dropped in training.
    """

    def __init__(self, dim: int, heads: int, mlp_ratio: float, dropout: float) -> None:
        super().__init__()
        hidden = int(dim * mlp_ratio)
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp_in = nn.Linear(dim, hidden)
        self.mlp_out = BranchEnd(hidden, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x_BLD: torch.Tensor, mask_BL: torch.Tensor, angles_BLP: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Same shape in and out."""
        x_BLD = x_BLD + self.dropout(self.attention(self.attention_norm(x_BLD), mask_BL, angles_BLP))
        return x_BLD + self.dropout(self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(x_BLD)))))
