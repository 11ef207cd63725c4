"""Stop training a model whose loss is no longer a number."""

from __future__ import annotations

import math

from foundation.common.errors import FoundationError


def check_finite(loss: float, learning_rate: float) -> None:
    """Raise if training has diverged.

    Args:
        loss: the loss of the last step.
        learning_rate: the learning rate of that step, for the message.

    Raises:
        FoundationError: if the loss is infinite or NaN.

    Example:
        >>> check_finite(0.5, 1e-3)
        >>> check_finite(float("nan"), 1e-3)
        Traceback (most recent call last):
        foundation.common.errors.FoundationError: the loss became nan at a learning rate of 0.001: lower it
    """
    if not math.isfinite(loss):
        raise FoundationError(f"the loss became {loss} at a learning rate of {learning_rate:g}: lower it")
