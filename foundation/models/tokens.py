"""Patches of bins as tokens, of units and of context."""

from __future__ import annotations

import math

import torch
from torch import nn

from foundation.models.config import EITConfig


class ReadIn(nn.Linear):
    """From the bins of a token to its features."""


class ContextIn(nn.Linear):
    """From what holds for a whole window; starts small, so that it does not drown what differs between units."""


class TokenEmbedding(nn.Module):
    """Patches of bins as tokens. The bin width and what the numbers are (events or values) are inputs, not guesses."""

    FREQUENCIES = 8

    def __init__(self, config: EITConfig) -> None:
        super().__init__()
        self.patch_length = config.patch_length
        self.count_transform, self.value_transform = config.count_transform, config.value_transform
        self.read_in = ReadIn(config.patch_length, config.dim)
        self.modality = nn.Embedding(2, config.dim)
        self.bin_width = ContextIn(2 * self.FREQUENCIES, config.dim)

    def forward(self, x_BNT: torch.Tensor, dt_B: torch.Tensor, modality_B: torch.Tensor) -> torch.Tensor:
        """``(B, N, T * patch_length)`` bins to ``(B, N, T, D)`` tokens."""
        values = modality_B[:, None, None] == 1
        scaled = torch.where(values, self._values(x_BNT), self._counts(x_BNT))
        patches = scaled.unflatten(-1, (-1, self.patch_length))
        weight = self.read_in.weight
        context = self.modality(modality_B) + self.bin_width(self._width_features(dt_B).to(weight.dtype))
        return self.read_in(patches.to(weight.dtype)) + context[:, None, None, :]

    def _counts(self, x_BNT: torch.Tensor) -> torch.Tensor:
        # Counts span decades and are never negative.
        if self.count_transform == "none":
            return x_BNT
        return torch.log1p(x_BNT.clamp(min=0)) if self.count_transform == "log1p" else x_BNT.clamp(min=0).sqrt()

    def _values(self, x_BNT: torch.Tensor) -> torch.Tensor:
        # Sampled values may be either side of 0.
        return torch.asinh(x_BNT) if self.value_transform == "asinh" else x_BNT

    def _width_features(self, dt_B: torch.Tensor) -> torch.Tensor:
        decades = torch.log10(dt_B.float())[:, None]
        k = torch.arange(self.FREQUENCIES, device=dt_B.device, dtype=torch.float32)
        angles = decades * (2.0**k) * (math.pi / 8)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class ContextEmbedding(nn.Module):
    """Channels of stimulus, behaviour and session as tokens: a channel's bins, and which channel it is.

    What does not change over time (a session) is a channel of ones.
    """

    def __init__(self, config: EITConfig) -> None:
        super().__init__()
        self.patch_length = config.patch_length
        self.read_in = ReadIn(config.patch_length, config.dim)
        self.channel = nn.Embedding(len(config.context_channels), config.dim)

    def forward(self, context_BCT: torch.Tensor, context_id_BC: torch.Tensor) -> torch.Tensor:
        """``(B, C, T * patch_length)`` bins to ``(B, C, T, D)`` tokens."""
        patches = torch.asinh(context_BCT).unflatten(-1, (-1, self.patch_length))
        return self.read_in(patches.to(self.read_in.weight.dtype)) + self.channel(context_id_BC)[:, :, None]
