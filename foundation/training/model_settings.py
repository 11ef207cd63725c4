"""Settings of the model that is pretrained; imports quickly, without torch."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

from foundation.common.errors import ConfigError
from foundation.common.extensions.named_classes import allowed_forms, is_class_name
from foundation.common.lazy import named
from foundation.common.settings.setting_checks import check_shape

EIT_NAME = "eit"


@dataclass(frozen=True)
class ModelSettings:
    """Settings of EIT (see `EITConfig`), or of your own model (see `foundation.models.encoder`).

    Args:
        name: ``eit``, or your own model: a class such as ``mylab.models:Rates`` or ``models.py:Rates``, or the entry
            point of an installed package.
        settings: for your own model, arguments of its configuration; all settings below are for EIT.
        dim: features of a token.
        heads: attention heads; ``dim / heads`` must be even.
        individual_layers: layers that see one unit alone, over time.
        interaction_layers: layers in which units see each other, each followed by ``time_layers`` over time.
        time_layers: layers over time after each layer across units.
        mlp_ratio: width of feed-forward layers over ``dim``.
        gated_mlp: feed-forward layers are GEGLU instead of GELU.
        patch_length: bins of one token.
        population_patch_length: bins of one token of the population stream, a divisor of ``patch_length``; 0: the
            same number as for a unit's token.
        tokens: content of the unit stream's tokens: ``bins``, or ``intervals`` between events, for tokens of seconds
            and bins of about 1 ms.
        dropout: share of each branch's output dropped in training.
        rotary_shortest: seconds, the shortest rotary period.
        rotary_longest: seconds, the longest rotary period.
        rotary_share: share of a head's features that turn with time.
        rotate_values: also rotate values, not only queries and keys.
        count_transform: transform of counts before the read-in: ``log1p``, ``sqrt`` or ``none``.
        value_transform: transform of sampled activity such as dF/F: ``asinh`` or ``none``.
        inducing_points: units attend to each other through this many learned points; 0: every unit to every unit.
        population_layers: layers over time of the population stream, which has one token per time; 0: no such stream.
        causal: tokens of the population stream do not see later tokens.
        made_rows: add rows that a small network makes from the units' identities to their rows in the population
            stream; needs ``objective.masked.made_windows`` above 0, so that made rows are also trained alone.
    """

    name: str = EIT_NAME
    settings: dict[str, Any] = field(default_factory=dict)
    dim: int = 64
    heads: int = 4
    individual_layers: int = 2
    interaction_layers: int = 1
    time_layers: int = 1
    mlp_ratio: float = 4.0
    gated_mlp: bool = False
    patch_length: int = 4
    population_patch_length: int = 0
    tokens: str = "bins"
    dropout: float = 0.0
    rotary_shortest: float = 0.04
    rotary_longest: float = 256.0
    rotary_share: float = 1.0
    rotate_values: bool = False
    count_transform: str = "log1p"
    value_transform: str = "asinh"
    inducing_points: int = 0
    population_layers: int = 0
    causal: bool = False
    made_rows: bool = False

    def __post_init__(self) -> None:
        check_shape(**self.shape())
        if self.name == EIT_NAME:
            if self.settings:
                raise ConfigError(
                    f"model.settings has {', '.join(self.settings)}: expected none for eit, set in model.*"
                )
            return
        if not is_class_name("model", self.name):
            raise ConfigError(f"model.name is {self.name!r}: expected eit, {allowed_forms('model')}")
        given = [f.name for f in fields(self) if f.name in self.shape() and getattr(self, f.name) != f.default]
        if given:
            raise ConfigError(
                f"model.{given[0]} is {getattr(self, given[0])!r} and model.name {self.name!r}: it is a setting of "
                f"EIT; give model.settings.{given[0]} if that model has one"
            )

    def shape(self) -> dict[str, Any]:
        """Return the settings of EIT."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("name", "settings")}

    def with_dim(self, dim: int) -> ModelSettings:
        """Return the same model with ``dim`` features per embedding."""
        if self.is_own:
            return replace(self, settings={**self.settings, "dim": dim})
        return replace(self, dim=dim)

    @property
    def is_own(self) -> bool:
        """True for your own model, False for EIT."""
        return self.name != EIT_NAME

    def config(self) -> Any:
        """Return the model's configuration, an `EITConfig` or your own; imports take seconds.

        Raises:
            ConfigError: if your own class cannot be imported, or lacks a setting.
        """
        if self.is_own:
            return named("foundation.models.encoder:own_config")(self.name, self.settings)
        from foundation.models.config import EITConfig

        return EITConfig(**self.shape())

    def build(self) -> Any:
        """Return the model with random weights.

        Raises:
            ConfigError: as for `config`, or if your own model cannot be created.
        """
        config = self.config()
        if self.is_own:
            return named("foundation.models.encoder:own_model_of")(self.name, config)
        return named("foundation.models.eit:EIT")(config)
