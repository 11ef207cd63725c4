"""Base of models of one fixed population: windows of activity in, a class at every time step out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from foundation.common.settings.setting_checks import check_range, check_whole


@dataclass
class DecoderOutput(ModelOutput):
    """Output of a decoder for B windows of T bins.

    Args:
        loss: training loss, if labels are given or not needed.
        logits_BTC: for each of C classes.
        p_BTD: population features at every bin, the input of the last layer.
    """

    loss: torch.Tensor | None = None
    logits_BTC: torch.Tensor | None = None
    p_BTD: torch.Tensor | None = None


class DecoderConfig(PretrainedConfig):
    """Configuration shared by all decoders.

    Args:
        n_units: units of the population.
        n_bins: bins of a window.
        n_classes: classes.
        dropout: see each model.

    Raises:
        ConfigError: if a value is invalid.
    """

    def __init__(
        self, n_units: int = 1, n_bins: int = 2, n_classes: int = 8, dropout: float = 0.5, **kwargs: Any
    ) -> None:
        check_whole(1, n_units=n_units, n_bins=n_bins, n_classes=n_classes)
        check_range(0, 1, dropout=dropout)
        self.n_units, self.n_bins, self.n_classes, self.dropout = n_units, n_bins, n_classes, dropout
        super().__init__(**kwargs)


class Decoder(PreTrainedModel):
    """Base of the decoders: `from_pretrained`, `save_pretrained` and AutoModel as for EIT; torch's own initialisation.

    A subclass has ``config_class`` and ``forward(x_BNT, labels_BT=None, counts_BNT=None) -> DecoderOutput``, where
    ``x_BNT`` is ``(B, N, T)`` activity, ``labels_BT`` int64 classes and ``counts_BNT`` the events in each bin: all take
    them, so that one loop trains all, and `NDT` alone learns from them.
    """

    base_model_prefix = "decoder"
    main_input_name = "x_BNT"
    _supports_sdpa = True

    def _init_weights(self, module: nn.Module) -> None:
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()

    def classify(self, logits_BTC: torch.Tensor, labels_BT: torch.Tensor | None) -> torch.Tensor | None:
        """Mean cross-entropy over windows and bins, where labels are given."""
        return None if labels_BT is None else F.cross_entropy(logits_BTC.flatten(0, 1), labels_BT.flatten())

    def check(self, x_BNT: torch.Tensor) -> None:
        """Raise ValueError if the windows have another population or length."""
        wanted = (self.config.n_units, self.config.n_bins)
        if tuple(x_BNT.shape[1:]) != wanted:
            raise ValueError(
                f"windows of {x_BNT.shape[1]} units and {x_BNT.shape[2]} bins: expected {wanted[0]} units and "
                f"{wanted[1]} bins"
            )


class Table(nn.Module):
    """A learned row per unit or bin, standard normal at the start."""

    def __init__(self, rows: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reinitialise the rows."""
        nn.init.normal_(self.weight)

    def forward(self) -> torch.Tensor:
        """``(rows, D)``."""
        return self.weight
