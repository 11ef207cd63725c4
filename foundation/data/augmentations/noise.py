"""Augmentations of values: normal noise and pepper noise."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from foundation.data.batch import WindowBatch
from foundation.data.keyed_random import Draws

if TYPE_CHECKING:
    from foundation.data.augmentations import Augmentation


def _there(view: WindowBatch) -> torch.Tensor:
    return view.mask_BN[:, :, None] & view.mask_BT[:, None, :]


def noise(view: WindowBatch, draws: Draws, settings: Augmentation, tokens: int) -> WindowBatch:
    """Add normal noise to every observed bin, in the unit of the activity; counts are no longer whole numbers."""
    added = draws.normal(*view.x_BNT.shape[1:]) * float(settings.size or 0.0)
    return replace(view, x_BNT=view.x_BNT + (added * _there(view)).to(view.x_BNT.dtype))


def pepper(view: WindowBatch, draws: Draws, settings: Augmentation, tokens: int) -> WindowBatch:
    """Add a fixed number to a share of the observed bins."""
    hit = draws.uniform(*view.x_BNT.shape[1:]) < float(settings.share or 0.0)
    return replace(view, x_BNT=view.x_BNT + float(settings.size or 0.0) * (hit & _there(view)))
