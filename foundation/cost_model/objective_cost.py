"""What an objective asks of the encoder, and what it does itself with the rows of all processes.

Losses are taken over the global batch: every process gathers the embeddings of all and puts all of them through its own
projector. That part of a step does not shrink with the number of processes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from foundation.common.errors import ConfigError
from foundation.cost_model.work import Work, total
from foundation.objectives import OBJECTIVES, ObjectiveSettings

FULL = 4
COLLAPSE_CALLS = 40


@dataclass(frozen=True)
class Rows:
    """How many embeddings a step has.

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
    """What an objective costs beside the encoder's passes.

    Args:
        trained: views that the encoder sees, with gradients.
        targets: views and candidates that a target network sees, without.
        parameters: of projectors, predictors and read-outs that are trained.
        frozen: of target networks, the encoder's copy left out.
        work: on this process, forward and backward.
        singular: FLOPs of the effective rank that tells of collapse.
        gathered: bytes that this process receives of the others' rows.
        held: bytes kept for the backward pass.
        collectives: messages between all processes.
    """

    trained: tuple[int, ...]
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
            self.targets + other.targets,
            self.parameters + other.parameters,
            self.frozen + other.frozen,
            self.work + other.work,
            self.singular,  # of the first alone
            self.gathered + other.gathered,
            self.held + other.held,
            self.collectives + other.collectives,
        )


def objective_cost(settings: ObjectiveSettings, dim: int, patch: int, rows: Rows) -> ObjectiveCost:
    """What the objective of a run costs.

    Args:
        settings: of the objective.
        dim: features D of an embedding.
        patch: bins of a token.
        rows: of a step.

    Raises:
        ConfigError: if the objective brings its own encoder: the model here is of EIT.
    """
    if settings.own_config() is not None:
        raise ConfigError(
            f"objective.name is {settings.title!r}, which brings its own encoder: only EIT can be planned"
        )
    parts = []
    for name in settings.weights or [settings.name]:
        kind = getattr(settings, OBJECTIVES[name][1])
        parts.append(COSTS[name](kind, dim, patch, rows, name))
    whole = parts[0]
    for part in parts[1:]:
        whole += part
    return whole


def perceptron_work(sizes: list[int], rows: float, batch_norm: bool = False) -> tuple[Work, float, int]:
    """Forward and backward work, bytes held, and parameters of a perceptron on so many rows."""
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
    """The three terms of two views."""
    return Work(2 * 6.0 * rows * width * width, 2 * rows * width * FULL * 20, 90)


def singular_values(rows: float, dim: int) -> float:
    """FLOPs of the singular values of ``(rows, dim)``, as many in fp32 as take the time of these in fp64.

    Products of columns with columns, at half the rate; then eigenvalues, most of which goes a column at a time: taken
    to be at a tenth of the rate.
    """
    tall, narrow = max(rows, dim), min(rows, dim)
    return 2 * 2.0 * tall * narrow**2 + 10 * 4 / 3 * narrow**3


def _watched(rows: float, dim: int) -> Work:
    """Standard deviation and similarity of the embeddings of all."""
    return Work(0.0, rows * dim * FULL * 14, COLLAPSE_CALLS)


def _pair(settings: Any, dim: int, rows: Rows, widths: list[int], batch_norm: bool, level: str) -> ObjectiveCost:
    """Two views through a projector, and VICReg's terms on what comes out."""
    own, everyone = _level(rows, level)
    work, held, count = perceptron_work([dim, *widths], everyone, batch_norm)
    surround = getattr(settings, "surround", None)
    extra = surround.features if surround is not None else 0
    if extra:
        wider, held, count = perceptron_work([dim + extra, *widths], everyone, batch_norm)
        work = wider
    return ObjectiveCost(
        trained=(0, 1),
        parameters=count,
        work=total([work * 2, vicreg_work(everyone, widths[-1]), _watched(everyone, dim)]),
        singular=singular_values(everyone, dim),
        gathered=2.0 * (everyone - own) * dim * FULL,
        held=2 * (held + everyone * widths[-1] * FULL * 6),
        collectives=8,
    )


def _level(rows: Rows, level: str) -> tuple[int, int]:
    if level == "units":
        return rows.own, rows.everyone
    return rows.windows, round(rows.everyone * rows.windows / max(rows.own, 1))


def _neurpir(settings: Any, dim: int, patch: int, rows: Rows, name: str) -> ObjectiveCost:
    return _pair(settings, dim, rows, settings.projector, settings.batch_norm, "units")


def _vicreg(settings: Any, dim: int, patch: int, rows: Rows, name: str) -> ObjectiveCost:
    cost = _pair(settings, dim, rows, settings.expander, settings.batch_norm, settings.level)
    return cost if settings.segments == 2 else ObjectiveCost(**(vars(cost) | {"trained": (0, 0)}))


def _nuclr(settings: Any, dim: int, patch: int, rows: Rows, name: str) -> ObjectiveCost:
    # The projector sees this process's rows only; similarities are of the units of one window.
    work, held, count = perceptron_work([dim, settings.hidden, settings.out], rows.own)
    pairs = float(rows.own) * rows.units
    alike = Work(4 * 6.0 * pairs * settings.out, pairs * FULL * 60, 160)
    return ObjectiveCost(
        trained=(0, 1),
        parameters=count + 2 * dim,
        work=total([work * 2, alike, _watched(rows.everyone, dim)]),
        singular=singular_values(rows.everyone, dim),
        gathered=2.0 * (rows.everyone - rows.own) * dim * FULL,
        held=2 * held + pairs * FULL * 10,
        collectives=8,
    )


def _ndt(settings: Any, dim: int, patch: int, rows: Rows, name: str) -> ObjectiveCost:
    everyone = _level(rows, "population")[1]
    out = patch * max(settings.units, 1)
    read = rows.neuron_tokens if not settings.units else rows.neuron_tokens // settings.units
    work, held, count = perceptron_work([dim, out], read)
    bins = rows.neuron_tokens * patch * FULL
    return ObjectiveCost(
        trained=(0,),
        parameters=count,
        work=total([work, Work(0.0, bins * 40, 120), _watched(everyone, dim)]),
        singular=singular_values(everyone, dim),
        gathered=float(everyone - rows.windows) * dim * FULL,
        held=held + bins * 4,
        collectives=6,
    )


def _myow(settings: Any, dim: int, patch: int, rows: Rows, name: str) -> ObjectiveCost:
    own, everyone = _level(rows, settings.level)
    out = [dim, *settings.projector][-1]
    mined = settings.mined_weight > 0 and name == "myow"
    heads = [[dim, *settings.projector], [out, settings.predictor, out]]
    counts = [perceptron_work(sizes, 2 * everyone, settings.batch_norm) for sizes in heads]
    target = perceptron_work(heads[0], 2 * everyone, settings.batch_norm)
    frozen, works = target[2], [counts[0][0], counts[1][0], target[0] * (1 / 3)]
    if mined:
        last = settings.mined_projector[-1]
        sizes = [[out, *settings.mined_projector], [last, settings.mined_predictor, last]]
        more = [perceptron_work(s, everyone, settings.batch_norm) for s in sizes]
        counts += more
        pool = float(everyone) * everyone * settings.candidates
        works += [
            more[0][0],
            more[1][0],
            more[0][0] * (1 / 3),
            target[0] * (1 / 6),
            Work(2.0 * pool * dim, pool * FULL * 8, 60),
        ]
        frozen += more[0][2]
    seen = 2 + (settings.candidates if mined else 0)
    return ObjectiveCost(
        trained=(0, 1),
        targets=tuple(range(seen)),
        parameters=sum(count[2] for count in counts),
        frozen=frozen,
        work=total([*works, _watched(everyone, dim)]),
        singular=singular_values(everyone, dim),
        gathered=(2.0 + seen) * (everyone - own) * dim * FULL,
        held=sum(count[1] for count in counts),
        collectives=4 * (2 + seen),
    )


COSTS = {"neurpir": _neurpir, "vicreg": _vicreg, "nuclr": _nuclr, "ndt": _ndt, "myow": _myow, "byol": _myow}
