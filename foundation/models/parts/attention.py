"""Attention with positions in seconds."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F


class Phases(NamedTuple):
    """Cosine and sine of the angles by which pairs of features rotate, ``(..., T, pairs)`` each."""

    cos: torch.Tensor
    sin: torch.Tensor


def rotary_angles(seconds_BT: torch.Tensor, n_pairs: int, shortest: float, longest: float) -> torch.Tensor:
    """Return the angles by which pairs of features rotate with time.

    Pair ``k`` rotates once in a period; periods are spaced geometrically from ``shortest`` to ``longest`` seconds.
    Attention therefore depends only on time differences: a shift of all times changes phases alone (RoFormer,
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


def phases(angles: torch.Tensor, dtype: torch.dtype = torch.float32) -> Phases:
    """Return cosine and sine of angles; computed once for all layers."""
    return Phases(angles.cos().to(dtype), angles.sin().to(dtype))


def rotate(x_THD: torch.Tensor, turn_TP: Phases) -> torch.Tensor:
    """Rotate pairs of features ``(d, d + P)`` of every head by the angles of their time; other features stay.

    Args:
        x_THD: ``(..., T, H, D)`` features of H heads.
        turn_TP: ``(..., T, P)`` phases, ``2 * P`` at most D; leading axes broadcast.

    Example:
        >>> x = torch.randn(2, 5, 3, 8)
        >>> turned = rotate(x, phases(torch.rand(2, 5, 4)))
        >>> torch.allclose(turned.norm(dim=-1), x.norm(dim=-1), atol=1e-5)
        True
    """
    cos, sin = (part[..., None, :] for part in turn_TP)
    n_pairs = cos.shape[-1]
    x = x_THD.to(cos.dtype)
    first, second, rest = x[..., :n_pairs], x[..., n_pairs : 2 * n_pairs], x[..., 2 * n_pairs :]
    turned = [torch.addcmul(first * cos, second, sin, value=-1), torch.addcmul(second * cos, first, sin)]
    return torch.cat([*turned, rest] if rest.shape[-1] else turned, dim=-1).to(x_THD.dtype)


def key_mask(mask_BL: torch.Tensor | None) -> torch.Tensor | None:
    """Return a ``(B, 1, 1, L)`` mask; a row without valid keys attends to everything, as an empty row gives NaN."""
    if mask_BL is None:
        return None
    return (mask_BL | ~mask_BL.any(-1, keepdim=True))[:, None, None, :]


def past_mask(mask_BL: torch.Tensor | None, length: int, device: torch.device) -> torch.Tensor:
    """Return a ``(B or 1, 1, L, L)`` mask: each position attends to itself and to valid earlier positions.

    Example:
        >>> past_mask(torch.tensor([[False, True]]), 2, torch.device("cpu")).int().tolist()
        [[[[1, 0], [0, 1]]]]
    """
    past_LL = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    if mask_BL is None:
        return past_LL[None, None]
    own_LL = torch.eye(length, dtype=torch.bool, device=device)
    return ((past_LL & mask_BL[:, None, :]) | own_LL)[:, None]


class Hidden(nn.Linear):
    """A matrix whose number of inputs, and so its learning rate, depends on the model's width (`param_groups`)."""


class BranchEnd(Hidden):
    """The last layer of a residual branch; its initial weights are smaller the more branches there are."""


class Attention(nn.Module):
    """Multi-head self-attention over one axis, with optional masked keys and rotary times.

    Args:
        dim: features D.
        heads: heads; must divide ``dim``.
        rotate_values: also rotate values, and rotate them back at the query, so that the output depends on the time
            between the two as well.
        causal: a position attends only to itself and earlier ones.
    """

    def __init__(self, dim: int, heads: int, rotate_values: bool = False, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.rotate_values, self.causal = heads, rotate_values, causal
        self.qkv = Hidden(dim, 3 * dim)
        self.out = BranchEnd(dim, dim)

    def forward(self, x_BLD: torch.Tensor, mask_BL: torch.Tensor | None, turn: Phases | None = None) -> torch.Tensor:
        """Mix L positions; keys with ``mask_BL`` false are ignored."""
        q, k, v = self._heads(x_BLD, turn)
        seen = past_mask(mask_BL, q.shape[2], q.device) if self.causal else key_mask(mask_BL)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2)
        if turn is not None and self.rotate_values:
            mixed = rotate(mixed.reshape(*x_BLD.shape[:-1], self.heads, -1), Phases(turn.cos, -turn.sin))
        return self.out(mixed.reshape(x_BLD.shape))

    def newest(self, x_BLD: torch.Tensor, turn: Phases | None = None) -> torch.Tensor:
        """Return ``(..., 1, D)``: what `forward` gives for the last position, without computing the others."""
        q, k, v = self._heads(x_BLD, turn)
        mixed = F.scaled_dot_product_attention(q[:, :, -1:], k, v).transpose(1, 2)
        if turn is not None and self.rotate_values:
            back = Phases(turn.cos[..., -1:, :], -turn.sin[..., -1:, :])
            mixed = rotate(mixed.reshape(*x_BLD.shape[:-2], 1, self.heads, -1), back)
        return self.out(mixed.reshape(*x_BLD.shape[:-2], 1, x_BLD.shape[-1]))

    def _heads(self, x_BLD: torch.Tensor, turn: Phases | None) -> list[torch.Tensor]:
        """Return queries, keys and values, ``(rows, H, L, D / H)`` each."""
        qkv = self.qkv(x_BLD).unflatten(-1, (3 * self.heads, -1))
        turned, kept = qkv.split([n * self.heads for n in ((3, 0) if self.rotate_values else (2, 1))], dim=-2)
        if turn is not None:
            turned = rotate(turned, turn)
        heads_first = [part.flatten(0, -4).transpose(1, 2) for part in (turned, kept)]
        return [piece for part in heads_first for piece in part.split(self.heads, dim=1) if piece.shape[1]]


class CrossAttention(nn.Module):
    """Multi-head attention from some rows to others.

    Args:
        dim: features D.
        heads: heads; must divide ``dim``.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = Hidden(dim, dim)
        self.kv = Hidden(dim, 2 * dim)
        self.out = BranchEnd(dim, dim)

    def forward(self, x_BLD: torch.Tensor, y_BMD: torch.Tensor, mask_BM: torch.Tensor | None = None) -> torch.Tensor:
        """Return the attention output of L rows over M rows; rows with ``mask_BM`` false are ignored."""
        q = self.q(x_BLD).unflatten(-1, (self.heads, -1)).flatten(0, -4).transpose(1, 2)
        kv = self.kv(y_BMD).unflatten(-1, (2 * self.heads, -1)).flatten(0, -4).transpose(1, 2)
        k, v = kv.split(self.heads, dim=1)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=key_mask(mask_BM))
        return self.out(mixed.transpose(1, 2).reshape(x_BLD.shape))
