"""`foundation plan`: the cost of a training step on hardware that need not be available."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from foundation.cost_model.cost_settings import PlanSettings
from foundation.cost_model.hardware import HERE, Hardware, load_hardware
from foundation.cost_model.hardware_probe import measure
from foundation.cost_model.own_model_cost import OwnModelCost
from foundation.cost_model.reading_cost import Reading, reading
from foundation.cost_model.step_cost import StepCost, StepSeconds, Windows, step_cost, step_seconds
from foundation.cost_model.step_shapes import StepShape, drawn, slowest
from foundation.objectives import Objective, ObjectiveSettings, build_objective, own_model
from foundation.objectives.build import has_cost, objective_class
from foundation.training.inputs.run_plan import bins_per_token
from foundation.training.pretrain_settings import PretrainSettings

SEED = 0


@dataclass(frozen=True)
class Plan:
    """An estimate of the cost of a step.

    Args:
        settings: of the plan.
        run: settings of the planned run.
        hardware: of each device.
        cost: of a step on the device with the most work.
        seconds: time of the parts of a step.
        windows: of a step.
        neuron_tokens: of a step, all devices.
        imbalance: neuron-tokens of the device with the most, over the mean.
        unknown: your own models and objectives without a cost model; their costs are NaN.
    """

    settings: PlanSettings
    run: PretrainSettings
    hardware: Hardware
    cost: StepCost
    seconds: StepSeconds
    windows: int
    neuron_tokens: int
    imbalance: float
    unknown: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Return whether a step fits into the memory of a device and of its node."""
        return self.cost.memory <= self.hardware.memory and self.cost.host_memory <= self.hardware.host_memory

    @property
    def rate(self) -> float:
        """Return the neuron-tokens per second of all devices."""
        return self.neuron_tokens / self.seconds.step

    @property
    def utilisation(self) -> float:
        """Return the model's FLOPs, without recomputation, over the device's peak FLOPs in a step's time."""
        peak = self.hardware.matmul_bf16 if self.run.precision == "bf16" else self.hardware.matmul_fp32
        return self.cost.model_flops / self.seconds.step / peak


def plan(settings: PlanSettings) -> Plan:
    """Estimate the cost of a training step on a number of devices, and its bottleneck.

    Args:
        settings: see `PlanSettings`.

    Raises:
        ConfigError: if the hardware or objective is unknown, or there are more devices than windows.
    """
    run, world = settings.run(), settings.nodes * settings.gpus
    here = settings.hardware == HERE
    hardware = measure(settings.gpus, dim=run.model.config().dim) if here else load_hardware(settings.hardware)
    shared: list[Windows] = []
    shapes: list[StepShape] = []
    read, imbalance = Reading(), 1.0
    unknown: list[str] = []
    for name, objective, built, bins in _shared(run, unknown):
        spec = built.view_spec
        data = run.data.of(name) if name else run.data
        shape = drawn(data, spec, units=settings.archive.units, bins_per_token=bins, seed=SEED)
        rank, more = slowest(shape, world)
        own = shape.share(rank, world)
        read = read.beside(reading(settings.archive, own, len(shape), data))
        imbalance = max(imbalance, more)
        shared.append(Windows(objective, own, shape.rows, bins, built))
        shapes.append(shape)
    cost = step_cost(run, shared, world, read, gpu=hardware.kind == "gpu")
    seconds = step_seconds(cost, run, hardware, settings.gpus)
    tokens = sum(shape.neuron_tokens for shape in shapes)
    return Plan(settings, run, hardware, cost, seconds, sum(map(len, shapes)), tokens, imbalance, tuple(unknown))


def _shared(run: PretrainSettings, unknown: list[str]) -> list[tuple[str, ObjectiveSettings, Objective, int]]:
    """Return windows shared by objectives: their name, the objectives with and without weights, and bins per token.

    Names of classes without a cost model are added to ``unknown``.
    """
    with torch.device("meta"):
        model: Any = own_model(run.objective) or run.model.build()
        whole = build_objective(run.objective, getattr(model.config, "dim", run.model.dim), model, run.data.own_windows)
    if run.model.is_own and not OwnModelCost.of(model, False).is_known:
        unknown.append(f"model {run.model.name}")
    names = run.objective.weights or [run.objective.name]
    unknown += [f"objective {name}" for name in names if not has_cost(objective_class(name))]
    own, found = run.data.own_windows, list[tuple[str, ObjectiveSettings, Objective, int]]()
    for name, part in whole.sharing:
        settings = run.objective
        if own:
            weights = run.objective.weights or {}
            kept = {n: w for n, w in weights.items() if (n == name if name else n not in own)}
            settings = replace(run.objective, weights=kept)
        found.append((name, settings, part, bins_per_token(model.config, part.stream)))
    return found
