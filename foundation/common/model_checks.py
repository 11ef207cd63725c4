"""What the shape of an EIT may be. Light to import: settings are checked without PyTorch."""

from __future__ import annotations

from foundation.common.errors import ConfigError
from foundation.common.setting_checks import check_range, check_whole, check_width

COUNT_TRANSFORMS = ("log1p", "sqrt", "none")
VALUE_TRANSFORMS = ("asinh", "none")


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
    dropout: float,
    rotary_shortest: float,
    rotary_longest: float,
    rotary_share: float,
    rotate_values: bool,
    count_transform: str,
    value_transform: str,
    inducing_points: int,
) -> None:
    """Refuse a shape that no EIT can have; see `foundation.models.EITConfig`.

    Raises:
        ConfigError: naming the value and what is allowed.
    """
    check_whole(1, dim=dim, heads=heads, patch_length=patch_length)
    check_whole(0, individual_layers=individual_layers, interaction_layers=interaction_layers)
    check_whole(0, time_layers=time_layers, inducing_points=inducing_points)
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
    for name, transform, allowed in (
        ("count_transform", count_transform, COUNT_TRANSFORMS),
        ("value_transform", value_transform, VALUE_TRANSFORMS),
    ):
        if transform not in allowed:
            raise ConfigError(f"{name} is {transform!r}: one of {', '.join(allowed)}")
