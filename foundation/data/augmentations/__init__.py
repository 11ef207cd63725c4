"""Augmentations of neural activity: on the device of the batch, drawn per window or alike for all its views.

Every draw is keyed by (seed, step, item, view, place in the list), so the same windows get the same augmentations on
any number of processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from foundation.data.augmentations.noise import noise, pepper
from foundation.data.augmentations.time import segment_length, temporal_jitter, time_scaling
from foundation.data.augmentations.units import neuron_dropout, unit_subsampling
from foundation.data.batch import WindowBatch
from foundation.data.context import StepContext
from foundation.data.draws import Draws
from foundation.errors import ConfigError
from foundation.setting_checks import check_range

# name -> (what does it, whether it asks for a share, whether it asks for a size)
AUGMENTATIONS: dict[str, tuple[Callable[..., WindowBatch], bool, bool]] = {
    "neuron_dropout": (neuron_dropout, True, False),
    "unit_subsampling": (unit_subsampling, True, False),
    "noise": (noise, False, True),
    "pepper": (pepper, True, True),
    "temporal_jitter": (temporal_jitter, False, True),
    "segment_length": (segment_length, True, False),
    "time_scaling": (time_scaling, False, True),
}


@dataclass(frozen=True)
class Augmentation:
    """One augmentation; a list of them is applied in order.

    Args:
        name: ``neuron_dropout`` sets units to 0 (chance ``share`` each; with ``random`` each window draws its chance
            from 0 to ``share``); ``unit_subsampling`` takes units out of the window and keeps a share of at least
            ``share``; ``noise`` adds normal noise of standard deviation ``size``; ``pepper`` adds ``size`` to a share
            ``share`` of all bins; ``temporal_jitter`` moves a window by up to ``size`` bins; ``segment_length`` keeps a
            stretch of at least ``share`` of a window's tokens; ``time_scaling`` lets time run up to ``size`` times
            faster or slower.
        chance: the share of windows that get it.
        share: see above.
        size: see above.
        random: see above.
        same: the same draw for all views of a window, so that the augmentation itself never tells views apart.

    Raises:
        ConfigError: if there is no such augmentation, or a value is impossible.
    """

    name: str
    chance: float = 1.0
    share: float | None = None
    size: float | None = None
    random: bool = False
    same: bool = False

    def __post_init__(self) -> None:
        if self.name not in AUGMENTATIONS:
            raise ConfigError(f"name is {self.name!r}: one of {', '.join(sorted(AUGMENTATIONS))}")
        if not 0 <= self.chance <= 1:
            raise ConfigError(f"chance is {self.chance}: from 0 to 1")
        for key, wanted in zip(("share", "size"), AUGMENTATIONS[self.name][1:], strict=True):
            value = getattr(self, key)
            if wanted and value is None:
                raise ConfigError(f"{key} of {self.name} is not given: a number is needed")
            if not wanted and value is not None:
                raise ConfigError(f"{key} of {self.name} is {value}: it has none, leave it out")
        if self.share is not None and not 0 <= self.share <= 1:
            raise ConfigError(f"share of {self.name} is {self.share}: from 0 to 1")
        if self.random and self.name != "neuron_dropout":
            raise ConfigError(f"random of {self.name} is true: only neuron_dropout has it")
        if self.size is not None:
            least = {"noise": 0.0, "temporal_jitter": 0.0, "time_scaling": 1.0}.get(self.name, -math.inf)
            named: dict[str, Any] = {f"size of {self.name}": self.size}
            check_range(least, **named)


def augment(
    view: WindowBatch, augmentations: list[Augmentation], context: StepContext, number: int, tokens: int = 1
) -> WindowBatch:
    """A view with augmentations, in order; the batch that comes in stays as it is.

    Args:
        view: B windows.
        augmentations: what to do.
        context: whose windows these are.
        number: which of the objective's views this is.
        tokens: bins of a token; stretches of time are cut to whole ones.

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
        applied = AUGMENTATIONS[settings.name][0](view, draws, settings, tokens)
        view = _for_some(view, applied, draws, settings.chance)
    return view


def _for_some(before: WindowBatch, after: WindowBatch, draws: Draws, chance: float) -> WindowBatch:
    """Windows with the augmentation where a draw says so, and as they were elsewhere."""
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
