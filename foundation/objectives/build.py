"""From an objective's settings to the objective."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import AutoModel

from foundation.objectives.base import Objective
from foundation.objectives.combined import WeightedSum
from foundation.objectives.myow import BYOL, MYOW
from foundation.objectives.ndt import NDT
from foundation.objectives.neurpir import NeurPIR
from foundation.objectives.nuclr import NuCLR
from foundation.objectives.objective_settings import ObjectiveSettings
from foundation.objectives.swap_vae import SwapVAE
from foundation.objectives.vicreg import VICReg

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
