"""From an objective's settings to the objective."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn
from transformers import AutoModel

from foundation.common.errors import ConfigError
from foundation.objectives.base import Objective
from foundation.objectives.combined import OwnWindowsSum, WeightedSum
from foundation.objectives.masked import Masked
from foundation.objectives.myow import BYOL, MYOW
from foundation.objectives.ndt import NDT
from foundation.objectives.neurpir import NeurPIR
from foundation.objectives.nuclr import NuCLR
from foundation.objectives.objective_settings import SETTINGS_OF, ObjectiveSettings
from foundation.objectives.parts.objective_cost import ObjectiveCost, StepRows
from foundation.objectives.swap_vae import SwapVAE
from foundation.objectives.vicreg import VICReg

OBJECTIVES: dict[str, type[Objective]] = {
    "neurpir": NeurPIR,
    "vicreg": VICReg,
    "myow": MYOW,
    "byol": BYOL,
    "swap_vae": SwapVAE,
    "ndt": NDT,
    "nuclr": NuCLR,
    "masked": Masked,
}


def own_model(settings: ObjectiveSettings) -> nn.Module | None:
    """Return the encoder that the objective brings; None: any model fits."""
    config = settings.own_config()
    return None if config is None else AutoModel.from_config(config)


def build_objective(
    settings: ObjectiveSettings, dim: int, model: nn.Module | None = None, own_windows: Collection[str] = ()
) -> Objective:
    """Return the objective that the settings name.

    Args:
        settings: which.
        dim: features of the model's embeddings.
        model: the encoder, for those that keep a copy of it or read tokens of it.
        own_windows: names of those among ``settings.weights`` that read windows of their own.
    """

    def build(name: str) -> Objective:
        kind: Any = OBJECTIVES[name]
        made: Objective = kind(getattr(settings, SETTINGS_OF[name]), dim, model)
        return made

    if not settings.weights:
        return build(settings.name)
    parts = {name: build(name) for name in settings.weights}
    if not own_windows:
        return WeightedSum(parts, settings.weights)
    shared = [name for name in parts if name not in own_windows]
    groups = {"": shared} | {name: [name] for name in parts if name in own_windows}
    return OwnWindowsSum(
        {
            windows: WeightedSum({n: parts[n] for n in names}, {n: settings.weights[n] for n in names})
            for windows, names in groups.items()
        }
    )


def objective_cost(settings: ObjectiveSettings, dim: int, patch: int, rows: StepRows) -> ObjectiveCost:
    """Return the cost of a run's objective in one step.

    Args:
        settings: of the objective.
        dim: features D of an embedding.
        patch: bins of a token.
        rows: of a step.

    Raises:
        ConfigError: if the objective brings its own encoder: the cost model is of EIT.
    """
    if settings.own_config() is not None:
        raise ConfigError(
            f"objective.name is {settings.title!r}, which brings its own encoder: only EIT can be planned"
        )
    parts = [
        OBJECTIVES[name].cost(getattr(settings, SETTINGS_OF[name]), dim, patch, rows)
        for name in settings.weights or [settings.name]
    ]
    whole = parts[0]
    for part in parts[1:]:
        whole += part
    return whole
