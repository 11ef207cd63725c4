"""Checks of numbers and names in settings. Each raises a ConfigError with the name, the value and the allowed values.

They reject NaN, which passes a plain ``value < 0`` because every comparison with NaN is false.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

from foundation.common.errors import ConfigError


def check_whole(least: int, /, **settings: Any) -> None:
    """Raise unless each setting is a whole number of at least ``least``.

    Example:
        >>> check_whole(1, dim=64, heads=4)
        >>> check_whole(1, dim=16.0)
        Traceback (most recent call last):
        ...
        foundation.common.errors.ConfigError: dim is 16.0: expected a whole number, at least 1
    """
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
            raise ConfigError(f"{name} is {value!r}: expected a whole number, at least {least}")


def check_local(**settings: str | None) -> None:
    """Raise if a setting that must be a local path is a URL, which would make a folder called ``s3:``.

    Example:
        >>> check_local(output="runs/a", page=None)
        >>> check_local(output="s3://bucket/a")
        Traceback (most recent call last):
        ...
        foundation.common.errors.ConfigError: output is 's3://bucket/a': expected a local path, not a URL
    """
    for name, value in settings.items():
        if value is not None and "://" in value:
            raise ConfigError(f"{name} is {value!r}: expected a local path, not a URL")


def check_input(store: str | None, given: str | None) -> None:
    """Raise unless exactly one of a store and an input is given.

    Example:
        >>> check_input("my/store", None)
        >>> check_input("", None)
        Traceback (most recent call last):
        ...
        foundation.common.errors.ConfigError: store is '' and input is None: expected one of the two
    """
    if bool(store) == bool(given):
        raise ConfigError(f"store is {store!r} and input is {given!r}: expected one of the two")


def check_range(low: float = 0.0, high: float = math.inf, /, *, low_too: bool = True, **settings: Any) -> None:
    """Raise unless each setting is a finite number from ``low`` (``low_too`` unset: above it) to below ``high``.

    Example:
        >>> check_range(0, 1, dropout=0.5)
        >>> check_range(low_too=False, mlp_ratio=float("nan"))
        Traceback (most recent call last):
        ...
        foundation.common.errors.ConfigError: mlp_ratio is nan: expected a finite number above 0
    """
    for name, value in settings.items():
        real = not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
        if not real or not low <= value < high or (value == low and not low_too):
            allowed = f" from {low:g}" if low_too else f" above {low:g}"
            to = f" to below {high:g}" if high < math.inf else ""
            raise ConfigError(f"{name} is {value!r}: expected a finite number{allowed if low > -math.inf else ''}{to}")


def check_width(dim: int, **ratios: Any) -> None:
    """Raise if a ratio leaves a feed-forward layer over ``dim`` features without any feature."""
    check_range(low_too=False, **ratios)
    for name, ratio in ratios.items():
        if int(dim * ratio) < 1:
            raise ConfigError(f"{name} is {ratio!r}: expected at least 1 / {dim}, so that the layer has a feature")


def listed(name: str, values: Any) -> list[Any]:
    """Return the values as a list; raise if they are a plain string or cannot be iterated over."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ConfigError(f"{name} is {values!r}: expected a list")
    return list(values)


def listed_wholes(least: int, name: str, values: Any) -> list[int]:
    """Return the values as a list of whole numbers of at least ``least``."""
    found = listed(name, values)
    for place, value in enumerate(found):
        check_whole(least, **{f"{name}[{place}]": value})
    return found


def listed_names(name: str, values: Any) -> list[str]:
    """Return the values as a list of strings.

    Example:
        >>> listed_names("unit_names", "abc")
        Traceback (most recent call last):
        ...
        foundation.common.errors.ConfigError: unit_names is 'abc': expected a list
    """
    found = listed(name, values)
    for value in found:
        if not isinstance(value, str):
            raise ConfigError(f"{name} holds {value!r}: expected strings")
    return found


def check_widths(name: str, widths: list[int], least: int = 1) -> None:
    """Raise unless the widths describe a perceptron.

    Raises:
        ConfigError: if there are fewer than ``least`` widths, or one is below 1.
    """
    if len(widths) < least or any(width < 1 for width in widths):
        many = "one width or more, each at least 1" if least else "widths of at least 1, or none"
        raise ConfigError(f"{name} is {widths}: expected {many}")


COUNT_TRANSFORMS = ("log1p", "sqrt", "none")
VALUE_TRANSFORMS = ("asinh", "none")
TOKENS = ("bins", "intervals")
INTERVAL_BINS = 100  # fewest bins of an interval token: in a shorter one hardly any interval ends


def check_shape(
    *,
    dim: int,
    heads: int,
    individual_layers: int,
    interaction_layers: int,
    time_layers: int,
    mlp_ratio: float,
    gated_mlp: bool,
    patch_length: int,
    population_patch_length: int,
    tokens: str,
    dropout: float,
    rotary_shortest: float,
    rotary_longest: float,
    rotary_share: float,
    rotate_values: bool,
    count_transform: str,
    value_transform: str,
    inducing_points: int,
    population_layers: int,
    causal: bool,
    made_rows: bool,
) -> None:
    """Raise unless the shape of an EIT is valid; see `foundation.models.EITConfig`.

    Raises:
        ConfigError: if a value is outside its limits, or two values contradict each other.
    """
    check_whole(1, dim=dim, heads=heads, patch_length=patch_length)
    check_whole(0, individual_layers=individual_layers, interaction_layers=interaction_layers)
    check_whole(0, time_layers=time_layers, inducing_points=inducing_points, population_layers=population_layers)
    check_whole(0, population_patch_length=population_patch_length)
    if population_patch_length and patch_length % population_patch_length:
        raise ConfigError(
            f"population_patch_length is {population_patch_length} and patch_length {patch_length}: expected 0 (the "
            "same) or a divisor of patch_length, so that a unit's token holds whole tokens of the population"
        )
    if causal and not population_layers:
        raise ConfigError("causal is true and population_layers 0: expected population_layers of at least 1")
    if made_rows and not population_layers:
        raise ConfigError("made_rows is true and population_layers 0: expected population_layers of at least 1")
    if dim % heads or (dim // heads) % 2:
        raise ConfigError(f"dim is {dim} and heads {heads}: expected an even number of features per head")
    if individual_layers + interaction_layers < 1:
        raise ConfigError("individual_layers is 0 and interaction_layers 0: expected at least one in all")
    check_range(0, 1, dropout=dropout)
    check_width(dim, mlp_ratio=mlp_ratio)
    check_range(rotary_shortest=rotary_shortest, rotary_longest=rotary_longest, rotary_share=rotary_share)
    if not 0 < rotary_shortest < rotary_longest:
        raise ConfigError(
            f"rotary_shortest is {rotary_shortest} and rotary_longest {rotary_longest}: expected 0 < shortest < longest"
        )
    if not 0 < rotary_share <= 1 or int(dim // heads * rotary_share) < 2:
        raise ConfigError(
            f"rotary_share is {rotary_share}: expected more than 0, at most 1, and at least 2 of a head's "
            f"{dim // heads} features"
        )
    if tokens == "intervals" and patch_length < INTERVAL_BINS:
        raise ConfigError(
            f"patch_length is {patch_length} and tokens 'intervals': expected at least {INTERVAL_BINS} bins a token, "
            "such as 5000 of 1 ms"
        )
    for name, transform, allowed in (
        ("tokens", tokens, TOKENS),
        ("count_transform", count_transform, COUNT_TRANSFORMS),
        ("value_transform", value_transform, VALUE_TRANSFORMS),
    ):
        if transform not in allowed:
            raise ConfigError(f"{name} is {transform!r}: expected one of {', '.join(allowed)}")
