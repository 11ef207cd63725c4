"""Train bin encoders: with the platform's objectives, with labels, or by CEBRA."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_cosine_schedule_with_warmup

from finetune.reproduce.models.cebra_encoder import CEBRAEncoder
from finetune.reproduce.myow.bins_settings import CEBRA, LABELLED, Training
from finetune.reproduce.myow.labelled_bins import Bins
from finetune.training_loop import run_updates
from foundation.data.batch import WindowBatch
from foundation.data.steps.step import StepContext
from foundation.models.population_mlp import PopulationMLP, PopulationMLPConfig
from foundation.objectives import (
    ObjectiveSettings,
    build_objective,
    own_model,
)

Encoder = Callable[[Bins], np.ndarray]


def train(name: str, bins: Bins, task: str, settings: Training, seed: int, steps: int) -> Iterator[tuple[int, Encoder]]:
    """Yield encoders after every ``settings.every`` steps and after the last; each is valid until the next one."""
    if name == CEBRA:
        yield from _train_cebra(bins, settings, seed, steps)
        return
    torch.manual_seed(seed)
    data = _Data(bins, raw=name == "swap_vae", reach=task == "reach", max_distance=_distance(name, settings))
    run = _Supervised(data, task, settings) if name == LABELLED else _Objective(name, data, settings, seed)
    generator = torch.Generator().manual_seed(seed)
    for first in range(0, steps, settings.every):
        until = min(first + settings.every, steps)
        run_updates(
            range(first, until), partial(run.loss, generator), run.optimizer, after=lambda _: run.after_update()
        )
        yield until, run.encode


def _train_cebra(bins: Bins, settings: Training, seed: int, steps: int) -> Iterator[tuple[int, Encoder]]:
    """Yield fits of all steps, half, and so on down to a 64th: the package always trains from the start."""
    scale_N = bins.count_MN.std(0) + 1e-6
    wanted = {steps} if settings.every >= steps else {max(steps // 2**k, 1) for k in range(7)}
    for count in sorted(wanted):
        encoder = CEBRAEncoder(replace(settings.cebra, seed=seed, steps=count)).fit(bins.count_MN / scale_N)
        yield count, lambda other, encoder=encoder: encoder.transform(other.count_MN / scale_N)  # type: ignore[misc]


def _distance(name: str, settings: Training) -> float:
    distance = (settings.swap_vae if name == "swap_vae" else settings.myow).max_distance
    return np.inf if distance is None else distance


class _Data:
    """Bins as batches: views near each other, of one trial."""

    def __init__(self, bins: Bins, *, raw: bool, reach: bool, max_distance: float) -> None:
        self.bins, self.width = bins, bins.width
        # Units are divided by their spread: as after dropout, except for a shift absorbed by the first layer.
        self.scale_N = torch.ones(bins.count_MN.shape[1]) if raw else torch.from_numpy(bins.count_MN.std(0) + 1e-6)
        self.x_MN = torch.from_numpy(bins.count_MN) / self.scale_N
        self.start_M = torch.from_numpy(bins.start_M)
        reachable = int(min(round(max_distance / bins.width), len(bins) - 1))
        offset_K = torch.arange(-reachable, reachable + 1)
        near_MK = torch.arange(len(bins))[:, None] + offset_K
        self.near_MK = near_MK.clamp(0, len(bins) - 1)
        apart = (self.start_M[self.near_MK] - self.start_M[:, None]).abs()
        self.allowed_MK = (near_MK == self.near_MK) & (apart <= max_distance + 1e-6) & (offset_K != 0)
        if reach:
            group_M = torch.from_numpy(bins.group_M)
            self.allowed_MK &= group_M[self.near_MK] == group_M[:, None]
        self.allowed_MK |= ~self.allowed_MK.any(1, keepdim=True) & (offset_K == 0)  # a single bin is its own neighbour

    def partner(self, rows_B: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Draw a nearby bin for each bin, uniformly."""
        which_B1 = torch.multinomial(self.allowed_MK[rows_B].double(), 1, generator=generator)
        return self.near_MK[rows_B].gather(1, which_B1)[:, 0]

    def view(self, rows_B: torch.Tensor) -> WindowBatch:
        """Bins as windows of one bin."""
        return _windows(self.x_MN[rows_B], self.start_M[rows_B], self.width)


def _windows(x_BN: torch.Tensor, start_B: torch.Tensor, width: float) -> WindowBatch:
    n, units = x_BN.shape
    return WindowBatch(
        x_BNT=x_BN[:, :, None],
        mask_BN=torch.ones(n, units, dtype=torch.bool),
        mask_BT=torch.ones(n, 1, dtype=torch.bool),
        dt_B=torch.full((n,), width),
        modality_B=torch.zeros(n, dtype=torch.int64),
        start_B=start_B,
        recording_B=torch.zeros(n, dtype=torch.int64),
    )


@torch.no_grad()
def _encode(model: nn.Module, bins: Bins, scale_N: torch.Tensor) -> torch.Tensor:
    x_MN = torch.from_numpy(bins.count_MN) / scale_N
    model.eval()
    y_MD: torch.Tensor = model(**_windows(x_MN, torch.from_numpy(bins.start_M), bins.width).model_inputs()).p_BTD[:, 0]
    model.train()
    return y_MD


def _optimizer(modules: list[nn.Module], s: Training) -> torch.optim.Optimizer:
    named = [(n, p) for module in modules for n, p in module.named_parameters() if p.requires_grad]
    parameters = [p for _, p in named]
    if s.optimizer == "lars":
        groups: list[Any] = parameters
        if s.adapt_scales:
            biases = [p for n, p in named if n.endswith("bias")]
            others = [p for n, p in named if not n.endswith("bias")]
            groups = [{"params": biases, "adapted": False}, {"params": others, "adapted": True}]
        return LARS(groups, lr=s.learning_rate, momentum=s.momentum, weight_decay=s.weight_decay)
    if s.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=s.learning_rate, momentum=s.momentum, weight_decay=s.weight_decay)
    return torch.optim.AdamW(parameters, lr=s.learning_rate, weight_decay=s.weight_decay)


class _Objective:
    """Training steps of one of the platform's objectives."""

    def __init__(self, name: str, data: _Data, settings: Training, seed: int) -> None:
        self.data, self.settings, self.seed = data, settings, seed
        self.schedule: LambdaLR | None = None
        self.progress = 0.0
        n_units = data.x_MN.shape[1]
        chosen = ObjectiveSettings(
            name=name,
            myow=replace(settings.myow, units=n_units),
            swap_vae=replace(settings.swap_vae, units=n_units),
        )
        model = own_model(chosen)
        assert model is not None
        self.model: nn.Module = model
        self.objective = build_objective(chosen, getattr(model.config, "dim", 0), model)
        if name == "swap_vae":
            trained = [p for p in [*model.parameters(), *self.objective.parameters()] if p.requires_grad]
            self.optimizer: torch.optim.Optimizer = torch.optim.Adam(trained, lr=settings.swap_vae_learning_rate)
        else:
            self.optimizer = _optimizer([model, self.objective], settings)
            if settings.warmup is not None:
                self.schedule = get_cosine_schedule_with_warmup(self.optimizer, settings.warmup, settings.max_steps)

    def loss(self, generator: torch.Generator, step: int) -> torch.Tensor:
        """Return the loss of a new draw of bins, each with a partner, and of candidates from anywhere."""
        n, size = len(self.data.bins), self.settings.batch_size
        rows_B = torch.randint(n, (size,), generator=generator)
        candidates = [
            torch.randint(n, (size,), generator=generator) for _ in range(self.objective.view_spec.candidates)
        ]
        views = [self.data.view(rows) for rows in (rows_B, self.data.partner(rows_B, generator), *candidates)]
        zero_B = torch.zeros(size, dtype=torch.int64)
        context = StepContext(torch.arange(size), zero_B, seed=self.seed, step=step, steps=self.settings.max_steps)
        self.progress = context.progress
        loss: torch.Tensor = self.objective(self.model, views, context)["loss"]
        return loss

    def after_update(self) -> None:
        """Advance the rate schedule and the objective's target network."""
        if self.schedule is not None:
            self.schedule.step()
        self.objective.after_step(self.model, self.progress)

    def encode(self, bins: Bins) -> np.ndarray:
        """``(M, D)`` features."""
        return _encode(self.model, bins, self.data.scale_N).numpy()


class _Supervised:
    """The same perceptron with a linear head, trained with labels."""

    def __init__(self, data: _Data, task: str, settings: Training) -> None:
        self.data, self.task, self.settings = data, task, settings
        widths = settings.myow.encoder
        self.model = PopulationMLP(PopulationMLPConfig(units=data.x_MN.shape[1], widths=widths))
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(widths[-1], 2 if task == "reach" else 3))
        self.optimizer = _optimizer([self.model, self.head], settings.for_labels())
        self.rows_M = torch.from_numpy(np.flatnonzero(data.bins.scored_M))
        label_M = torch.from_numpy(data.bins.label_M)
        self.aim_M: Any = torch.stack([label_M.cos(), label_M.sin()], 1).float() if task == "reach" else label_M.long()
        if task == "reach":
            self.weight_M = torch.ones(len(self.rows_M), dtype=torch.float64)
        else:
            self.weight_M = 1.0 / torch.bincount(self.aim_M[self.rows_M])[self.aim_M[self.rows_M]].double()

    def loss(self, generator: torch.Generator, step: int) -> torch.Tensor:
        """Return the loss of a new draw of scored bins; states are drawn equally often."""
        which = torch.multinomial(self.weight_M, self.settings.batch_size, replacement=True, generator=generator)
        rows_B = self.rows_M[which]
        output = self.head(self.model(**self.data.view(rows_B).model_inputs()).p_BTD[:, 0])
        aim = self.aim_M[rows_B]
        return F.mse_loss(output, aim) if self.task == "reach" else F.cross_entropy(output, aim)

    def after_update(self) -> None:
        """Do nothing: there is no schedule."""

    def encode(self, bins: Bins) -> np.ndarray:
        """``(M, 2 or 3)`` outputs of the head."""
        with torch.no_grad():
            output: np.ndarray = self.head(_encode(self.model, bins, self.data.scale_N)).numpy()
        return output


class LARS(torch.optim.Optimizer):
    """Momentum with layer-wise rates proportional to the norm of weights over that of gradients.

    You, Gitman and Ginsburg 2017 (arXiv 1708.03888), algorithm 1. As in BYOL (arXiv 2006.07733), biases and norm scales
    use the plain rate without decay, unless a parameter group sets ``adapted``: whether all of it uses layer-wise
    rates.

    Args:
        parameters: to train, or groups of them.
        lr: the global rate.
        momentum: of the update.
        weight_decay: of the weights of layers.
        trust: relative change of a layer's weights at a global rate of 1.

    Example:
        >>> layer = nn.Linear(4, 2, bias=False)
        >>> _ = layer.weight.data.fill_(1.0)
        >>> layer.weight.grad = torch.ones(2, 4) * 100
        >>> LARS(layer.parameters(), lr=1.0, weight_decay=0.0, trust=0.1).step()
        >>> round(float(layer.weight[0, 0].detach()), 6)  # a tenth of its norm, however large the gradient
        0.9
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 1e-6,
        trust: float = 1e-3,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust, "adapted": None}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the weights; an optional closure computes gradients and its loss is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                move, rate = p.grad, group["lr"]
                if p.ndim > 1 if group["adapted"] is None else group["adapted"]:
                    size, slope = p.norm(), p.grad.norm()
                    against = slope + group["weight_decay"] * size
                    known = (size > 0) & (against > 0)
                    rate = rate * torch.where(known, group["trust"] * size / against.clamp(min=1e-30), 1.0)
                    move = move + group["weight_decay"] * p
                state = self.state[p]
                if "velocity" not in state:
                    state["velocity"] = torch.zeros_like(p)
                state["velocity"].mul_(group["momentum"]).add_(rate * move)
                p.sub_(state["velocity"])
        return loss
