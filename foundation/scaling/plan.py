"""`foundation plan`: what a training step costs on hardware that need not be there."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import torch

from foundation.data.views import ViewSpec
from foundation.errors import ConfigError
from foundation.models import EIT
from foundation.objectives import build_objective, own_model
from foundation.scaling.hardware import HERE, Hardware, load_hardware
from foundation.scaling.probe import measure
from foundation.scaling.reading import ArchiveSettings, reading
from foundation.scaling.shapes import drawn, slowest
from foundation.scaling.step import StepCost, StepSeconds, step_cost, step_seconds
from foundation.training.settings import PretrainSettings

SEED = 0


def view_spec(settings: PretrainSettings) -> ViewSpec:
    """The views that a run's objective asks for; no weights are made."""
    with torch.device("meta"):
        model = own_model(settings.objective) or EIT(settings.model.config())
        return build_objective(settings.objective, settings.model.dim, model).view_spec


@dataclass(frozen=True)
class PlanSettings(PretrainSettings):
    """What `foundation plan` prints: the settings of a run (`PretrainSettings`), and where it would run.

    Args:
        store: not read; an archive is described by ``archive``.
        output: not written.
        nodes: machines.
        gpus: devices of each; a process runs on each device.
        hardware: name of a description, such as ``h100``, a YAML file, or ``this-machine``, which is measured now.
        batch: what ``data.tokens_per_step`` is: ``device``: each device's share, so that a step grows with the number
            of devices; ``step``: the whole step's, as `foundation pretrain` takes it.
        archive: the recordings that are drawn from.

    Raises:
        ConfigError: if a value is impossible.
    """

    store: str = ""
    output: str = ""
    nodes: int = 1
    gpus: int = 8
    hardware: str = "h100"
    batch: str = "device"
    archive: ArchiveSettings = field(default_factory=ArchiveSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("nodes", "gpus"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: at least 1")
        if self.nodes * self.gpus > 65_536:
            raise ConfigError(f"nodes is {self.nodes} and gpus {self.gpus}: at most 65536 devices in all")
        if self.batch not in ("device", "step"):
            raise ConfigError(f"batch is {self.batch!r}: one of device, step")

    def run(self) -> PretrainSettings:
        """The run as it would be trained: its step is that of all devices."""
        world = self.nodes * self.gpus
        plain = {f.name: getattr(self, f.name) for f in fields(PretrainSettings)}
        if self.batch == "device":
            data = replace(
                self.data,
                tokens_per_step=self.data.tokens_per_step * world,
                min_windows=self.data.min_windows * world,
            )
            plain["data"] = data
        elif world > self.data.min_windows:
            raise ConfigError(
                f"nodes is {self.nodes} and gpus {self.gpus}: at most data.min_windows={self.data.min_windows} devices "
                "in all, so that each has a window; give batch: device, or raise data.min_windows and "
                "data.tokens_per_step"
            )
        return PretrainSettings(**plain)


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
