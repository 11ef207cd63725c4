"""The cost of one training step: work, memory, bytes over the network and from the store, and seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from foundation.common.work import Work, total
from foundation.cost_model.encoder_cost import EncoderCost
from foundation.cost_model.hardware import Hardware
from foundation.cost_model.own_model_cost import OwnModelCost
from foundation.cost_model.population_cost import PopulationCost
from foundation.cost_model.reading_cost import Reading
from foundation.cost_model.step_shapes import Part, StepShape
from foundation.cost_model.zero_stages import FULL, States, sent, states
from foundation.objectives import Objective, ObjectiveSettings, objective_cost
from foundation.objectives.parts.objective_cost import ObjectiveCost, StepRows
from foundation.training.distributed.engine import BUCKET
from foundation.training.pretrain_settings import PretrainSettings

NOT_KNOWN = "not known"
AnyCost = EncoderCost | PopulationCost | OwnModelCost
STAGE_0_BUCKET = 500_000_000  # size of DeepSpeed's gradient messages without ZeRO, regardless of its settings
ADAM, FUSED = 84, 28  # bytes that AdamW moves per parameter, operation by operation, and fused


@dataclass(frozen=True)
class StepCost:
    """Cost of one step on the process with the most work.

    world: number of processes.
        parameters: number of trained parameters.
        parameters: that are trained.
        forward, backward, recomputed: the encoder's, in all parts and views.
        objective: cost of the objective.
        optimizer: the update of the weights.
        states: memory of weights, gradients and optimiser.
        activations: bytes kept for the backward pass.
        gradients_sent: bytes of weights and gradients on the network, each way.
        rows_sent: the same for the objective's rows.
        collectives: messages between all processes.
        reading: reads from the store.
        offloaded: bytes between device and node for an offloaded optimiser.
    """

    world: int
    parameters: int
    forward: Work
    backward: Work
    recomputed: Work
    objective: ObjectiveCost
    optimizer: Work
    states: States
    activations: float
    gradients_sent: float
    rows_sent: float
    collectives: int
    reading: Reading
    offloaded: float

    @property
    def memory(self) -> float:
        """Return the bytes of a device."""
        return self.states.device + self.activations

    @property
    def host_memory(self) -> float:
        """Return the bytes of a node's memory per device: offloaded state and the catalog."""
        return self.states.host + self.reading.catalog

    @property
    def flops(self) -> float:
        """Return the FLOPs of all computations of a step, without the effective rank."""
        return (self.forward + self.backward + self.recomputed + self.objective.work).flops

    @property
    def model_flops(self) -> float:
        """Return the FLOPs without recomputation, which FLOP utilisation is based on."""
        return self.flops - self.recomputed.flops


@dataclass(frozen=True)
class StepSeconds:
    """Time of the parts of a step.

    Args:
        encoder: forward and backward passes.
        objective: projectors and losses on the rows of all processes.
        optimizer: the update.
        network: messages that overlap with nothing.
        hidden: messages that overlap with the backward pass.
        drawing: drawing the step's windows and those of the process, before the step begins.
        store: drawing, reading and decoding the next windows, in parallel with everything else.
    """

    encoder: float
    objective: float
    optimizer: float
    network: float
    hidden: float
    drawing: float
    store: float

    @property
    def compute(self) -> float:
        """Return the seconds of work on the device."""
        return self.encoder + self.objective + self.optimizer

    @property
    def step(self) -> float:
        """Return the seconds of a step: those of the device and its waits, or those of the store if they are longer."""
        if math.isnan(self.compute + self.network):
            return math.nan
        return max(max(self.compute, self.hidden) + self.network + self.drawing, self.store)

    @property
    def bottleneck(self) -> str:
        """Return the bottleneck: ``compute`` (with the part), ``network``, ``drawing``, ``store``; or ``not known``."""
        if math.isnan(self.step):
            return NOT_KNOWN
        seconds = {"compute": self.compute, "network": self.network + self.hidden}
        seconds |= {"drawing": self.drawing, "store": self.store}
        slowest = max(seconds, key=lambda name: seconds[name])
        if slowest == "store" and self.drawing > self.store / 2:
            return "drawing"  # most of the loader's work is drawing, too
        if slowest != "compute":
            return slowest
        parts = {"encoder": self.encoder, "objective": self.objective, "optimizer": self.optimizer}
        return f"compute ({max(parts, key=lambda name: parts[name])})"


def encoder_cost(settings: PretrainSettings) -> EncoderCost | OwnModelCost:
    """Return the cost model of a run's encoder; your own class brings its own."""
    if settings.model.is_own:
        with torch.device("meta"):
            return OwnModelCost.of(settings.model.build(), settings.engine.activation_checkpointing)
    return EncoderCost(settings.model.config(), settings.precision, settings.engine.activation_checkpointing)


@dataclass(frozen=True)
class Windows:
    """Windows of a step that some objectives share.

    Args:
        objective: settings of the objectives.
        own: windows of this process.
        rows: units over the windows of all processes.
        bins: bins of a token.
        built: the objectives, without weights.
    """

    objective: ObjectiveSettings
    own: StepShape
    rows: int
    bins: int
    built: Objective | None = None


def step_cost(
    settings: PretrainSettings, shared: Sequence[Windows], world: int, read: Reading, gpu: bool = True
) -> StepCost:
    """Return the cost of a step for the process with these windows.

    Args:
        settings: of the run.
        shared: its windows; several if objectives read separate windows.
        world: number of processes.
        read: its reads from the store.
        gpu: whether devices are GPUs, with a fused optimiser and NCCL.
    """
    encoder, engine = encoder_cost(settings), settings.engine
    stream: AnyCost = encoder  # your own model makes tokens of populations in the same way as tokens of units
    if isinstance(encoder, EncoderCost):
        stream = PopulationCost(encoder.config, settings.precision, engine.activation_checkpointing)
    passes: list[tuple[AnyCost, Part]] = []
    targets: list[Part] = []
    costs: list[ObjectiveCost] = []
    inputs = 0.0
    for windows in shared:
        views = range(windows.own.tokens_BV.shape[1])
        per_view = [_accumulated(windows.own.parts(view), engine.accumulate) for view in views]
        padded = sum(b * n * t for b, n, t in per_view[0])
        units = max(n for _, n, _ in per_view[0])
        here = StepRows(windows.own.rows, windows.rows, len(windows.own), units, padded)
        one = objective_cost(windows.objective, encoder.config.dim, windows.bins, here, windows.built)
        passes += [(encoder, part) for view in one.trained for part in per_view[view]]
        passes += [(stream, part) for view in one.population for part in per_view[view]]
        targets += [part for view in one.targets for part in per_view[view]]
        inputs += 3 * padded * windows.bins * FULL
        costs.append(one)
    objective = costs[0]
    for one in costs[1:]:
        objective += one
    once = total([cost.forward(part) for cost, part in passes])
    forward = total([once, *(encoder.forward(part) for part in targets)])
    again = once if engine.accumulate > 1 else Work()
    blocks_again = total([cost.recomputed(part) for cost, part in passes])
    kept = max if engine.accumulate > 1 else sum
    held = kept(cost.held(part) for cost, part in passes) + max(cost.held_again(part) for cost, part in passes)
    of_stream = 0 if stream is encoder else stream.parameters
    parameters = encoder.parameters + of_stream + objective.parameters
    frozen = objective.frozen + (encoder.parameters if objective.targets else 0)
    offload = engine.offload == "cpu"
    moved, offloaded = _update(settings.zero_stage, parameters, frozen, world, gpu and not offload, offload)
    tensors = encoder.tensors
    stage = settings.zero_stage
    messages = 2 * math.ceil(parameters / BUCKET) if stage else math.ceil(parameters / STAGE_0_BUCKET)
    if stage == 3:
        messages += tensors
    return StepCost(
        world=world,
        parameters=parameters,
        forward=forward,
        backward=total([cost.backward(part) for cost, part in passes]),
        recomputed=total([again, blocks_again]),
        objective=objective,
        optimizer=Work(0.0, moved, tensors * (2 if gpu and not offload else 14)),
        states=states(parameters, stage, world, frozen=frozen, offload=offload),
        activations=held + objective.held + inputs,
        gradients_sent=sent(parameters, stage, world, frozen, gloo=not gpu),
        rows_sent=objective.gathered,
        collectives=(messages + objective.collectives) if world > 1 else 0,
        reading=read,
        offloaded=offloaded,
    )


def _accumulated(parts: list[Part], pieces: int) -> list[Part]:
    """Return the windows with each part cut into ``pieces``."""
    if pieces == 1:
        return parts
    cut: list[Part] = []
    for batch, units, tokens in parts:
        each, more = divmod(batch, pieces)
        cut += [(each + (k < more), units, tokens) for k in range(pieces) if each + (k < more)]
    return cut


def _update(stage: int, parameters: int, frozen: int, world: int, fused: bool, offload: bool) -> tuple[float, float]:
    """Return the bytes that the update of the weights moves on a device, and between device and node."""
    mine = parameters / (world if stage else 1)
    moved = mine * (FUSED if fused else ADAM) + parameters * 12.0  # including the gradient's norm, and clipping
    if world > 1 or stage:
        moved += parameters * 16.0  # gradients concatenated for the network and split again
    if stage:
        moved += mine * 16.0  # the fp32 part that is updated, and back
    moved += frozen * 12.0 * 2
    return (parameters * 20.0, mine * 2 * FULL) if offload else (moved, 0.0)


def step_seconds(cost: StepCost, settings: PretrainSettings, hardware: Hardware, devices: int) -> StepSeconds:
    """Return the time of a step.

    Args:
        cost: of the step.
        settings: of the run.
        hardware: of each device, its node and the network.
        devices: of a node.
    """
    precision = settings.precision
    encoder = hardware.seconds(total([cost.forward, cost.backward, cost.recomputed]), precision)
    singular = cost.objective.singular / (hardware.matmul_fp32 * hardware.share)
    objective = hardware.seconds(cost.objective.work, precision) + singular
    optimizer = hardware.seconds(cost.optimizer)
    if cost.offloaded:
        mine = cost.parameters / cost.world
        optimizer += cost.offloaded / hardware.host_bandwidth + mine * ADAM / hardware.host_memory_bandwidth
    rate = hardware.node_bandwidth
    if cost.world > devices:
        # Rings over all nodes go through all network cards of a node at once.
        rate = min(rate, hardware.network_bandwidth * devices)
    waiting = cost.collectives * hardware.network_seconds * 2 * math.log2(max(cost.world, 2)) if cost.world > 1 else 0.0
    gradients, rows = cost.gradients_sent / rate, cost.rows_sent / rate
    beside = settings.zero_stage == 3 and hardware.kind == "gpu"  # `overlap_comm` is on only for stage 3
    return StepSeconds(
        encoder=encoder,
        objective=objective,
        optimizer=optimizer,
        network=rows + waiting + (0.0 if beside else gradients),
        hidden=gradients if beside else 0.0,
        drawing=cost.reading.outlined * hardware.outline_seconds,
        store=cost.reading.seconds(hardware, settings.data.workers),
    )
