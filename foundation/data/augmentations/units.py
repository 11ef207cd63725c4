"""Augmentations that drop units: set to 0, or removed from the window."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from foundation.data.batch import WindowBatch
from foundation.data.keyed_random import Draws

if TYPE_CHECKING:
    from foundation.data.augmentations import Augmentation


def neuron_dropout(view: WindowBatch, draws: Draws, settings: Augmentation, tokens: int) -> WindowBatch:
    """Set whole units to 0 with a fixed probability, or with one drawn per window (MYOW, arXiv 2102.10106)."""
    share_B1 = torch.full((len(view), 1), float(settings.share or 0.0), device=view.x_BNT.device)
    if settings.random:
        share_B1 = share_B1 * draws.child("share").uniform(1)
    kept_BN = draws.uniform(view.mask_BN.shape[1]) >= share_B1
    return replace(view, x_BNT=view.x_BNT * kept_BN[:, :, None])


def unit_subsampling(view: WindowBatch, draws: Draws, settings: Augmentation, tokens: int) -> WindowBatch:
    """Keep a random share of the units, from ``share`` to 1 and at least one, as if no others had been recorded."""
    least = float(settings.share or 0.0)
    n_units_B = view.mask_BN.sum(1)
    share_B = least + (1 - least) * draws.child("share").uniform()
    keep_B = (share_B * n_units_B).round().long().clamp(min=1)
    order_BN = draws.uniform(view.mask_BN.shape[1]).masked_fill(~view.mask_BN, 2.0)
    rank_BN = order_BN.argsort(dim=1, stable=True).argsort(dim=1)
    kept_BN = view.mask_BN & (rank_BN < keep_B[:, None])
    return replace(view, x_BNT=view.x_BNT * kept_BN[:, :, None], mask_BN=kept_BN)
