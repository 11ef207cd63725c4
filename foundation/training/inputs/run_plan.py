"""The windows of a run: one plan, or one for each objective that reads separate windows."""

from __future__ import annotations

from typing import Any

from foundation.common.extensions.named_classes import find_class
from foundation.common.settings.own_settings import read_own_settings
from foundation.data import StepPlan
from foundation.data.steps.data_settings import DataSettings, SamplerSettings
from foundation.data.steps.plans_in_turn import PlansInTurn
from foundation.objectives import Objective
from foundation.store.catalog import Catalog


def run_plan(
    catalog: Catalog, data: DataSettings, objective: Objective, config: Any, seed: int
) -> StepPlan | PlansInTurn:
    """Return the plan of an objective's windows.

    Args:
        catalog: the recordings.
        data: settings of the windows.
        objective: the objective, which specifies the views.
        config: configuration of the model.
        seed: seed of all draws.

    Raises:
        ConfigError: if the token budget cannot hold the minimum number of windows.
        StoreError: if no recording has a window that fits.
    """
    kind, own = own_sampler(data.sampler)
    plans = [
        kind(
            catalog,
            data.of(name) if name else data,
            part.view_spec,
            bins_per_token=bins_per_token(config, part.stream),
            seed=seed,
            spike_times=part.stream == "units" and getattr(config, "tokens", "bins") == "intervals",
            own=own,
        )
        for name, part in objective.sharing
    ]
    return plans[0] if len(plans) == 1 else PlansInTurn(plans)


def own_sampler(settings: SamplerSettings) -> tuple[type[StepPlan], Any]:
    """Return the class of a run's sampler, and the settings of a custom one.

    Raises:
        ConfigError: if the class cannot be imported, is not a sampler, or lacks a setting.

    Example:
        >>> own_sampler(SamplerSettings())
        (<class 'foundation.data.steps.step_plan.StepPlan'>, None)
    """
    if not settings.name:
        return StepPlan, None
    kind = find_class("sampler", settings.name, "data.sampler.name")
    return kind, read_own_settings(kind, settings.settings, "data.sampler.settings")


def bins_per_token(config: Any, stream: str) -> int:
    """Return how many bins make one token of a stream, ``units`` or ``population``; 1 for a model without tokens.

    Example:
        >>> from foundation.models import EITConfig
        >>> config = EITConfig(patch_length=20, population_layers=2, population_patch_length=4)
        >>> bins_per_token(config, "units"), bins_per_token(config, "population")
        (20, 4)
    """
    patch = int(getattr(config, "patch_length", 1))
    return int(getattr(config, "population_patch", patch)) if stream == "population" else patch
