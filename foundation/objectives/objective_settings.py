"""Settings of a run's objective. Light to import."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from foundation.common.errors import ConfigError
from foundation.common.extensions.named_classes import (
    allowed_forms,
    find_class,
    is_class_name,
    short_name,
)
from foundation.common.settings.own_settings import read_own_settings
from foundation.common.settings.setting_limits import Limited
from foundation.objectives.masked_settings import DecodingSettings, MaskedSettings, NDTSettings
from foundation.objectives.method_settings import (
    MYOWSettings,
    NeurPIRSettings,
    NuCLRSettings,
    SwapVAESettings,
    VICRegSettings,
)

# name of an objective -> the field of `ObjectiveSettings` that holds its settings
SETTINGS_OF = {
    "neurpir": "neurpir",
    "vicreg": "vicreg",
    "myow": "myow",
    "byol": "myow",
    "swap_vae": "swap_vae",
    "ndt": "ndt",
    "nuclr": "nuclr",
    "masked": "masked",
    "decoding": "decoding",
}


def _none() -> None:
    """Return None, as `own_config` and `own_units` of a plain dataclass: any model and population fit."""


@dataclass(frozen=True)
class ObjectiveSettings(Limited):
    """The objective of a run, and its settings.

    Args:
        name: one of the names below, ``byol`` (MYOW without mined views), or your own objective: a class such as
            ``mylab.losses:Contrast`` or ``losses.py:Contrast``, or the entry point of an installed package.
        weights: name -> weight; if given, the objective is this weighted sum and ``name`` is ignored.
        settings: settings of your own objective; for a sum, name -> settings.
        neurpir: settings of NeurPIR.
        vicreg: settings of VICReg.
        myow: settings of MYOW and BYOL.
        swap_vae: settings of Swap-VAE.
        ndt: settings of NDT's masked modelling.
        nuclr: settings of NuCLR's contrastive loss.
        masked: settings of masked modelling of the population.
        decoding: settings of supervised decoding over many sessions.

    Raises:
        ConfigError: if there is no objective of that name, or a weight is invalid.
    """

    name: str = "neurpir"
    weights: dict[str, float] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    neurpir: NeurPIRSettings = field(default_factory=NeurPIRSettings)
    vicreg: VICRegSettings = field(default_factory=VICRegSettings)
    myow: MYOWSettings = field(default_factory=MYOWSettings)
    swap_vae: SwapVAESettings = field(default_factory=SwapVAESettings)
    ndt: NDTSettings = field(default_factory=NDTSettings)
    nuclr: NuCLRSettings = field(default_factory=NuCLRSettings)
    masked: MaskedSettings = field(default_factory=MaskedSettings)
    decoding: DecodingSettings = field(default_factory=DecodingSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_names()
        if self.weights is None:
            return
        if not self.weights:
            raise ConfigError("weights is empty: expected name: weight for each objective, or null")
        for name, weight in self.weights.items():
            if not 0 < weight < math.inf:
                raise ConfigError(f"weights.{name} is {weight}: expected a finite number above 0, or leave it out")
        alone = [name for name in self.weights if name in SETTINGS_OF and self.of(name).own_config() is not None]
        if alone and len(self.weights) > 1:
            raise ConfigError(
                f"weights names {alone[0]}, which brings its own encoder: it cannot be summed with others"
            )

    def _check_names(self) -> None:
        """Raise unless each name ships with the package or has the form of a class; nothing is imported."""
        if not self.name:
            raise ConfigError("name is '': expected one objective")
        names = [self.name, *(self.weights or ())]
        for name in names:
            if name not in SETTINGS_OF and not is_class_name("objective", name):
                allowed = f"expected one of {', '.join(sorted(SETTINGS_OF))}, {allowed_forms('objective')}"
                raise ConfigError(f"{'name is' if name == self.name else 'weights names'} {name!r}: {allowed}")
        short = [short_name(name) for name in self.weights or ()]
        if len(set(short)) < len(short):
            raise ConfigError(f"weights names {', '.join(self.weights or ())}: expected classes of different names")
        own = [name for name in self.weights or [self.name] if name not in SETTINGS_OF]
        wrong = [key for key in self.settings if key not in own] if self.weights else [] if own else list(self.settings)
        if wrong:
            where = f"one of {', '.join(own)}" if own else "nothing, as settings of shipped objectives have their names"
            raise ConfigError(f"settings has {wrong[0]!r}: expected {where}")

    def of(self, name: str) -> Any:
        """Return the settings of one of the objectives; your own class is imported for this.

        Raises:
            ConfigError: if the class cannot be imported, or has no such settings.
        """
        if name not in SETTINGS_OF:
            kind = find_class("objective", name, "objective.name")
            given = self.settings.get(name, {}) if self.weights else self.settings
            return read_own_settings(kind, given, "objective.settings")
        return getattr(self, SETTINGS_OF[name])

    def own_config(self) -> Any:
        """Return the configuration of the encoder that the objective brings; None: any model fits."""
        return getattr(self.of(next(iter(self.weights or [self.name]))), "own_config", _none)()

    def own_units(self) -> dict[str, int]:
        """Return the possible numbers of units of a single-population objective; empty: any population fits."""
        names = self.weights or [self.name]
        found = {SETTINGS_OF.get(n, "settings"): getattr(self.of(n), "own_units", _none)() for n in names}
        return {f"{key}.units": units for key, units in found.items() if units is not None}

    @property
    def title(self) -> str:
        """The objective's name, or the names of a sum."""
        return " + ".join(map(short_name, self.weights or [self.name]))
