"""Pieces of an objective's cost: its passes through the encoder, and its work on the rows of all processes.

Losses are computed over the global batch: every process gathers all embeddings and puts them through its own projector.
The cost of that part does not shrink with the number of processes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from foundation.common.work import Work, total

FULL = 4
COLLAPSE_CALLS = 40


@dataclass(frozen=True)
class StepRows:
    """Number of embeddings in a step.

    Args:
        own: of this process.
        everyone: of all processes.
        windows: of this process.
        units: of a window, padding included.
        neuron_tokens: of this process, padding included.
    """

    own: int
    everyone: int
    windows: int
    units: int
    neuron_tokens: int


@dataclass(frozen=True)
class ObjectiveCost:
    """Cost of an objective without the encoder's passes.

    Args:
        trained: views that pass through the encoder's unit stream with gradients.
        population: views that pass through its population stream with gradients.
        targets: views and candidates that pass through a target network without gradients.
        parameters: trained parameters of projectors, predictors and read-outs.
        frozen: parameters of target networks, without the encoder's copy.
        work: on this process, forward and backward.
        singular: FLOPs of the effective rank, which shows collapse.
        gathered: bytes of other processes' rows that this process receives.
        held: bytes kept for the backward pass.
        collectives: messages between all processes.
    """

    trained: tuple[int, ...]
    population: tuple[int, ...] = ()
    targets: tuple[int, ...] = ()
    parameters: int = 0
    frozen: int = 0
    work: Work = field(default_factory=Work)
    singular: float = 0.0
    gathered: float = 0.0
    held: float = 0.0
    collectives: int = 0

    def __add__(self, other: ObjectiveCost) -> ObjectiveCost:
        return ObjectiveCost(
            self.trained + other.trained,
            self.population + other.population,
            self.targets + other.targets,
            self.parameters + other.parameters,
            self.frozen + other.frozen,
            self.work + other.work,
            self.singular,  # of the first part alone
            self.gathered + other.gathered,
            self.held + other.held,
            self.collectives + other.collectives,
        )


def perceptron_work(sizes: list[int], rows: float, batch_norm: bool = False) -> tuple[Work, float, int]:
    """Return forward and backward work, held bytes, and parameters of a perceptron on this many rows."""
    parts, held, count = [], rows * sizes[0] * FULL, 0
    inner = len(sizes) - 2
    for i, (into, out) in enumerate(pairwise(sizes)):
        between = 1 if i < inner else 0
        normed = between * batch_norm
        moved = rows * out * FULL * (1 + between * 5 + normed * 6)
        parts.append(Work(6.0 * rows * into * out, moved, 6 + 3 * between + 4 * normed))
        held += rows * out * FULL * (between + normed)
        count += into * out + out + 2 * out * normed
    return total(parts), held, count


def vicreg_work(rows: float, width: int) -> Work:
    """Return the work of VICReg's three terms on two views."""
    return Work(2 * 6.0 * rows * width * width, 2 * rows * width * FULL * 20, 90)


def infonce_work(rows: float, width: int) -> tuple[Work, float]:
    """Return the work of InfoNCE over rows of the global batch, and the bytes that it keeps for the backward pass."""
    pairs = rows * rows
    return Work(6.0 * pairs * width, pairs * FULL * 20, 60), pairs * FULL * 4


def singular_values(rows: float, dim: int) -> float:
    """Return the FLOPs of singular values of ``(rows, dim)`` in fp64, as the fp32 FLOPs that take the same time.

    Products of columns run at half the rate; eigenvalues, mostly computed a column at a time, are assumed to run at a
    tenth of it.
    """
    tall, narrow = max(rows, dim), min(rows, dim)
    return 2 * 2.0 * tall * narrow**2 + 10 * 4 / 3 * narrow**3


def collapse_work(rows: float, dim: int) -> Work:
    """Return the work of the collapse metrics: standard deviation and similarity of all embeddings."""
    return Work(0.0, rows * dim * FULL * 14, COLLAPSE_CALLS)


def two_view_cost(
    settings: Any, dim: int, rows: StepRows, widths: list[int], batch_norm: bool, level: str
) -> ObjectiveCost:
    """Return the cost of two views through a projector, with VICReg's or InfoNCE's terms on its output."""
    own, everyone = level_rows(rows, level)
    work, held, count = perceptron_work([dim, *widths], everyone, batch_norm)
    surround = getattr(settings, "surround", None)
    extra = surround.features if surround is not None else 0
    if extra:
        wider, held, count = perceptron_work([dim + extra, *widths], everyone, batch_norm)
        work = wider
    loss, kept = vicreg_work(everyone, widths[-1]), 2.0 * everyone * widths[-1] * FULL * 6
    if getattr(settings, "loss", "vicreg") == "infonce":
        loss, kept = infonce_work(everyone, widths[-1])
    return ObjectiveCost(
        trained=(0, 1),
        parameters=count,
        work=total([work * 2, loss, collapse_work(everyone, dim)]),
        singular=singular_values(everyone, dim),
        gathered=2.0 * (everyone - own) * dim * FULL,
        held=2 * held + kept,
        collectives=8,
    )


def level_rows(rows: StepRows, level: str) -> tuple[int, int]:
    """Return how many rows this process and all processes have at a level, ``units`` or ``population``."""
    if level == "units":
        return rows.own, rows.everyone
    return rows.windows, round(rows.everyone * rows.windows / max(rows.own, 1))
