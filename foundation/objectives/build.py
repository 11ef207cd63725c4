"""Build an objective from its settings."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from torch import nn
from transformers import AutoModel

from foundation.common.errors import ConfigError
from foundation.common.extensions.named_classes import find_class, plain_failure, short_name
from foundation.common.work import Work
from foundation.data.steps.views import ViewSpec
from foundation.objectives.base import Objective
from foundation.objectives.combined import OwnWindowsSum, WeightedSum
from foundation.objectives.decoding import Decoding
from foundation.objectives.masked import Masked
from foundation.objectives.myow import BYOL, MYOW
from foundation.objectives.ndt import NDT
from foundation.objectives.neurpir import NeurPIR
from foundation.objectives.nuclr import NuCLR
from foundation.objectives.objective_settings import ObjectiveSettings
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
    "decoding": Decoding,
}


def objective_class(name: str) -> type[Objective]:
    """Return the class of an objective: one that ships with the package, or your own.

    Raises:
        ConfigError: if your own class cannot be imported or is not an objective.

    Example:
        >>> objective_class("vicreg").__name__
        'VICReg'
    """
    found: type[Objective] = OBJECTIVES.get(name) or find_class("objective", name, "objective.name")
    return found


def own_model(settings: ObjectiveSettings) -> nn.Module | None:
    """Return the encoder that the objective brings; None: any model fits."""
    config = settings.own_config()
    return None if config is None else AutoModel.from_config(config)


def build_objective(
    settings: ObjectiveSettings, dim: int, model: nn.Module | None = None, own_windows: Collection[str] = ()
) -> Objective:
    """Return the objective that the settings describe.

    Args:
        settings: of the objective.
        dim: features of the model's embeddings.
        model: the encoder, for objectives that copy it or read its tokens.
        own_windows: names in ``settings.weights`` of objectives that read separate windows.
    """

    def build(name: str) -> Objective:
        kind: Any = objective_class(name)
        if name in OBJECTIVES:
            shipped: Objective = kind(settings.of(name), dim, model)
            return shipped
        with plain_failure(f"objective.name is {name!r}, which cannot be made"):
            made: Objective = kind(settings.of(name), dim, model)
            if not isinstance(made.view_spec, ViewSpec):
                raise ConfigError(f"{name!r} has view_spec {made.view_spec!r}: expected a foundation.data.ViewSpec")
        return made

    if not settings.weights:
        return build(settings.name)
    weights, parts = settings.weights, {name: build(name) for name in settings.weights}

    def summed(names: Iterable[str]) -> WeightedSum:
        return WeightedSum({short_name(n): parts[n] for n in names}, {short_name(n): weights[n] for n in names})

    if not own_windows:
        return summed(parts)
    shared = [name for name in parts if name not in own_windows]
    groups = {"": shared} | {name: [name] for name in parts if name in own_windows}
    return OwnWindowsSum({windows: summed(names) for windows, names in groups.items()})


def has_cost(kind: type[Objective]) -> bool:
    """Return whether an objective has a cost model."""
    return getattr(kind.cost, "__func__", None) is not Objective.cost.__func__  # type: ignore[attr-defined]


def unknown_cost(objective: Objective) -> ObjectiveCost:
    """Return the cost of an objective without a cost model: its views and weights are counted; all else is NaN."""
    views = tuple(range(objective.view_spec.views))
    sizes = {True: 0, False: 0}
    for parameter in objective.parameters():
        sizes[parameter.requires_grad] += parameter.numel()
    of_units, nan = objective.stream == "units", float("nan")
    return ObjectiveCost(
        trained=views if of_units else (),
        population=() if of_units else views,
        parameters=sizes[True],
        frozen=sizes[False],
        work=Work(nan, nan, nan),
        gathered=nan,
        held=nan,
    )


def objective_cost(
    settings: ObjectiveSettings, dim: int, patch: int, rows: StepRows, built: Objective | None = None
) -> ObjectiveCost:
    """Return the cost of a run's objective in one step; values without a cost model are NaN.

    Args:
        settings: of the objective.
        dim: features D of an embedding.
        patch: bins of a token.
        rows: number of embeddings in a step.
        built: the objective itself, whose views and weights are counted if it has no cost model.

    Raises:
        ConfigError: if the objective brings its own encoder; the cost model covers EIT only.
    """
    if settings.own_config() is not None:
        raise ConfigError(
            f"objective.name is {settings.title!r}, which brings its own encoder: only EIT can be planned"
        )
    parts: list[ObjectiveCost] = []
    for name in settings.weights or [settings.name]:
        kind = objective_class(name)
        own: Any = built.parts[short_name(name)] if isinstance(built, WeightedSum) else built
        if has_cost(kind) or own is None:
            with plain_failure(f"objective.name is {name!r}, whose cost cannot be estimated"):
                parts.append(kind.cost(settings.of(name), dim, patch, rows))
        else:
            parts.append(unknown_cost(own))
    whole = parts[0]
    for part in parts[1:]:
        whole += part
    return whole
