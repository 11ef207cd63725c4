"""Settings of a run's objective. Light to import."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any

from foundation.common.errors import ConfigError
from foundation.common.settings.setting_limits import Limited, one_of
from foundation.objectives.method_settings import (
    MaskedSettings,
    MethodSettings,
    MYOWSettings,
    NDTSettings,
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
}


@dataclass(frozen=True)
class ObjectiveSettings(Limited):
    """Which objective, and its settings.

    Args:
        name: one of the names below, or ``byol`` (MYOW without mined views).
        weights: name -> weight; if given, their weighted sum is the objective instead of ``name``.
        neurpir: settings of NeurPIR.
        vicreg: settings of VICReg.
        myow: settings of MYOW and BYOL.
        swap_vae: settings of Swap-VAE.
        ndt: settings of NDT's masked modelling.
        nuclr: settings of NuCLR's contrastive loss.
        masked: settings of masked modelling of the population.

    Raises:
        ConfigError: if there is no objective of that name, or a weight is impossible.
    """

    name: Annotated[str, one_of(*sorted(SETTINGS_OF))] = "neurpir"
    weights: dict[str, float] | None = None
    neurpir: NeurPIRSettings = field(default_factory=NeurPIRSettings)
    vicreg: VICRegSettings = field(default_factory=VICRegSettings)
    myow: MYOWSettings = field(default_factory=MYOWSettings)
    swap_vae: SwapVAESettings = field(default_factory=SwapVAESettings)
    ndt: NDTSettings = field(default_factory=NDTSettings)
    nuclr: NuCLRSettings = field(default_factory=NuCLRSettings)
    masked: MaskedSettings = field(default_factory=MaskedSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights is None:
            return
        if not self.weights:
            raise ConfigError("weights is empty: give name: weight for each objective, or null")
        for name, weight in self.weights.items():
            if name not in SETTINGS_OF:
                raise ConfigError(f"weights names {name!r}: allowed are {', '.join(sorted(SETTINGS_OF))}")
            if not 0 < weight < math.inf:
                raise ConfigError(f"weights.{name} is {weight}: a finite number above 0, or leave it out")
        alone = [name for name in self.weights if self._of(name).own_config() is not None]
        if alone and len(self.weights) > 1:
            raise ConfigError(
                f"weights names {alone[0]}, which brings its own encoder: it cannot be summed with others"
            )

    def _of(self, name: str) -> MethodSettings:
        settings: MethodSettings = getattr(self, SETTINGS_OF[name])
        return settings

    def own_config(self) -> Any:
        """Return the configuration of the encoder that the objective brings; None: any model fits."""
        return self._of(next(iter(self.weights or [self.name]))).own_config()

    def own_units(self) -> dict[str, int]:
        """Return the units of the one population that the objective is made for, by setting; empty: any."""
        keys = [SETTINGS_OF[name] for name in self.weights or [self.name]]
        found = {key: getattr(self, key).own_units() for key in keys}
        return {f"{key}.units": units for key, units in found.items() if units is not None}

    @property
    def title(self) -> str:
        """Its name, or those of the sum."""
        return " + ".join(self.weights) if self.weights else self.name
