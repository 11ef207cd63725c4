"""Settings of objectives that hide activity, and of decoding, which does so too. Light to import."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated

from foundation.common.errors import ConfigError
from foundation.common.settings.renamed_settings import renamed
from foundation.common.settings.setting_limits import Natural, NonNegative, above, finite, one_of
from foundation.data.steps.views import ViewSpec
from foundation.objectives.method_settings import MethodSettings

HIDDEN = ("tokens", "time", "units")


@dataclass(frozen=True)
class NDTSettings(MethodSettings):
    """Settings of masked modelling.

    Args:
        min_tokens, max_tokens: tokens of a window.
        hide: what is hidden together: ``tokens`` (single tokens of a unit), ``time`` (a token of all units) or
            ``units`` (a unit in the whole window).
        share: share of these that is hidden.
        units: 0: each unit's counts are predicted from its own tokens; above 0: from the population's tokens, for a
            model without tokens of units; the run uses the one recording with exactly this number of units.

    Raises:
        ConfigError: if a value is invalid.
    """

    min_tokens: int = renamed("shortest", 8)
    max_tokens: int = renamed("longest", 32)
    hide: Annotated[str, one_of(*HIDDEN)] = "tokens"
    share: Annotated[float, above(0, high=1)] = 0.25
    units: Natural = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        ViewSpec(1, self.min_tokens, self.max_tokens)

    def own_units(self) -> int | None:
        """Return the units of the population whose counts are predicted; None if ``units`` is 0."""
        return self.units or None


@dataclass(frozen=True)
class MaskedSettings(MethodSettings):
    """Settings of masked modelling of the population.

    Args:
        min_tokens, max_tokens: tokens of a window.
        hide_units: share of a window's units that are hidden throughout.
        hide_time: share of a window's tokens that are hidden for all units.
        made_windows: share of windows in which units have only the rows made from their identities, for a model with
            ``made_rows``; the model then learns to read populations without rows of their own.

    Raises:
        ConfigError: if a value is invalid.
    """

    min_tokens: int = 8
    max_tokens: int = 32
    hide_units: Annotated[float, finite(below=1)] = 0.3
    hide_time: Annotated[float, finite(below=1)] = 0.25
    made_windows: Annotated[float, finite()] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        ViewSpec(1, self.min_tokens, self.max_tokens)
        if not self.hide_units and not self.hide_time:
            raise ConfigError(
                "hide_units is 0 and hide_time 0: expected at least one above 0, or there is nothing to predict"
            )
        if self.made_windows > 1:
            raise ConfigError(f"made_windows is {self.made_windows}: expected a share of windows, 0 to 1")


@dataclass(frozen=True)
class DecodingSettings(MaskedSettings):
    """Settings of supervised decoding over many sessions.

    Args:
        min_tokens, max_tokens: tokens of a window.
        hide_units: share of a window's units that are hidden throughout, also from the decoded labels.
        hide_time: share of a window's tokens that are hidden for all units.
        made_windows: share of windows in which units have only the rows made from their identities.
        series: behaviour that is decoded at every token, if a recording has it; z-scored over its training time.
        classes: columns of tables of intervals whose classes are decoded, if a recording has them.
        interval_weights: table of intervals -> weight of the tokens inside its intervals, such as
            ``{movement: 5, hold: 0.1}``; all other tokens weigh 1.
        class_weight: weight of the cross-entropy of classes relative to the squared error of series.
        masked_weight: weight of the likelihood of hidden activity.

    Raises:
        ConfigError: if a value is invalid.
    """

    min_tokens: int = 2
    max_tokens: int = 24
    series: list[str] = field(default_factory=lambda: ["velocity", "position"])
    classes: list[str] = field(default_factory=lambda: ["trials.direction"])
    interval_weights: dict[str, float] = field(default_factory=dict)
    class_weight: NonNegative = 0.3
    masked_weight: NonNegative = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.series and not self.classes:
            raise ConfigError("series and classes are empty: expected at least one label, or objective.name masked")
        for name in self.classes:
            if not all(name.partition(".")):
                raise ConfigError(f"classes has {name!r}: expected table.column, such as trials.direction")
        for name, weight in self.interval_weights.items():
            if not 0 <= weight < math.inf:
                raise ConfigError(f"interval_weights.{name} is {weight}: expected a finite number, 0 or more")
