"""Objectives of pretraining: one file each, one registry."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from transformers import AutoModel, PretrainedConfig

from foundation.errors import ConfigError
from foundation.objectives.base import Objective
from foundation.objectives.combined import WeightedSum
from foundation.objectives.myow import BYOL, MYOW, MYOWSettings
from foundation.objectives.ndt import NDT, NDTSettings
from foundation.objectives.neurpir import NeurPIR, NeurPIRSettings
from foundation.objectives.nuclr import NuCLR, NuCLRSettings
from foundation.objectives.swap_vae import SwapVAE, SwapVAESettings
from foundation.objectives.vicreg import VICReg, VICRegSettings
from foundation.objectives.vicreg_terms import VICRegWeights, vicreg_terms

# name -> class, and which settings it takes
OBJECTIVES: dict[str, tuple[Any, str]] = {
    "neurpir": (NeurPIR, "neurpir"),
    "vicreg": (VICReg, "vicreg"),
    "myow": (MYOW, "myow"),
    "byol": (BYOL, "myow"),
    "swap_vae": (SwapVAE, "swap_vae"),
    "ndt": (NDT, "ndt"),
    "nuclr": (NuCLR, "nuclr"),
}


@dataclass(frozen=True)
class ObjectiveSettings:
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

    Raises:
        ConfigError: if there is no objective of that name, or a weight is impossible.
    """

    name: str = "neurpir"
    weights: dict[str, float] | None = None
    neurpir: NeurPIRSettings = field(default_factory=NeurPIRSettings)
    vicreg: VICRegSettings = field(default_factory=VICRegSettings)
    myow: MYOWSettings = field(default_factory=MYOWSettings)
    swap_vae: SwapVAESettings = field(default_factory=SwapVAESettings)
    ndt: NDTSettings = field(default_factory=NDTSettings)
    nuclr: NuCLRSettings = field(default_factory=NuCLRSettings)

    def __post_init__(self) -> None:
        if self.name not in OBJECTIVES:
            raise ConfigError(f"name is {self.name!r}: one of {', '.join(sorted(OBJECTIVES))}")
        if self.weights is None:
            return
        if not self.weights:
            raise ConfigError("weights is empty: give name: weight for each objective, or null")
        for name, weight in self.weights.items():
            if name not in OBJECTIVES:
                raise ConfigError(f"weights names {name!r}: allowed are {', '.join(sorted(OBJECTIVES))}")
            if not 0 < weight < math.inf:
                raise ConfigError(f"weights.{name} is {weight}: a finite number above 0, or leave it out")
        alone = [name for name in self.weights if self._own_config(name) is not None]
        if alone and len(self.weights) > 1:
            raise ConfigError(
                f"weights names {alone[0]}, which brings its own encoder: it cannot be summed with others"
            )

    def _own_config(self, name: str) -> PretrainedConfig | None:
        kind, key = OBJECTIVES[name]
        config: PretrainedConfig | None = kind.own_config(getattr(self, key))
        return config

    def own_config(self) -> PretrainedConfig | None:
        """Shape of the encoder that the objective brings; None: it takes any."""
        return self._own_config(next(iter(self.weights or [self.name])))

    def own_units(self) -> dict[str, int]:
        """Units of the one population that the objective is made for, under their settings' names; empty: any."""
        kinds = [OBJECTIVES[name] for name in self.weights or [self.name]]
        found = {key: kind.own_units(getattr(self, key)) for kind, key in kinds}
        return {f"{key}.units": units for key, units in found.items() if units is not None}

    @property
    def title(self) -> str:
        """Its name, or those of the sum."""
        return " + ".join(self.weights) if self.weights else self.name


def own_model(settings: ObjectiveSettings) -> nn.Module | None:
    """The encoder that the objective brings; None: it takes any."""
    config = settings.own_config()
    return None if config is None else AutoModel.from_config(config)


def build_objective(settings: ObjectiveSettings, dim: int, model: nn.Module | None = None) -> Objective:
    """The objective that the settings name.

    Args:
        settings: which.
        dim: features of the model's embeddings.
        model: the encoder, for those that keep a copy of it or read tokens of it.
    """

    def build(name: str) -> Objective:
        kind, key = OBJECTIVES[name]
        made: Objective = kind(getattr(settings, key), dim, model)
        return made

    if not settings.weights:
        return build(settings.name)
    return WeightedSum({name: build(name) for name in settings.weights}, settings.weights)


__all__ = [
    "BYOL",
    "MYOW",
    "MYOWSettings",
    "NDT",
    "NDTSettings",
    "NeurPIR",
    "NeurPIRSettings",
    "NuCLR",
    "NuCLRSettings",
    "OBJECTIVES",
    "Objective",
    "ObjectiveSettings",
    "SwapVAE",
    "SwapVAESettings",
    "VICReg",
    "VICRegSettings",
    "VICRegWeights",
    "WeightedSum",
    "build_objective",
    "own_model",
    "vicreg_terms",
]
