"""`foundation plan`: what a training step costs on hardware that need not be there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from foundation.cost_model.cost_settings import PlanSettings
from foundation.cost_model.hardware import HERE, Hardware, load_hardware
from foundation.cost_model.hardware_probe import measure
from foundation.cost_model.reading_cost import Reading, reading
from foundation.cost_model.step_cost import StepCost, StepSeconds, Windows, step_cost, step_seconds
from foundation.cost_model.step_shapes import StepShape, drawn, slowest
from foundation.data.steps.views import ViewSpec
from foundation.models import EIT
from foundation.objectives import ObjectiveSettings, build_objective, own_model
from foundation.training.inputs.run_plan import bins_per_token
from foundation.training.pretrain_settings import PretrainSettings

SEED = 0


@dataclass(frozen=True)
class Plan:
    """A plan.

    Args:
        settings: what was asked.
        run: the run as it would be trained.
        hardware: of each device.
        cost: of a step on the device that has most to do.
        seconds: where its time goes.
        windows: of a step.
        neuron_tokens: of a step, all devices.
        imbalance: neuron-tokens of the device that has most over the mean.
    """

    settings: PlanSettings
    run: PretrainSettings
    hardware: Hardware
    cost: StepCost
    seconds: StepSeconds
    windows: int
    neuron_tokens: int
    imbalance: float

    @property
    def fits(self) -> bool:
        """Whether a step fits into the memory of a device and of its node."""
        return self.cost.memory <= self.hardware.memory and self.cost.host_memory <= self.hardware.host_memory

    @property
    def rate(self) -> float:
        """Neuron-tokens per second of all devices."""
        return self.neuron_tokens / self.seconds.step

    @property
    def utilisation(self) -> float:
        """FLOPs of the model (nothing counted twice) over what the device's products could do in a step's time."""
        peak = self.hardware.matmul_bf16 if self.run.precision == "bf16" else self.hardware.matmul_fp32
        return self.cost.model_flops / self.seconds.step / peak


def plan(settings: PlanSettings) -> Plan:
    """What a training step costs on so many devices, and what would hold it up.

    Args:
        settings: see `PlanSettings`.

    Raises:
        ConfigError: if hardware or objective are not known here, or there are more devices than windows.
    """
    run, world = settings.run(), settings.nodes * settings.gpus
    here = settings.hardware == HERE
    hardware = measure(settings.gpus, dim=run.model.dim) if here else load_hardware(settings.hardware)
    shared: list[Windows] = []
    shapes: list[StepShape] = []
    read, imbalance = Reading(), 1.0
    for name, objective, spec, bins in _shared(run):
        data = run.data.of(name) if name else run.data
        shape = drawn(data, spec, units=settings.archive.units, bins_per_token=bins, seed=SEED)
        rank, more = slowest(shape, world)
        own = shape.share(rank, world)
        read = read.beside(reading(settings.archive, own, len(shape), data))
        imbalance = max(imbalance, more)
        shared.append(Windows(objective, own, shape.rows, bins))
        shapes.append(shape)
    cost = step_cost(run, shared, world, read, gpu=hardware.kind == "gpu")
    seconds = step_seconds(cost, run, hardware, settings.gpus)
    tokens = sum(shape.neuron_tokens for shape in shapes)
    return Plan(settings, run, hardware, cost, seconds, sum(map(len, shapes)), tokens, imbalance)


def _shared(run: PretrainSettings) -> list[tuple[str, ObjectiveSettings, ViewSpec, int]]:
    """Windows that objectives share: their name, the objectives, the views, and bins that make one token."""
    with torch.device("meta"):
        model = own_model(run.objective) or EIT(run.model.config())
        whole = build_objective(run.objective, run.model.dim, model, run.data.own_windows)
    own, found = run.data.own_windows, list[tuple[str, ObjectiveSettings, ViewSpec, int]]()
    for name, part in whole.sharing:
        settings = run.objective
        if own:
            weights = run.objective.weights or {}
            kept = {n: w for n, w in weights.items() if (n == name if name else n not in own)}
            settings = replace(run.objective, weights=kept)
        found.append((name, settings, part.view_spec, bins_per_token(model.config, part.stream)))
    return found
