"""Updates of a pretrained model and of the linear head that reads it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from finetune.finetune_settings import FullSettings
from finetune.heads.fitting.adapting import Adaptation, adapt
from finetune.tasks.problems.decoding_task import Problem
from finetune.training_loop import run_updates
from foundation.evaluation.linear_readout import Basis, Readout, choose_strength, fit, make_basis
from foundation.evaluation.splits import Fold
from foundation.models import EIT


class LinearHead(nn.Module):
    """A readout as a trainable layer: its basis stays, its weights learn.

    Args:
        basis: of the readout.
        readout: where the weights start.
        spread_K: standard deviation of the training values; ones for classes.
    """

    mean_F: torch.Tensor
    scale_F: torch.Tensor
    components_FC: torch.Tensor | None

    def __init__(self, basis: Basis, readout: Readout, spread_K: np.ndarray) -> None:
        super().__init__()
        weight_CK, bias_K = readout.weight_CK / spread_K, readout.bias_K / spread_K
        # A class that training does not have: a logit far below the others instead of none at all.
        bias_K = np.where(np.isfinite(bias_K), bias_K, -30.0)
        self.register_buffer("mean_F", torch.as_tensor(basis.mean_F))
        self.register_buffer("scale_F", torch.as_tensor(basis.scale_F))
        components = None if basis.components_FC is None else torch.as_tensor(basis.components_FC)
        self.register_buffer("components_FC", components)
        self.gain = float(basis.gain)
        self.linear = nn.Linear(*weight_CK.shape)
        with torch.no_grad():
            self.linear.weight.copy_(torch.as_tensor(weight_CK.T))
            self.linear.bias.copy_(torch.as_tensor(bias_K))

    def forward(self, x_RF: torch.Tensor) -> torch.Tensor:
        """``(R, K)`` logits, or values over their spread."""
        x_RF = (x_RF - self.mean_F) / self.scale_F
        if self.components_FC is not None:
            x_RF = x_RF @ self.components_FC
        return self.linear(x_RF * self.gain)


@dataclass
class Tuned:
    """A model that is being finetuned, and its head."""

    adaptation: Adaptation
    head: LinearHead
    spread_K: np.ndarray

    @property
    def model(self) -> EIT:
        """The model."""
        return self.adaptation.model

    def outputs(self, problem: Problem, samples: np.ndarray) -> np.ndarray:
        """Return ``(S, K)`` logits, or values."""
        x_SF = problem.head_features(self.model, samples)
        with torch.no_grad():
            out_SK: np.ndarray = self.head(torch.as_tensor(x_SF)).numpy()
        return out_SK if problem.labels.n_classes else out_SK * self.spread_K

    def predict(self, problem: Problem, samples: np.ndarray) -> np.ndarray:
        """Return ``(S,)`` classes or ``(S, K)`` values."""
        out_SK = self.outputs(problem, samples)
        return out_SK.argmax(axis=1) if problem.labels.n_classes else out_SK


@dataclass(frozen=True)
class Start:
    """Makes the linear head that finetuning begins from.

    Args:
        problem: samples and labels of the target.
        x_RF: frozen features.
        row_S: the row of each sample in them.
        settings: principal components that the head sees, and dropout.
        seed: of the components' search.
    """

    problem: Problem
    x_RF: np.ndarray
    row_S: np.ndarray
    settings: FullSettings
    seed: int

    def strength(self, train: np.ndarray, inner: list[Fold]) -> float:
        """The penalty of the head that does best on the inner folds."""
        labels = self.problem.labels
        rows = self.row_S[train]
        scores_SC = make_basis(self.x_RF, self.settings.components, self.seed, rows=rows)(self.x_RF, rows=rows)
        return choose_strength(scores_SC, labels.y_S[train], inner, labels.n_classes)[0]

    def head(self, train: np.ndarray, strength: float) -> tuple[LinearHead, np.ndarray]:
        """A head fitted to the training samples, and the standard deviation of their values."""
        labels, rows = self.problem.labels, self.row_S[train]
        basis = make_basis(self.x_RF, self.settings.components, self.seed, rows=rows)
        readout = fit(basis(self.x_RF, rows=rows), labels.y_S[train], strength, labels.n_classes)
        spread_K = np.ones(labels.n_classes) if labels.n_classes else np.maximum(labels.y_S[train].std(axis=0), 1e-9)
        return LinearHead(basis, readout, spread_K), spread_K


def adaptation_of(model: EIT, settings: FullSettings, how: str) -> Adaptation:
    """Return a copy of a model that is set up to learn, with the dropout of finetuning."""
    copied = copy.deepcopy(model)
    if settings.dropout is not None:
        for layer in copied.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = settings.dropout
    return adapt(copied, settings, how)


@dataclass(frozen=True)
class Part:
    """Samples of one problem that a model learns from, with the head that reads them.

    Args:
        problem: samples and labels of the target.
        tuned: the model and the head; all parts have the same model, and may have the same head.
        samples: indices of the problem's samples.
    """

    problem: Problem
    tuned: Tuned
    samples: np.ndarray


def train_together(
    parts: Sequence[Part],
    settings: FullSettings,
    updates: int,
    seed: int,
    look: Callable[[int], bool] | None = None,
) -> None:
    """Make ``updates`` updates of the schedule that ``settings.steps`` spans; ``look`` may end it.

    Each update shows windows of one part, which is drawn in proportion to its samples.

    Raises:
        DivergedError: if a loss is infinite or NaN.
    """
    adaptation = parts[0].tuned.adaptation
    model = adaptation.model
    rng = np.random.default_rng([seed, 11])
    torch.manual_seed(seed)
    heads = list({id(part.tuned.head): part.tuned.head for part in parts}.values())
    weights = [weight for head in heads for weight in head.linear.parameters()]
    own = {"params": weights, "lr": settings.head_learning_rate, "weight_decay": 0.0}
    groups = [*adaptation.groups(settings), own]
    adaptation.unfreeze(0, settings.steps)
    share = np.array([len(part.samples) for part in parts], dtype=np.float64)
    share /= share.sum()
    optimizer = torch.optim.AdamW(groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, settings.steps))

    def loss_of(_: int) -> torch.Tensor:
        model.train()
        part = parts[0] if len(parts) == 1 else parts[int(rng.choice(len(parts), p=share))]
        problem, tuned, labels = part.problem, part.tuned, part.problem.labels
        batch, picked = problem.draw(part.samples, settings.tokens_per_step, rng)
        given = _with_fewer_units(problem.model_inputs(model, batch), picked.how, settings.unit_dropout, rng)
        out_RK = tuned.head(picked.features(model(**given)))
        target = labels.y_S[picked.samples]
        if labels.n_classes:
            loss_R = F.cross_entropy(out_RK, torch.as_tensor(target), reduction="none")
        else:
            wanted_RK = torch.as_tensor(target / tuned.spread_K, dtype=torch.float32)
            loss_R = F.mse_loss(out_RK, wanted_RK, reduction="none").mean(dim=1)
        # `draw` balances the classes.
        return (loss_R * torch.as_tensor(picked.weight, dtype=torch.float32)).sum()

    def after(update: int) -> bool:
        schedule.step()
        adaptation.unfreeze(update, settings.steps)
        return look is not None and update % updates_between_looks(settings) == 0 and look(update)

    clip = [*model.parameters(), *(weight for head in heads for weight in head.parameters())], 1.0
    run_updates(range(updates), loss_of, optimizer, clip=clip, after=after)


def _with_fewer_units(given: dict[str, Any], how: str, share: float, rng: np.random.Generator) -> dict[str, Any]:
    """The inputs of an update in which about a share of each window's units is not seen; one at least stays.

    Where a sample is a unit, all are seen.
    """
    if how == "unit" or not share:
        return given
    there_BN = given["mask_BN"]
    gone_BN = torch.as_tensor(rng.random(tuple(there_BN.shape)) < share).to(there_BN.device) & there_BN
    all_gone_B = ~(there_BN & ~gone_BN).any(1)
    gone_BN[all_gone_B] = False
    if given.get("population_row_BN") is not None:
        return {**given, "hidden_BN": gone_BN}
    return {**given, "mask_BN": there_BN & ~gone_BN}


def updates_between_looks(settings: FullSettings) -> int:
    """Updates between two looks at the inner validation samples."""
    return max(1, settings.steps // settings.checks)


def _rate(step: int, steps: int) -> float:
    """Share of the highest rate: up over the first tenth, down to a tenth along a cosine."""
    warm = max(1, steps // 10)
    if step < warm:
        return (step + 1) / warm
    along = min(1.0, (step - warm) / max(1, steps - warm))
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * along))
