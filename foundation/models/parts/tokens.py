"""Patches of bins as tokens, for units and for context."""

from __future__ import annotations

import math

import torch
from torch import nn

from foundation.models.config import EITConfig


class ReadIn(nn.Linear):
    """Linear layer from the bins of a token to its features."""


class ContextIn(nn.Linear):
    """Linear layer for values of a whole window; initialised small, so as not to drown differences between units."""


FREQUENCIES = 8  # sines and cosines that encode a bin width


def scaled(x_BNT: torch.Tensor, modality_B: torch.Tensor, count_transform: str, value_transform: str) -> torch.Tensor:
    """Return counts and sampled values transformed to a moderate size; the shape stays the same.

    Args:
        x_BNT: activity.
        modality_B: 0 for counts, 1 for values.
        count_transform: ``log1p``, ``sqrt`` or ``none``: counts span decades and are never negative.
        value_transform: ``asinh`` or ``none``: sampled values may have either sign.

    Example:
        >>> scaled(torch.tensor([[[4.0, 9.0]]]), torch.tensor([0]), "sqrt", "asinh").tolist()
        [[[2.0, 3.0]]]
    """
    counts_BNT, values_BNT = scaled_counts(x_BNT, count_transform), scaled_values(x_BNT, value_transform)
    return torch.where(modality_B[:, None, None] == 1, values_BNT, counts_BNT)


def scaled_counts(x: torch.Tensor, transform: str) -> torch.Tensor:
    """Return counts of any shape, transformed by ``log1p``, ``sqrt`` or ``none``."""
    if transform == "none":
        return x
    return torch.log1p(x.clamp(min=0)) if transform == "log1p" else x.clamp(min=0).sqrt()


def scaled_values(x: torch.Tensor, transform: str) -> torch.Tensor:
    """Return sampled values of any shape, transformed by ``asinh`` or ``none``."""
    return torch.asinh(x) if transform == "asinh" else x


def blank(x_BNT: torch.Tensor, mask_BN: torch.Tensor | None, mask_BT: torch.Tensor | None) -> torch.Tensor:
    """Return activity with 0 where masked; multiplying by 0 would keep a NaN."""
    if mask_BN is not None:
        x_BNT = x_BNT.masked_fill(~mask_BN[:, :, None], 0)
    return x_BNT if mask_BT is None else x_BNT.masked_fill(~mask_BT[:, None, :], 0)


def width_features(dt_B: torch.Tensor) -> torch.Tensor:
    """Return ``(B, 2 * FREQUENCIES)`` features of widths in seconds: sines and cosines of their decade."""
    decades = torch.log10(dt_B.float())[:, None]
    k = torch.arange(FREQUENCIES, device=dt_B.device, dtype=torch.float32)
    angles = decades * (2.0**k) * (math.pi / 8)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class TokenEmbedding(nn.Module):
    """Patches of bins as tokens. The bin width and the modality (events or values) are inputs."""

    def __init__(self, config: EITConfig) -> None:
        super().__init__()
        self.patch_length = config.patch_length
        self.count_transform, self.value_transform = config.count_transform, config.value_transform
        self.read_in = ReadIn(config.patch_length, config.dim)
        self.modality = nn.Embedding(2, config.dim)
        self.bin_width = ContextIn(2 * FREQUENCIES, config.dim)

    def forward(
        self,
        x_BNT: torch.Tensor,
        dt_B: torch.Tensor,
        modality_B: torch.Tensor,
        mask_BN: torch.Tensor | None = None,
        mask_BT: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Map ``(B, N, T * patch_length)`` bins, anything where masked, to ``(B, N, T, D)`` tokens."""
        x_BNT = blank(x_BNT, mask_BN, mask_BT)
        scaled_BNT = scaled(x_BNT, modality_B, self.count_transform, self.value_transform)
        patches = scaled_BNT.unflatten(-1, (-1, self.patch_length))
        weight = self.read_in.weight
        context = self.modality(modality_B) + self.bin_width(width_features(dt_B).to(weight.dtype))
        return self.read_in(patches.to(weight.dtype)) + context[:, None, None, :]


class WindowContext(nn.Module):
    """Embedding that all tokens of a window share: seconds of a token, and events or values.

    Args:
        dim: features D.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.modality = nn.Embedding(2, dim)
        self.width = ContextIn(2 * FREQUENCIES, dim)

    def forward(self, token_B: torch.Tensor, modality_B: torch.Tensor) -> torch.Tensor:
        """Return ``(B, D)`` from seconds and modalities."""
        return self.modality(modality_B) + self.width(width_features(token_B).to(self.width.weight.dtype))


class ContextEmbedding(nn.Module):
    """Channels of stimulus, behaviour and session as tokens: a channel's bins, and which channel it is.

    A constant property (a session) is a channel of ones.
    """

    def __init__(self, config: EITConfig) -> None:
        super().__init__()
        self.patch_length = config.patch_length
        self.read_in = ReadIn(config.patch_length, config.dim)
        self.channel = nn.Embedding(len(config.context_channels), config.dim)

    def forward(self, context_BCT: torch.Tensor, context_id_BC: torch.Tensor) -> torch.Tensor:
        """Map ``(B, C, T * patch_length)`` bins to ``(B, C, T, D)`` tokens."""
        patches = torch.asinh(context_BCT).unflatten(-1, (-1, self.patch_length))
        return self.read_in(patches.to(self.read_in.weight.dtype)) + self.channel(context_id_BC)[:, :, None]
