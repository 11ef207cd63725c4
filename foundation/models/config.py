"""The configuration of EIT: what its folder's config.json holds."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig

from foundation.errors import ConfigError


class EITConfig(PretrainedConfig):
    """Shape of an EIT.

    Args:
        dim: features of a token.
        heads: attention heads; ``dim / heads`` must be even.
        individual_layers: layers that see one unit alone, over time.
        interaction_layers: layers in which units see each other, each followed by one over time.
        mlp_ratio: width of feed-forward layers over ``dim``.
        patch_length: bins that make one token.
        dropout: share of each branch's output dropped in training.
        rotary_shortest, rotary_longest: seconds, the range of rotary periods.

    Raises:
        ConfigError: if a value is impossible.

    Example:
        >>> EITConfig(dim=32, heads=4).patch_length
        4
    """

    model_type = "eit"

    def __init__(
        self,
        dim: int = 64,
        heads: int = 4,
        individual_layers: int = 2,
        interaction_layers: int = 1,
        mlp_ratio: float = 4.0,
        patch_length: int = 4,
        dropout: float = 0.0,
        rotary_shortest: float = 0.04,
        rotary_longest: float = 256.0,
        **kwargs: Any,
    ) -> None:
        for name, value in (("dim", dim), ("heads", heads), ("patch_length", patch_length)):
            if value < 1:
                raise ConfigError(f"{name} is {value}: at least 1")
        if dim % heads or (dim // heads) % 2:
            raise ConfigError(f"dim is {dim} and heads {heads}: each head needs an even number of features")
        if individual_layers < 0 or interaction_layers < 0 or individual_layers + interaction_layers < 1:
            raise ConfigError(
                f"individual_layers is {individual_layers} and interaction_layers {interaction_layers}: "
                "0 or more each, and at least one in all"
            )
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout is {dropout}: from 0 to below 1")
        if not mlp_ratio > 0:
            raise ConfigError(f"mlp_ratio is {mlp_ratio}: above 0")
        if not 0 < rotary_shortest < rotary_longest:
            raise ConfigError(
                f"rotary_shortest is {rotary_shortest} and rotary_longest {rotary_longest}: need 0 < shortest < longest"
            )
        self.dim = dim
        self.heads = heads
        self.individual_layers = individual_layers
        self.interaction_layers = interaction_layers
        self.mlp_ratio = mlp_ratio
        self.patch_length = patch_length
        self.dropout = dropout
        self.rotary_shortest = rotary_shortest
        self.rotary_longest = rotary_longest
        super().__init__(**kwargs)
