"""NDT, the neural data transformer (Ye and Pandarinath 2021, arXiv 2108.01210): a token per bin of all units.

Without labels it learns rates: some bins are masked, and their counts are predicted as Poisson. With labels (NDT-Sup)
it is trained on classes directly. Shape as in EIT's table of rivals.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel

from finetune.reproduce.models.decoder import Decoder, DecoderConfig, DecoderOutput, Table
from finetune.reproduce.models.wide_attention import WideBlock
from foundation.common.settings.setting_checks import check_range, check_whole, check_width


class NDTConfig(DecoderConfig):
    """Shape of NDT.

    Args:
        n_units, n_bins, n_classes: as in `DecoderConfig`.
        dropout: of the branches of each layer.
        widening: features of a token over units.
        layers, heads, head_dim, mlp_ratio: of the transformer.
        supervised: trained on classes (NDT-Sup) instead of masked counts.
        mask_share: share of a window's bins that are masked; at least one is. 1/2 for windows of 2 bins, 1/6 for 6.
    """

    model_type = "ndt"

    def __init__(
        self,
        dropout: float = 0.5,
        widening: int = 2,
        layers: int = 4,
        heads: int = 6,
        head_dim: int = 64,
        mlp_ratio: float = 2.0,
        supervised: bool = False,
        mask_share: float = 0.5,
        **kwargs: Any,
    ) -> None:
        check_whole(1, widening=widening, layers=layers, heads=heads, head_dim=head_dim)
        check_range(0, 1, low_too=False, mask_share=mask_share)
        self.widening, self.layers, self.heads, self.head_dim = widening, layers, heads, head_dim
        self.mlp_ratio, self.supervised, self.mask_share = mlp_ratio, supervised, mask_share
        super().__init__(dropout=dropout, **kwargs)
        check_width(widening * self.n_units, mlp_ratio=mlp_ratio)


class NDT(Decoder):
    """Tokens of bins, a learned row per bin's place, a transformer, and rates or classes at every bin.

    Example:
        >>> model = NDT(NDTConfig(n_units=5, n_bins=2, heads=2, head_dim=8))
        >>> out = model(torch.randn(3, 5, 2), counts_BNT=torch.ones(3, 5, 2))
        >>> out.loss.ndim, tuple(out.p_BTD.shape)
        (0, (3, 2, 5))
    """

    config_class = NDTConfig
    supports_gradient_checkpointing = True

    def __init__(self, config: NDTConfig) -> None:
        super().__init__(config)
        dim = config.widening * config.n_units
        self.read_in = nn.Linear(config.n_units, dim)
        self.places = Table(config.n_bins, dim)
        shape = (dim, config.heads, config.head_dim, config.mlp_ratio, config.dropout)
        self.blocks = nn.ModuleList(WideBlock(*shape) for _ in range(config.layers))
        self.read_out = nn.Linear(dim, config.n_units)
        self.head = nn.Linear(config.n_units, config.n_classes)
        self.post_init()

    def forward(
        self,
        x_BNT: torch.Tensor,
        labels_BT: torch.Tensor | None = None,
        counts_BNT: torch.Tensor | None = None,
    ) -> DecoderOutput:
        """Classes at every bin; see `Decoder`. ``p_BTD`` are log rates.

        Args:
            x_BNT: ``(B, N, T)`` activity.
            labels_BT: classes, for NDT-Sup.
            counts_BNT: events in each bin: without ``supervised``, the loss is of their masked bins.
        """
        self.check(x_BNT)
        masked_BT = None
        if counts_BNT is not None and not self.config.supervised:
            masked_BT = self.draw_mask(len(x_BNT), x_BNT.device)
            x_BNT = x_BNT * ~masked_BT[:, None]
        h_BTD = self.read_in(x_BNT.transpose(1, 2)) + self.places()
        for block in self.blocks:
            h_BTD = block(h_BTD)
        p_BTD = self.read_out(h_BTD)
        logits_BTC = self.head(p_BTD)
        loss = self.classify(logits_BTC, labels_BT) if self.config.supervised else None
        if counts_BNT is not None and masked_BT is not None:
            loss = F.poisson_nll_loss(p_BTD[masked_BT], counts_BNT.transpose(1, 2)[masked_BT], log_input=True)
        return DecoderOutput(loss=loss, logits_BTC=logits_BTC, p_BTD=p_BTD)

    def draw_mask(self, batch: int, device: torch.device) -> torch.Tensor:
        """``(B, T)`` bool, the same number of masked bins in every window, drawn from torch's generator."""
        n_bins = self.config.n_bins
        n_masked = max(1, round(n_bins * self.config.mask_share))
        return torch.rand(batch, n_bins, device=device).argsort(1).argsort(1) < n_masked


AutoConfig.register(NDTConfig.model_type, NDTConfig, exist_ok=True)
AutoModel.register(NDTConfig, NDT, exist_ok=True)
