"""The check of numbers that settings share: a NaN is below nothing, so ``value < 0`` lets it pass."""

from __future__ import annotations

import math

from foundation.errors import ConfigError


def check_number(name: str, value: float, least: float = -math.inf, *, above: float = -math.inf) -> None:
    """Refuse what is not finite, below ``least``, or not above ``above``.

    Raises:
        ConfigError: if it is so.

    Example:
        >>> check_number("size", float("nan"), 0)
        Traceback (most recent call last):
        ...
        foundation.errors.ConfigError: size is nan: 0 or more, and finite
    """
    if math.isfinite(value) and value >= least and value > above:
        return
    allowed = f"above {above:g}, and finite" if above > -math.inf else f"{least:g} or more, and finite"
    raise ConfigError(f"{name} is {value}: {allowed if max(least, above) > -math.inf else 'a finite number'}")
