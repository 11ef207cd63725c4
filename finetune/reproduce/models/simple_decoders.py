"""Two decoders of a population that are not transformers: a linear layer per window, and a recurrent network."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from finetune.reproduce.models.decoder import Decoder, DecoderConfig, DecoderOutput
from foundation.common.settings.setting_checks import check_whole


class MLPDecoderConfig(DecoderConfig):
    """Shape of the MLP of EIT's table.

    Args:
        n_units, n_bins, n_classes: as in `DecoderConfig`.
        dropout: of the hidden features.
        dim: hidden features of each bin.
        layers: hidden layers; beyond one there is a ReLU between them.
    """

    model_type = "mlp-decoder"

    def __init__(self, dropout: float = 0.2, dim: int = 128, layers: int = 1, **kwargs: Any) -> None:
        check_whole(1, dim=dim, layers=layers)
        self.dim, self.layers = dim, layers
        super().__init__(dropout=dropout, **kwargs)


class MLPDecoder(Decoder):
    """The whole window through fully connected layers with batch norm, then a linear layer at every bin.

    Example:
        >>> tuple(MLPDecoder(MLPDecoderConfig(n_units=5, n_bins=2))(torch.randn(3, 5, 2)).logits_BTC.shape)
        (3, 2, 8)
    """

    config_class = MLPDecoderConfig

    def __init__(self, config: MLPDecoderConfig) -> None:
        super().__init__(config)
        hidden, width = config.dim * config.n_bins, config.n_units * config.n_bins
        layers: list[nn.Module] = []
        for layer in range(config.layers):
            layers += [nn.ReLU()] if layer else []
            layers += [nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.Dropout(config.dropout)]
            width = hidden
        self.hidden = nn.Sequential(*layers)
        self.head = nn.Linear(config.dim, config.n_classes)
        self.post_init()

    def forward(
        self, x_BNT: torch.Tensor, labels_BT: torch.Tensor | None = None, counts_BNT: torch.Tensor | None = None
    ) -> DecoderOutput:
        """Classes at every bin; see `Decoder`."""
        self.check(x_BNT)
        p_BTD = self.hidden(x_BNT.transpose(1, 2).flatten(1)).unflatten(-1, (self.config.n_bins, -1))
        logits_BTC = self.head(p_BTD)
        return DecoderOutput(loss=self.classify(logits_BTC, labels_BT), logits_BTC=logits_BTC, p_BTD=p_BTD)


class GRUDecoderConfig(DecoderConfig):
    """Shape of the GRU of EIT's table.

    Args:
        n_units, n_bins, n_classes: as in `DecoderConfig`; windows of other lengths also work.
        dropout: of the head's input.
        dim: hidden features in each direction.
    """

    model_type = "gru-decoder"

    def __init__(self, dropout: float = 0.2, dim: int = 256, **kwargs: Any) -> None:
        check_whole(1, dim=dim)
        self.dim = dim
        super().__init__(dropout=dropout, **kwargs)


class GRUDecoder(Decoder):
    """A recurrent layer in both directions, then a linear layer at every bin.

    Example:
        >>> tuple(GRUDecoder(GRUDecoderConfig(n_units=5))(torch.randn(3, 5, 2)).logits_BTC.shape)
        (3, 2, 8)
    """

    config_class = GRUDecoderConfig

    def __init__(self, config: GRUDecoderConfig) -> None:
        super().__init__(config)
        self.recurrent = nn.GRU(config.n_units, config.dim, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(2 * config.dim, config.n_classes)
        self.post_init()

    def forward(
        self, x_BNT: torch.Tensor, labels_BT: torch.Tensor | None = None, counts_BNT: torch.Tensor | None = None
    ) -> DecoderOutput:
        """Classes at every bin; see `Decoder`."""
        p_BTD = self.recurrent(x_BNT.transpose(1, 2))[0]
        logits_BTC = self.head(self.dropout(p_BTD))
        return DecoderOutput(loss=self.classify(logits_BTC, labels_BT), logits_BTC=logits_BTC, p_BTD=p_BTD)


for _config, _model in ((MLPDecoderConfig, MLPDecoder), (GRUDecoderConfig, GRUDecoder)):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
    AutoModel.register(_config, _model, exist_ok=True)
