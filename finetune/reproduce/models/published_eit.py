"""EIT as published (arXiv 2206.06131): a module shared by all units, then one with a table of units.

The first module alone is EIT (T). Details are as published: the individual module's attention has no residual and no
time position, the interaction has dropout 0.5, each module has its own head, and the table fixes the population.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from finetune.reproduce.models.decoder import Decoder, DecoderConfig, DecoderOutput, Table
from finetune.reproduce.models.wide_attention import Dropout, WideBlock
from foundation.common.settings.setting_checks import check_range, check_whole, check_width

REPEATING_BINS = 16  # longer windows of activity hardly ever repeat


class EITPublishedConfig(DecoderConfig):
    """Shape of the published EIT.

    Args:
        n_units, n_bins, n_classes: as in `DecoderConfig`.
        dropout: of the interaction module's branches.
        dim: features of a token.
        individual_layers, interaction_layers: layers of the two modules; no interaction layer makes EIT (T).
        heads, head_dim: attention of both.
        individual_ratio, interaction_ratio: widths of their feed-forward layers over ``dim``.
        individual_residual: adds a residual to the individual module's attention (not as published).
        head_dropout: of the heads' inputs.
        individual_weight: weight of the individual head's loss relative to the interaction head's.
    """

    model_type = "eit-published"

    def __init__(
        self,
        dropout: float = 0.5,
        dim: int = 16,
        individual_layers: int = 2,
        interaction_layers: int = 2,
        heads: int = 6,
        head_dim: int = 64,
        individual_ratio: float = 2.0,
        interaction_ratio: float = 1.0,
        individual_residual: bool = False,
        head_dropout: float = 0.5,
        individual_weight: float = 0.5,
        **kwargs: Any,
    ) -> None:
        check_whole(1, dim=dim, heads=heads, head_dim=head_dim, individual_layers=individual_layers)
        check_whole(0, interaction_layers=interaction_layers)
        check_width(dim, individual_ratio=individual_ratio, interaction_ratio=interaction_ratio)
        check_range(0, 1, head_dropout=head_dropout)
        check_range(0, individual_weight=individual_weight)
        self.dim = dim
        self.individual_layers, self.interaction_layers = individual_layers, interaction_layers
        self.heads, self.head_dim = heads, head_dim
        self.individual_ratio, self.interaction_ratio = individual_ratio, interaction_ratio
        self.individual_residual = individual_residual
        self.head_dropout, self.individual_weight = head_dropout, individual_weight
        super().__init__(dropout=dropout, **kwargs)


@dataclass
class EITPublishedOutput(DecoderOutput):
    """Output with ``individual_logits_BTC``, from the individual module's head."""

    individual_logits_BTC: torch.Tensor | None = None


def distinct_rows(x_RT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the indices of unique rows of float32, and each row's index into them.

    Example:
        >>> place, which = distinct_rows(torch.tensor([[1.0, 2.0], [0.0, 0.0], [1.0, 2.0]]))
        >>> place.shape, bool(which[0] == which[2]), bool(which[0] == which[1])
        (torch.Size([2]), True, False)
    """
    bits_RT = x_RT.contiguous().view(torch.int32).long() & 0xFFFFFFFF
    which_R = torch.zeros(len(x_RT), dtype=torch.int64, device=x_RT.device)
    for bits_R in bits_RT.unbind(1):  # split groups of equal rows by one more column
        which_R = torch.unique(which_R << 32 | bits_R, return_inverse=True)[1]
    place = which_R.new_empty(int(which_R.max()) + 1)
    return place.scatter_(0, which_R, torch.arange(len(x_RT), device=x_RT.device)), which_R


class IndividualModule(nn.Module):
    """Processes each unit separately over time with shared weights, independent of the population.

    It is deterministic, and bins with few events make many windows of a batch equal. On a CPU each distinct window is
    computed once.
    """

    def __init__(self, config: EITPublishedConfig) -> None:
        super().__init__()
        self.read_in = nn.Linear(1, config.dim)
        shape = (config.dim, config.heads, config.head_dim, config.individual_ratio, 0.0, config.individual_residual)
        self.blocks = nn.ModuleList(WideBlock(*shape) for _ in range(config.individual_layers))
        self.bottleneck = nn.Linear(config.dim, 1)

    def forward(self, x_BNT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens ``(B, N, T, D)``, and one number of each ``(B, N, T)``."""
        x_RT, which_R = x_BNT.flatten(0, 1), None
        if self._repeats(x_RT):
            place, which_R = distinct_rows(x_RT)
            x_RT = x_RT[place]
        h = self.read_in(x_RT[..., None])
        for block in self.blocks:
            h = block(h)
        z = self.bottleneck(h)[..., 0]
        if which_R is not None:
            h, z = h.index_select(0, which_R), z.index_select(0, which_R)
        return h.unflatten(0, x_BNT.shape[:2]), z.unflatten(0, x_BNT.shape[:2])

    @staticmethod
    def _repeats(x_RT: torch.Tensor) -> bool:
        """Whether searching for equal windows pays off."""
        short = len(x_RT) > 1 and x_RT.shape[1] <= REPEATING_BINS
        plain = x_RT.device.type == "cpu" and x_RT.dtype == torch.float32 and not x_RT.requires_grad
        return short and plain and not torch.compiler.is_compiling()


class InteractionModule(nn.Module):
    """Units at one time attend to each other; a learned row per unit identifies it."""

    def __init__(self, config: EITPublishedConfig) -> None:
        super().__init__()
        self.units = Table(config.n_units, config.dim)
        shape = (config.dim, config.heads, config.head_dim, config.interaction_ratio, config.dropout)
        self.blocks = nn.ModuleList(WideBlock(*shape) for _ in range(config.interaction_layers))
        self.bottleneck = nn.Linear(config.dim, 1)

    def forward(self, h_BNTD: torch.Tensor) -> torch.Tensor:
        """One number of each token ``(B, T, N)``."""
        h = h_BNTD.transpose(1, 2).flatten(0, 1) + self.units()
        for block in self.blocks:
            h = block(h)
        return self.bottleneck(h)[..., 0].unflatten(0, (h_BNTD.shape[0], h_BNTD.shape[2]))


class EITPublished(Decoder):
    """EIT as published. Without interaction layers it is EIT (T), the individual module with its head.

    Args:
        config: its shape.

    Example:
        >>> model = EITPublished(EITPublishedConfig(n_units=5, n_bins=2))
        >>> tuple(model(torch.randn(3, 5, 2)).logits_BTC.shape)
        (3, 2, 8)
    """

    config_class = EITPublishedConfig
    supports_gradient_checkpointing = True

    def __init__(self, config: EITPublishedConfig) -> None:
        super().__init__(config)
        self.individual = IndividualModule(config)
        self.individual_head = nn.Sequential(Dropout(config.head_dropout), nn.Linear(config.n_units, config.n_classes))
        self.interaction = self.head = None
        if config.interaction_layers:
            self.interaction = InteractionModule(config)
            self.head = nn.Sequential(
                nn.LayerNorm(config.n_units),
                Dropout(config.head_dropout),
                nn.Linear(config.n_units, config.n_classes),
            )
        self.post_init()

    def forward(
        self, x_BNT: torch.Tensor, labels_BT: torch.Tensor | None = None, counts_BNT: torch.Tensor | None = None
    ) -> EITPublishedOutput:
        """Classes at every bin; see `Decoder`."""
        if x_BNT.shape[1] != self.config.n_units:
            raise ValueError(f"windows of {x_BNT.shape[1]} units: expected {self.config.n_units}")
        h_BNTD, z_BNT = self.individual(x_BNT)
        p_BTD = z_BNT.transpose(1, 2)
        alone_BTC = self.individual_head(p_BTD)
        alone = self.classify(alone_BTC, labels_BT)
        if self.interaction is None or self.head is None:
            return EITPublishedOutput(loss=alone, logits_BTC=alone_BTC, p_BTD=p_BTD, individual_logits_BTC=alone_BTC)
        p_BTD = self.interaction(h_BNTD)
        logits_BTC = self.head(p_BTD)
        loss = self.classify(logits_BTC, labels_BT)
        if loss is not None and alone is not None:
            loss = loss + self.config.individual_weight * alone
        return EITPublishedOutput(loss=loss, logits_BTC=logits_BTC, p_BTD=p_BTD, individual_logits_BTC=alone_BTC)

    def transfer(self, n_units: int) -> EITPublished:
        """Return EIT (T) for another population: this individual module, frozen, with a new head."""
        config = EITPublishedConfig(**(self.config.to_dict() | {"n_units": n_units, "interaction_layers": 0}))
        other = EITPublished(config).to(self.device, self.dtype)
        other.individual.load_state_dict(self.individual.state_dict())
        other.individual.requires_grad_(False)
        return other


AutoConfig.register(EITPublishedConfig.model_type, EITPublishedConfig, exist_ok=True)
AutoModel.register(EITPublishedConfig, EITPublished, exist_ok=True)
