"""Augmentations of neural activity, on the batch's device, drawn per window or shared by all of its views.

Every draw is keyed by (seed, step, item, view, place in the list), so the same windows get the same augmentations on
any number of processes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from foundation.data.augmentation_settings import Augmentation
from foundation.data.augmentations.noise import noise, pepper
from foundation.data.augmentations.time import segment_length, temporal_jitter, time_scaling
from foundation.data.augmentations.units import neuron_dropout, unit_subsampling
from foundation.data.batch import WindowBatch
from foundation.data.keyed_random import Draws
from foundation.data.steps.step import StepContext

AUGMENTATIONS: dict[str, Callable[..., WindowBatch]] = {
    "neuron_dropout": neuron_dropout,
    "unit_subsampling": unit_subsampling,
    "noise": noise,
    "pepper": pepper,
    "temporal_jitter": temporal_jitter,
    "segment_length": segment_length,
    "time_scaling": time_scaling,
}


def augment(
    view: WindowBatch, augmentations: list[Augmentation], context: StepContext, number: int, tokens: int = 1
) -> WindowBatch:
    """Return a view with augmentations applied in order; the input batch is not changed.

    Args:
        view: B windows.
        augmentations: settings, in order.
        context: position of the windows in the run.
        number: index of the view among the objective's views.
        tokens: bins of a token; stretches of time are cut to whole tokens.

    Example:
        >>> from foundation.data import pad_windows
        >>> import numpy as np
        >>> view = pad_windows([np.ones((40, 8))], bin_widths=[0.1], starts=[0.0], modalities=[0], bins_per_token=4)
        >>> context = StepContext.alone(view)
        >>> half = augment(view, [Augmentation("neuron_dropout", share=0.5)], context, 0)
        >>> 5 < int(half.x_BNT[0, :, 0].sum()) < 35
        True
    """
    for place, settings in enumerate(augmentations):
        draws = context.draws(settings.name, place)
        draws = draws if settings.same else draws.child("view", number)
        applied = AUGMENTATIONS[settings.name](view, draws, settings, tokens)
        view = _for_some(view, applied, draws, settings.chance)
    return view


def _for_some(before: WindowBatch, after: WindowBatch, draws: Draws, chance: float) -> WindowBatch:
    """Return windows with the augmentation applied to the drawn ones; the others are unchanged."""
    if chance >= 1:
        return after
    on_B = draws.child("chance").uniform() < chance
    return replace(
        before,
        x_BNT=torch.where(on_B[:, None, None], after.x_BNT, before.x_BNT),
        mask_BN=torch.where(on_B[:, None], after.mask_BN, before.mask_BN),
        mask_BT=torch.where(on_B[:, None], after.mask_BT, before.mask_BT),
    )


__all__ = ["AUGMENTATIONS", "Augmentation", "augment"]
