"""Limits of settings, written beside the setting that they hold for and checked in one place.

A limit stands in the annotation, ``steps: Annotated[int, at_least(1)] = 100``, or in one of the short names below,
``steps: Count = 100``. Command lines, YAML files and Python all make the same dataclass, so all are checked alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_type_hints

from foundation.common.errors import ConfigError


@dataclass(frozen=True)
class Limit:
    """What a setting may be.

    Args:
        allows: True for an allowed value. A NaN must give False.
        words: what is allowed, for the message.
    """

    allows: Callable[[Any], bool]
    words: str

    def holds(self, value: Any) -> bool:
        """Return True if a value is allowed; one that cannot be compared, such as text for a number, is not."""
        try:
            return self.allows(value)
        except TypeError:
            return False


def at_least(low: float, why: str = "") -> Limit:
    """Return the limit of numbers from ``low`` on."""
    words = "0 or more" if low == 0 else f"at least {low:g}"
    return Limit(lambda value: value >= low, f"{words}, {why}" if why else words)


def above(low: float, unit: str = "", high: float = math.inf) -> Limit:
    """Return the limit of numbers above ``low`` and, if it is given, below ``high``."""
    words = f"above {low:g}" if high == math.inf else f"above {low:g} and below {high:g}"
    return Limit(lambda value: low < value and (value < high or high == math.inf), f"{words} {unit}".rstrip())


def between(low: float, high: float, unit: str = "") -> Limit:
    """Return the limit of numbers from ``low`` to ``high``."""
    return Limit(lambda value: low <= value <= high, f"from {low:g} to {high:g} {unit}".rstrip())


def one_of(*choices: Any) -> Limit:
    """Return the limit of values that are listed."""
    return Limit(lambda value: value in choices, f"one of {', '.join(map(str, choices))}")


def finite(low: float = 0.0, low_too: bool = True) -> Limit:
    """Return the limit of finite numbers from ``low`` on, or above it."""
    words = f"a finite number {'from' if low_too else 'above'} {low:g}"
    return Limit(lambda value: math.isfinite(value) and (value > low or (low_too and value == low)), words)


Count = Annotated[int, at_least(1)]
CountOrNone = Annotated[int | None, at_least(1)]
Natural = Annotated[int, at_least(0)]
Positive = Annotated[float, Limit(lambda value: 0 < value < math.inf, "above 0")]
Share = Annotated[float, between(0, 1)]
Seconds = Annotated[float, above(0, "seconds")]


@dataclass(frozen=True)
class Limited:
    """Settings whose limits stand in their annotations; made with a value beyond one, they raise.

    ``section`` comes before the name of a setting in messages, such as ``engine.``.

    Raises:
        ConfigError: if a value is beyond its limit. The message names the setting, the value and what is allowed.

    Example:
        >>> @dataclass(frozen=True)
        ... class Training(Limited):
        ...     section = "training."
        ...     steps: Count = 100
        ...     port: Annotated[int | None, between(1, 65535)] = None
        >>> Training(steps=0)
        Traceback (most recent call last):
        ...
        foundation.common.errors.ConfigError: training.steps is 0: at least 1
    """

    section = ""  # without annotation, so it is no field

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            value = getattr(self, name)
            for limit in getattr(hint, "__metadata__", ()):
                left_out = value is None and type(None) in get_args(hint.__origin__)
                if isinstance(limit, Limit) and not left_out and not limit.holds(value):
                    raise ConfigError(f"{self.section}{name} is {value!r}: {limit.words}")
