"""Checks of numbers and names in settings. All refuse with a ConfigError: name, value, what is allowed.

A NaN is below nothing, so a plain ``value < 0`` lets it pass; these do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

from foundation.common.errors import ConfigError


def check_whole(least: int, /, **settings: Any) -> None:
    """Refuse what is not a whole number of ``least`` or more.

    Example:
        >>> check_whole(1, dim=64, heads=4)
        >>> check_whole(1, dim=16.0)
        Traceback (most recent call last):
        ...
        foundation.common.errors.ConfigError: dim is 16.0: a whole number, at least 1
    """
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
            raise ConfigError(f"{name} is {value!r}: a whole number, at least {least}")


def check_local(**settings: str | None) -> None:
    """Refuse a URL where only a local path can be written: it would make a folder called ``s3:``.

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
    """Refuse a command with neither a store nor an input, or with both.

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
    """Refuse what is not a finite number from ``low`` (``low_too`` unset: above it) to below ``high``.

    Example:
        >>> check_range(0, 1, dropout=0.5)
        >>> check_range(low_too=False, mlp_ratio=float("nan"))
        Traceback (most recent call last):
        ...
        foundation.common.errors.ConfigError: mlp_ratio is nan: a finite number above 0
    """
    for name, value in settings.items():
        real = not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
        if not real or not low <= value < high or (value == low and not low_too):
            allowed = f" from {low:g}" if low_too else f" above {low:g}"
            to = f" to below {high:g}" if high < math.inf else ""
            raise ConfigError(f"{name} is {value!r}: a finite number{allowed if low > -math.inf else ''}{to}")


def check_width(dim: int, **ratios: Any) -> None:
    """Refuse ratios by which ``dim`` features make a feed-forward layer of none."""
    check_range(low_too=False, **ratios)
    for name, ratio in ratios.items():
        if int(dim * ratio) < 1:
            raise ConfigError(f"{name} is {ratio!r}: at least 1 / {dim}, as a layer over {dim} features must have one")


def listed(name: str, values: Any) -> list[Any]:
    """The values as a list; a plain string is not one."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ConfigError(f"{name} is {values!r}: a list")
    return list(values)


def listed_wholes(least: int, name: str, values: Any) -> list[int]:
    """A list of whole numbers of ``least`` or more."""
    found = listed(name, values)
    for place, value in enumerate(found):
        check_whole(least, **{f"{name}[{place}]": value})
    return found


def listed_names(name: str, values: Any) -> list[str]:
    """A list of strings.

    Example:
        >>> listed_names("unit_names", "abc")
        Traceback (most recent call last):
        ...
        foundation.common.errors.ConfigError: unit_names is 'abc': a list
    """
    found = listed(name, values)
    for value in found:
        if not isinstance(value, str):
            raise ConfigError(f"{name} holds {value!r}: a list of strings")
    return found


def check_widths(name: str, widths: list[int], least: int = 1) -> None:
    """Refuse widths that make no perceptron.

    Raises:
        ConfigError: if there are fewer than ``least`` widths, or one is below 1.
    """
    if len(widths) < least or any(width < 1 for width in widths):
        many = "one width or more, each at least 1" if least else "widths of at least 1, or none"
        raise ConfigError(f"{name} is {widths}: {many}")


COUNT_TRANSFORMS = ("log1p", "sqrt", "none")
VALUE_TRANSFORMS = ("asinh", "none")
TOKENS = ("bins", "intervals")
INTERVAL_BINS = 100  # bins of a token of intervals, at least: next to no interval ends in a shorter one


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
) -> None:
    """Refuse a shape that no EIT can have; see `foundation.models.EITConfig`.

    Raises:
        ConfigError: naming the value and what is allowed.
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
        raise ConfigError("causal is true and population_layers 0: the population stream is what it is for")
    if dim % heads or (dim // heads) % 2:
        raise ConfigError(f"dim is {dim} and heads {heads}: each head needs an even number of features")
    if individual_layers + interaction_layers < 1:
        raise ConfigError("individual_layers is 0 and interaction_layers 0: at least one in all")
    check_range(0, 1, dropout=dropout)
    check_width(dim, mlp_ratio=mlp_ratio)
    check_range(rotary_shortest=rotary_shortest, rotary_longest=rotary_longest, rotary_share=rotary_share)
    if not 0 < rotary_shortest < rotary_longest:
        raise ConfigError(
            f"rotary_shortest is {rotary_shortest} and rotary_longest {rotary_longest}: need 0 < shortest < longest"
        )
    if not 0 < rotary_share <= 1 or int(dim // heads * rotary_share) < 2:
        raise ConfigError(
            f"rotary_share is {rotary_share}: above 0, to 1, and at least 2 of {dim // heads} features of a head"
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
            raise ConfigError(f"{name} is {transform!r}: one of {', '.join(allowed)}")
