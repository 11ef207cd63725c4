"""Attention with heads wider than their inputs, computed without the wide matrices; and fast dropout."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`; on a CPU its mask is drawn as uniform numbers, about 4 times faster.

    The share and the scaling are the same; the masks of a seed differ from torch's.

    Example:
        >>> dropout, x = Dropout(0.25), torch.ones(4, 1000)
        >>> kept = dropout(x)
        >>> bool(((kept == 0) | (kept == 4 / 3)).all()), torch.equal(dropout.eval()(x), x)
        (True, True)
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Same shape in and out."""
        if not self.training or self.p == 0 or x.device.type != "cpu":
            return F.dropout(x, self.p, self.training)
        return x * (torch.rand(x.shape) >= self.p).to(x.dtype).mul_(1 / (1 - self.p))


class WideAttention(nn.Module):
    """Multi-head self-attention with heads of any width; queries, keys and values have no bias.

    With D features and heads of width E, scores are ``x Wq' Wk x'`` and a head's output is ``Wo Wv x``. Where D < E
    both products of matrices are D x D: they are computed first, once per step, and no queries, keys or values of
    width E are computed. Parameters, outputs and gradients are equal up to rounding.

    Args:
        dim: features D.
        heads: heads H.
        head_dim: width E of a head.

    Example:
        >>> attention = WideAttention(16, heads=6, head_dim=64)
        >>> x = torch.randn(3, 2, 16)
        >>> bool((attention(x) - attention.plain(x)).abs().max() < 1e-5)
        True
    """

    def __init__(self, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        self.qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.out = nn.Linear(heads * head_dim, dim)

    def forward(self, x_BLD: torch.Tensor) -> torch.Tensor:
        """Same shape in and out."""
        return self.folded(x_BLD) if x_BLD.shape[-1] < self.head_dim else self.plain(x_BLD)

    def plain(self, x_BLD: torch.Tensor) -> torch.Tensor:
        """Compute through queries, keys and values."""
        qkv = self.qkv(x_BLD).unflatten(-1, (3 * self.heads, self.head_dim)).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(*qkv.split(self.heads, dim=1))
        return self.out(mixed.transpose(1, 2).flatten(2))

    def folded(self, x_BLD: torch.Tensor) -> torch.Tensor:
        """Compute through the matrix products: H queries of width D per position over the L positions."""
        batch, length, dim = x_BLD.shape
        wq, wk, wv = self.qkv.weight.view(3, self.heads, self.head_dim, dim)
        scores_HDD = wk.transpose(-1, -2) @ wq * self.head_dim**-0.5
        values_HDD = self.out.weight.view(dim, self.heads, self.head_dim).transpose(0, 1) @ wv
        asked = F.linear(x_BLD, scores_HDD.flatten(0, 1)).view(batch, 1, length * self.heads, dim)
        seen = x_BLD[:, None]
        mixed = F.scaled_dot_product_attention(asked, seen, seen, scale=1.0).view(batch, length, self.heads * dim)
        return F.linear(mixed, values_HDD.transpose(0, 1).flatten(1), self.out.bias)


class WideBlock(GradientCheckpointingLayer):
    """Attention and a feed-forward layer, each after a layer norm; dropout after each of their last two steps.

    Args:
        dim, heads, head_dim: as in `WideAttention`.
        mlp_ratio: width of the feed-forward layer over ``dim``.
        dropout: share dropped.
        residual: add attention to its input; otherwise attention replaces it (the feed-forward layer is
            always added).
    """

    def __init__(
        self, dim: int, heads: int, head_dim: int, mlp_ratio: float, dropout: float, residual: bool = True
    ) -> None:
        super().__init__()
        self.residual = residual
        self.attention_norm, self.mlp_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = WideAttention(dim, heads, head_dim)
        self.dropout = Dropout(dropout)
        self.up, self.down = nn.Linear(dim, int(dim * mlp_ratio)), nn.Linear(int(dim * mlp_ratio), dim)

    def forward(self, x_BLD: torch.Tensor) -> torch.Tensor:
        """Same shape in and out."""
        mixed = self.dropout(self.attention(self.attention_norm(x_BLD)))
        x_BLD = x_BLD + mixed if self.residual else mixed
        return x_BLD + self.dropout(self.down(self.dropout(F.gelu(self.up(self.mlp_norm(x_BLD))))))
