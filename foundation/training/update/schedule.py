"""The learning rate as a function of the step alone, so that a resumed run needs no state for it."""

from __future__ import annotations

import math

from foundation.training.pretrain_settings import OptimizerSettings


def learning_rate(step: int, steps: int, settings: OptimizerSettings) -> float:
    """Return the rate of step ``step`` (from 0) of ``steps``: linear warm-up, then half a cosine to the final share.

    Example:
        >>> s = OptimizerSettings(learning_rate=1.0, warmup_steps=4, final_share=0.1)
        >>> [round(learning_rate(step, 12, s), 3) for step in (0, 3, 4, 11)]
        [0.25, 1.0, 1.0, 0.1]
    """
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    left = max(steps - 1 - settings.warmup_steps, 1)
    share = min((step - settings.warmup_steps) / left, 1.0)
    cosine = 0.5 * (1 + math.cos(math.pi * share))
    return settings.learning_rate * (settings.final_share + (1 - settings.final_share) * cosine)
