"""EIT, the embedded interaction transformer: each unit's dynamics first, then units interact.

Liu et al. 2022 (arXiv 2206.06131) embed every neuron's activity over time with a module that all neurons share, then
let neurons interact at each time. Here the interaction module has no table of neurons: it is equivariant to their
order and blind to their number, so one checkpoint serves every population.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.utils import ModelOutput

from foundation.models.attention import Block, BranchEnd, rotary_angles
from foundation.models.config import EITConfig


@dataclass
class EITOutput(ModelOutput):
    """What EIT says of B windows of N units and T tokens.

    Args:
        h_BNTD: every unit at every token; 0 where padded.
        z_BND: every unit, the mean over its tokens.
        p_BTD: the population at every token, the mean over its units.
    """

    h_BNTD: torch.Tensor | None = None
    z_BND: torch.Tensor | None = None
    p_BTD: torch.Tensor | None = None


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
        self.read_in = ReadIn(config.patch_length, config.dim)
        self.modality = nn.Embedding(2, config.dim)
        self.bin_width = ContextIn(2 * self.FREQUENCIES, config.dim)

    def forward(self, x_BNT: torch.Tensor, dt_B: torch.Tensor, modality_B: torch.Tensor) -> torch.Tensor:
        """``(B, N, T * patch_length)`` bins to ``(B, N, T, D)`` tokens."""
        values = modality_B[:, None, None] == 1
        # Counts span decades and are never negative; sampled values may be either side of 0.
        scaled = torch.where(values, torch.asinh(x_BNT), torch.log1p(x_BNT.clamp(min=0)))
        patches = scaled.unflatten(-1, (-1, self.patch_length))
        weight = self.read_in.weight
        context = self.modality(modality_B) + self.bin_width(self._width_features(dt_B).to(weight.dtype))
        return self.read_in(patches.to(weight.dtype)) + context[:, None, None, :]

    def _width_features(self, dt_B: torch.Tensor) -> torch.Tensor:
        decades = torch.log10(dt_B.float())[:, None]
        k = torch.arange(self.FREQUENCIES, device=dt_B.device, dtype=torch.float32)
        angles = decades * (2.0**k) * (math.pi / 8)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class Interaction(nn.Module):
    """Units see each other at each time, then each sees its own time again."""

    def __init__(self, config: EITConfig) -> None:
        super().__init__()
        shape = (config.dim, config.heads, config.mlp_ratio, config.dropout)
        self.across_units = Block(*shape)
        self.across_time = Block(*shape)

    def forward(
        self, h_BNTD: torch.Tensor, mask_BN: torch.Tensor, mask_BT: torch.Tensor, angles_BTP: torch.Tensor
    ) -> torch.Tensor:
        """Same shape in and out."""
        batch, n_units, n_tokens, dim = h_BNTD.shape
        h = h_BNTD.transpose(1, 2).reshape(batch * n_tokens, n_units, dim)
        h = self.across_units(h, mask_BN.repeat_interleave(n_tokens, dim=0))
        h_BNTD = h.view(batch, n_tokens, n_units, dim).transpose(1, 2)
        return over_time(self.across_time, h_BNTD, mask_BT, angles_BTP)


def over_time(block: nn.Module, h_BNTD: torch.Tensor, mask_BT: torch.Tensor, angles_BTP: torch.Tensor) -> torch.Tensor:
    """Run a block over the time of every unit by itself."""
    batch, n_units, n_tokens, dim = h_BNTD.shape
    h = h_BNTD.reshape(batch * n_units, n_tokens, dim)
    mask, angles = (a.repeat_interleave(n_units, dim=0) for a in (mask_BT, angles_BTP))
    return block(h, mask, angles).view(batch, n_units, n_tokens, dim)


class EIT(PreTrainedModel):
    """The foundation model: `from_pretrained`, `save_pretrained` and AutoModel work as for any transformers model.

    Args:
        config: its shape.

    Example:
        >>> model = EIT(EITConfig(dim=16, heads=2))
        >>> out = model(torch.ones(1, 3, 8), torch.ones(1, 3, dtype=bool), torch.ones(1, 8, dtype=bool),
        ...             torch.tensor([0.02]), torch.tensor([0]))
        >>> tuple(out.h_BNTD.shape), tuple(out.z_BND.shape), tuple(out.p_BTD.shape)
        ((1, 3, 2, 16), (1, 3, 16), (1, 2, 16))
    """

    config_class = EITConfig
    base_model_prefix = "eit"
    main_input_name = "x_BNT"

    def __init__(self, config: EITConfig) -> None:
        super().__init__(config)
        self.embed = TokenEmbedding(config)
        shape = (config.dim, config.heads, config.mlp_ratio, config.dropout)
        self.individual = nn.ModuleList(Block(*shape) for _ in range(config.individual_layers))
        self.interaction = nn.ModuleList(Interaction(config) for _ in range(config.interaction_layers))
        self.norm = nn.LayerNorm(config.dim)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            # What a residual branch adds is scaled down, so that the sum of all keeps its size whatever the depth.
            branches = 2 * (self.config.individual_layers + 2 * self.config.interaction_layers)
            scale = branches**-0.5 if isinstance(module, BranchEnd) else 1.0
            std = scale * module.in_features**-0.5
            if isinstance(module, ReadIn):
                std = 1.0  # most bins hold no event, so what comes in is far smaller than the number of bins says
            elif isinstance(module, ContextIn):
                std *= 0.1
            nn.init.normal_(module.weight, std=std)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.1)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)

    def forward(
        self,
        x_BNT: torch.Tensor,
        mask_BN: torch.Tensor,
        mask_BT: torch.Tensor,
        dt_B: torch.Tensor,
        modality_B: torch.Tensor,
        **_: object,
    ) -> EITOutput:
        """Embed windows.

        Args:
            x_BNT: ``(B, N, T * patch_length)`` activity in bins, 0 where padded.
            mask_BN: ``(B, N)`` bool, which units are there; at least one a window.
            mask_BT: ``(B, T * patch_length)`` bool, which bins are there; a token is there if all its bins are.
            dt_B: ``(B,)`` seconds, the width of a bin.
            modality_B: ``(B,)`` 0 for counts, 1 for values.

        Raises:
            ValueError: if the bins do not make whole tokens.
        """
        patch = self.config.patch_length
        if x_BNT.shape[-1] % patch:
            raise ValueError(f"{x_BNT.shape[-1]} bins do not make whole tokens of {patch} bins (patch_length)")
        tokens_BT = mask_BT.unflatten(-1, (-1, patch)).all(-1)
        seconds_BT = torch.arange(tokens_BT.shape[1], device=dt_B.device) * dt_B.float()[:, None] * patch
        pairs = self.config.dim // self.config.heads // 2
        angles_BTP = rotary_angles(seconds_BT, pairs, self.config.rotary_shortest, self.config.rotary_longest)
        h_BNTD = self.embed(x_BNT, dt_B, modality_B)
        for block in self.individual:
            h_BNTD = over_time(block, h_BNTD, tokens_BT, angles_BTP)
        for interaction in self.interaction:
            h_BNTD = interaction(h_BNTD, mask_BN, tokens_BT, angles_BTP)
        there = (mask_BN[:, :, None] & tokens_BT[:, None, :])[..., None]
        h_BNTD = self.norm(h_BNTD) * there
        z_BND = h_BNTD.sum(2) / tokens_BT.sum(1).clamp(min=1)[:, None, None]
        p_BTD = h_BNTD.sum(1) / mask_BN.sum(1).clamp(min=1)[:, None, None]
        return EITOutput(h_BNTD=h_BNTD, z_BND=z_BND, p_BTD=p_BTD)


AutoConfig.register("eit", EITConfig, exist_ok=True)
AutoModel.register(EITConfig, EIT, exist_ok=True)
