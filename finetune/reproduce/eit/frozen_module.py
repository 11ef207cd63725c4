"""A head on a frozen individual module: what the module says of a window never changes, so it is computed once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from finetune.reproduce.eit.decoding import represent
from finetune.reproduce.eit.reaching_trials import Cuts
from finetune.reproduce.models import DecoderOutput, EITPublished


def seen_through(model: EITPublished, cuts: Cuts) -> Cuts:
    """The same windows as ``model``'s individual module gives them: ``x_WNT`` is its number of each unit and bin."""
    return replace(cuts, x_WNT=represent(model, cuts).transpose(0, 2, 1).copy())


class FrozenHead(nn.Module):
    """The head of an EIT (T), of windows that its individual module has `seen_through` already.

    Args:
        model: EIT (T); its head is this one's, and trains with it.

    Example:
        >>> import numpy as np
        >>> from finetune.reproduce.models import EITPublishedConfig
        >>> model = EITPublished(EITPublishedConfig(n_units=3, n_bins=2, interaction_layers=0)).eval()
        >>> windows = Cuts(np.ones((4, 3, 2), np.float32), np.ones((4, 3, 2), np.float32), np.arange(4), np.arange(4))
        >>> seen = torch.from_numpy(seen_through(model, windows).x_WNT)
        >>> plain = model(torch.from_numpy(windows.x_WNT)).logits_BTC
        >>> torch.allclose(FrozenHead(model).eval()(seen).logits_BTC, plain, atol=1e-6)
        True
    """

    def __init__(self, model: EITPublished) -> None:
        super().__init__()
        self.head, self.classify = model.individual_head, model.classify

    def forward(self, z_BNT: torch.Tensor, labels_BT: torch.Tensor | None = None, **_: Any) -> DecoderOutput:
        """Classes at every bin, as `EITPublished` without interaction gives them."""
        p_BTD = z_BNT.transpose(1, 2)
        logits_BTC = self.head(p_BTD)
        return DecoderOutput(loss=self.classify(logits_BTC, labels_BT), logits_BTC=logits_BTC, p_BTD=p_BTD)
