"""A plan as text."""

from __future__ import annotations

import json
import math

from foundation.common.output.pages import text_table
from foundation.cost_model.cost_plan import Plan
from foundation.cost_model.step_cost import NOT_KNOWN

Row = tuple[str, str, str]


def table(plan: Plan) -> str:
    """Return the costs of a step as lines, with the bottleneck at the end."""
    settings, run, hardware = plan.settings, plan.run, plan.hardware
    world = plan.cost.world
    places = f"{settings.nodes} {_many(settings.nodes, 'node')} of {settings.gpus} x {hardware.name}"
    sharing = ", offloaded optimiser" if run.engine.offload == "cpu" else ""
    again = ", activation checkpointing" if run.engine.activation_checkpointing else ""
    head = [
        f"{run.objective.title}, {plan.cost.parameters / 1e6:,.1f} M parameters, {run.precision}, "
        f"ZeRO {run.zero_stage}{sharing}{again}",
        f"{places}: {world:,} {_many(world, 'process')}",
        f"{settings.archive.recordings:,} recordings of {settings.archive.units} units, {run.steps:,} steps",
    ]
    rows = [*_work(plan), *_memory(plan), *_moved(plan), *_time(plan)]
    return "\n".join([*head, "", text_table(rows, right={1}, indent=2), "", *_verdict(plan)])


def _work(plan: Plan) -> list[Row]:
    cost = plan.cost
    return [
        ("windows a step", f"{plan.windows:,}", f"{plan.neuron_tokens:,} neuron-tokens"),
        ("fullest process", f"{plan.imbalance:.2f}", "times the mean; the others wait for it"),
        ("forward", si(cost.forward.flops, "FLOP"), "encoder, on the fullest process"),
        ("backward", si(cost.backward.flops, "FLOP"), ""),
        ("computed again", si(cost.recomputed.flops, "FLOP"), "checkpointing, accumulation"),
        ("objective", si(cost.objective.work.flops, "FLOP"), "on the rows of all processes"),
    ]


def _memory(plan: Plan) -> list[Row]:
    cost, hardware = plan.cost, plan.hardware
    fits = "fits" if cost.memory <= hardware.memory else "does not fit"
    fits = f"{fits} into {si(hardware.memory, 'B')}"
    if math.isnan(cost.memory):
        fits = f"of {si(hardware.memory, 'B')}; without activations it is {si(cost.states.device, 'B')}"
    rows = [
        ("weights", si(cost.states.weights, "B"), ""),
        ("gradients", si(cost.states.gradients, "B"), ""),
        ("optimiser", si(cost.states.optimizer, "B"), ""),
        ("target networks", si(cost.states.frozen, "B"), ""),
        ("buffers", si(cost.states.buffers, "B"), "gradients on their way, weights gathered"),
        ("activations", si(cost.activations, "B"), ""),
        ("memory of a device", si(cost.memory, "B"), fits),
    ]
    fits = "fits" if cost.host_memory <= hardware.host_memory else "does not fit"
    rows += [
        ("optimiser, offloaded", si(cost.states.host, "B"), "in the memory of the node"),
        ("catalog", si(cost.reading.catalog, "B"), "in the memory of the node, with those of workers"),
        ("memory of the node", si(cost.host_memory, "B"), f"{fits} into {si(hardware.host_memory, 'B')} a device"),
    ]
    return [row for row in rows if row[1] != "0 B"]


def _moved(plan: Plan) -> list[Row]:
    cost, read = plan.cost, plan.cost.reading
    return [
        ("network, gradients and weights", si(cost.gradients_sent, "B"), "sent by each process, and received"),
        ("network, rows", si(cost.rows_sent, "B"), f"embeddings of all; {cost.collectives} messages in all"),
        ("store", si(read.stored, "B"), f"{read.blocks:,.1f} blocks, {read.reads:,.0f} reads of each process"),
        ("windows drawn", f"{read.drawn:,.0f}", f"by each process: its own of the {read.outlined:,.0f} of the step"),
    ]


def _time(plan: Plan) -> list[Row]:
    s = plan.seconds
    network, hours = s.network + s.hidden, f"{s.step * plan.run.steps / 3600:,.2f} h"
    return [
        ("time of encoder", si(s.encoder, "s"), ""),
        ("time of objective", si(s.objective, "s"), ""),
        ("time of optimiser", si(s.optimizer, "s"), ""),
        ("time of network", si(network, "s"), "beside the backward pass" if s.hidden else "after the backward pass"),
        ("time of drawing", si(s.drawing, "s"), "before the step"),
        ("time of store", si(s.store, "s"), "beside the step"),
        (
            "time of a step",
            si(s.step, "s"),
            ""
            if math.isnan(s.step)
            else f"{si(plan.rate, '')} neuron-tokens/s, FLOP utilisation {plan.utilisation:.1%}",
        ),
        ("time of the run", NOT_KNOWN if math.isnan(s.step) else hours, f"{plan.run.steps:,} steps"),
    ]


def _verdict(plan: Plan) -> list[str]:
    lines = [f"bottleneck: {plan.seconds.bottleneck}"]
    if plan.unknown:
        lines.append(
            f"{' and '.join(plan.unknown)} without a cost model (a method `cost`, docs/extend.md): work, memory of "
            "activations and time are not known"
        )
    if plan.cost.host_memory > plan.hardware.host_memory:
        lines.append("does not fit into the memory of the node: lower data.workers, or plan a smaller archive")
    if plan.cost.memory > plan.hardware.memory:
        lines.append("does not fit: raise zero_stage, or give engine.activation_checkpointing, accumulate or offload")
    if plan.settings.batch == "device" and plan.cost.world > 1:
        data = plan.run.data
        options = f"--data.tokens_per_step {data.tokens_per_step} --data.min_windows {data.min_windows}"
        own = {
            name: {key: value for key, value in vars(one).items() if value is not None}
            for name, one in data.own_windows.items()
        }
        options += f" --data.own_windows '{json.dumps(own)}'" if own else ""
        lines.append(f"to train so: {options}")
    return [*lines, f"rates of {plan.hardware.name}: {plan.hardware.source}"]


def si(value: float, unit: str) -> str:
    """Return a number with three digits and a prefix.

    Example:
        >>> si(12_345_678, "B"), si(0.00123, "s"), si(0, "B"), si(math.nan, "B")
        ('12.3 MB', '1.23 ms', '0 B', 'not known')
    """
    if math.isnan(value):
        return NOT_KNOWN
    if value == 0:
        return f"0 {unit}".strip()
    prefixes = {1e18: "E", 1e15: "P", 1e12: "T", 1e9: "G", 1e6: "M", 1e3: "k", 1.0: "", 1e-3: "m", 1e-6: "µ"}
    scale = next((scale for scale in prefixes if abs(value) >= scale * 0.9995), 1e-6)
    return f"{value / scale:.3g} {prefixes[scale]}{unit}".strip()


def _many(count: int, word: str) -> str:
    return word if count == 1 else f"{word}es" if word.endswith("s") else f"{word}s"
