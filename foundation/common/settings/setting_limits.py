"""Limits of settings, written beside the setting and checked in one place.

Write a limit in the annotation, ``steps: Annotated[int, at_least(1)] = 100``, or use one of the short names below,
``steps: Count = 100``. Command lines, YAML files and Python make the same dataclass, so all get the same checks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from numbers import Integral
from typing import Annotated, Any, get_args, get_type_hints

from foundation.common.errors import ConfigError


@dataclass(frozen=True)
class Limit:
    """The values that a setting may take.

    Put a function that uses names of its module into a named annotation outside the class, such as
    ``Name = Annotated[str, Limit(...)]``: annotations inside a class are evaluated where those names are unknown.

    Args:
        allows: True for an allowed value. A NaN must give False.
        words: the allowed values, for the message after "expected".
    """

    allows: Callable[[Any], bool]
    words: str

    def holds(self, value: Any) -> bool:
        """Return True if a value is allowed; False for a value of another type, such as text for a number."""
        try:
            return self.allows(value)
        except TypeError:
            return False


def at_least(low: float, why: str = "") -> Limit:
    """Return the limit of numbers of at least ``low``."""
    words = "0 or more" if low == 0 else f"at least {low:g}"
    return Limit(lambda value: value >= low, f"{words}, {why}" if why else words)


def above(low: float, unit: str = "", high: float = math.inf) -> Limit:
    """Return the limit of numbers above ``low`` and, if it is given, below ``high``."""
    words = f"more than {low:g}" if high == math.inf else f"more than {low:g} and less than {high:g}"
    return Limit(lambda value: low < value and (value < high or high == math.inf), f"{words} {unit}".rstrip())


def between(low: float, high: float, unit: str = "") -> Limit:
    """Return the limit of numbers from ``low`` to ``high``."""
    return Limit(lambda value: low <= value <= high, f"{low:g} to {high:g} {unit}".rstrip())


def one_of(*choices: Any) -> Limit:
    """Return the limit of values that must be one of the choices."""
    return Limit(lambda value: value in choices, f"one of {', '.join(map(str, choices))}")


def whole(low: int) -> Limit:
    """Return the limit of whole numbers of at least ``low``; 16.0 and True are refused."""
    words = f"a whole number, at least {low}"
    return Limit(lambda value: not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= low, words)


def finite(low: float = 0.0, low_too: bool = True, below: float = math.inf) -> Limit:
    """Return the limit of finite numbers from ``low`` (``low_too`` unset: above it) to below ``below``; refuse True."""
    words = "a finite number"
    if low > -math.inf:
        words += f" from {low:g}" if low_too else f" above {low:g}"
    if below < math.inf:
        words += f" to below {below:g}"

    def allows(value: Any) -> bool:
        number = math.isfinite(value) and not isinstance(value, bool)
        return number and value < below and (value > low or (low_too and value == low))

    return Limit(allows, words)


Count = Annotated[int, at_least(1)]
CountOrNone = Annotated[int | None, at_least(1)]
Natural = Annotated[int, at_least(0)]
FilledOrNone = Annotated[str | None, Limit(lambda text: bool(str.strip(text)), "a text that is not blank, or null")]
NonNegative = Annotated[float, finite()]
Positive = Annotated[float, Limit(lambda value: 0 < value < math.inf, "a finite number above 0")]
Share = Annotated[float, between(0, 1)]
Seconds = Annotated[float, above(0, "seconds")]


@dataclass(frozen=True)
class Limited:
    """Settings with limits in their annotations, checked when an instance is made.

    ``section`` precedes the name of a setting in messages, such as ``engine.``.

    Raises:
        ConfigError: if a value is outside its limit. The message names the setting, the value and the allowed values.

    Example:
        >>> @dataclass(frozen=True)
        ... class Training(Limited):
        ...     section = "training."
        ...     steps: Count = 100
        ...     port: Annotated[int | None, between(1, 65535)] = None
        >>> Training(steps=0)
        Traceback (most recent call last):
        ...
        foundation.common.errors.ConfigError: training.steps is 0: expected at least 1
    """

    section = ""  # without annotation, so it is not a field

    def __post_init__(self) -> None:
        check_limits(self, self.section)


def check_limits(settings: Any, section: str = "") -> None:
    """Raise unless each setting is within the limits in its annotation; for classes that cannot be `Limited`.

    Args:
        settings: a dataclass.
        section: precedes the name of a setting in messages, such as ``engine.``.

    Raises:
        ConfigError: if a setting is outside its limit.
    """
    for name, limits, optional in _limits(settings.__class__):
        value = getattr(settings, name)
        for limit in limits:
            if not (value is None and optional) and not limit.holds(value):
                raise ConfigError(f"{section}{name} is {value!r}: expected {limit.words}")


@cache
def _limits(kind: Any) -> list[tuple[str, list[Limit], bool]]:
    """Return the name and limits of each setting with limits, and whether it may be None."""
    found = []
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if limits := [limit for limit in getattr(hint, "__metadata__", ()) if isinstance(limit, Limit)]:
            found.append((name, limits, type(None) in get_args(hint.__origin__)))
    return found
