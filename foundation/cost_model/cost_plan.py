"""`foundation plan`: what a training step costs on hardware that need not be there."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from foundation.cost_model.cost_settings import PlanSettings
from foundation.cost_model.hardware import HERE, Hardware, load_hardware
from foundation.cost_model.hardware_probe import measure
from foundation.cost_model.reading_cost import reading
from foundation.cost_model.step_cost import StepCost, StepSeconds, step_cost, step_seconds
from foundation.cost_model.step_shapes import drawn, slowest
from foundation.data.steps.views import ViewSpec
from foundation.models import EIT
from foundation.objectives import build_objective, own_model
from foundation.training.pretrain_settings import PretrainSettings

SEED = 0


def view_spec(settings: PretrainSettings) -> ViewSpec:
    """The views that a run's objective asks for; no weights are made."""
    with torch.device("meta"):
        model = own_model(settings.objective) or EIT(settings.model.config())
        return build_objective(settings.objective, settings.model.dim, model).view_spec


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
    config = run.model.config()
    spec = view_spec(run)
    shape = drawn(run.data, spec, units=settings.archive.units, bins_per_token=config.patch_length, seed=SEED)
    here = settings.hardware == HERE
    hardware = measure(settings.gpus, dim=config.dim) if here else load_hardware(settings.hardware)
    rank, imbalance = slowest(shape, world)
    own = shape.share(rank, world)
    read = reading(settings.archive, own, len(shape), run.data)
    cost = step_cost(run, own, shape.rows, world, read, gpu=hardware.kind == "gpu")
    seconds = step_seconds(cost, run, hardware, settings.gpus)
    return Plan(settings, run, hardware, cost, seconds, len(shape), shape.neuron_tokens, imbalance)
