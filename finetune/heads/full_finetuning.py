"""Finetuning of all weights of a pretrained model, from a linear head on each sample's own token."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from finetune.finetune_settings import FinetuneSettings, FullSettings
from finetune.heads.head_probe import Fitted, gather
from finetune.tasks.decoding_task import Problem
from finetune.training_loop import DivergedError, LengthSearch, run_updates
from foundation.evaluation.linear_readout import (
    Basis,
    Readout,
    choose_strength,
    fit,
    inner_score,
    make_basis,
    training_mean,
)
from foundation.evaluation.splits import Fold, Split
from foundation.models import EIT

log = logging.getLogger(__name__)


class Head(nn.Module):
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
class _Tuned:
    """A model and its head on their way."""

    model: EIT
    head: Head
    spread_K: np.ndarray

    def predict(self, problem: Problem, samples: np.ndarray) -> np.ndarray:
        x_SF = problem.head_features(self.model, samples)
        with torch.no_grad():
            out_SK = self.head(torch.as_tensor(x_SF)).numpy()
        return out_SK.argmax(axis=1) if problem.labels.n_classes else out_SK * self.spread_K


def full(
    problem: Problem, model: EIT, probed: Fitted, x_TF: np.ndarray, split: Split, settings: FinetuneSettings
) -> Fitted:
    """All weights finetuned, fold by fold, from a linear head (Kumar et al. 2022, arXiv 2202.10054, LP-FT).

    The head sees each sample's own token, or all tokens of a trial. Inside the training samples the first inner fold is
    held out: a run on the others says after how many updates the score there is best. A second run on all training
    samples then takes that many updates. Where no number of updates beats the probe there, the probe's predictions
    stay.

    Args:
        problem: what is to be predicted.
        model: pretrained; it stays as it is.
        probed: the probe on the same folds.
        x_TF: the frozen features that the probe was fitted to.
        split: the outer folds.
        settings: of the finetuning.
    """
    predicted, updates = [], []
    x_RF, row_S = problem.head_rows(x_TF)
    said = np.split(probed.predictions.predicted_S, np.cumsum([len(fold.test) for fold in split.folds])[:-1])
    for k, fitted in enumerate(probed.folds):
        train = fitted.fold.train
        start = _Start(problem, x_RF, row_S, settings.full.components, settings.seed)
        inner = problem.inner(train, settings.seed)
        seed = settings.seed + k
        strength, kept = _best_updates(problem, model, start, train, inner, fitted.choice.first_value, settings, seed)
        updates.append(kept)
        if kept:
            tuned = start.tuned(model, train, strength)
            _train(problem, tuned, train, settings.full, kept, seed)
            predicted.append(tuned.predict(problem, fitted.fold.test))
        else:
            predicted.append(said[k])
        log.info("%s: fold %d of %d, %d updates kept", problem.labels.target, k + 1, len(probed.folds), kept)
    return Fitted(gather(problem, split, predicted), {"updates": updates})


@dataclass(frozen=True)
class _Start:
    """Makes a model and the linear head that finetuning begins from.

    Args:
        problem: what is to be predicted.
        x_RF: frozen features.
        row_S: the row of each sample in them.
        components: principal components that the head sees, at most.
        seed: of their search.
    """

    problem: Problem
    x_RF: np.ndarray
    row_S: np.ndarray
    components: int
    seed: int

    def strength(self, train: np.ndarray, inner: list[Fold]) -> float:
        """The penalty of the head that does best on the inner folds."""
        labels = self.problem.labels
        rows = self.row_S[train]
        scores_SC = make_basis(self.x_RF, self.components, self.seed, rows=rows)(self.x_RF, rows=rows)
        return choose_strength(scores_SC, labels.y_S[train], inner, labels.n_classes)[0]

    def tuned(self, model: EIT, train: np.ndarray, strength: float) -> _Tuned:
        """A copy of the model with a head fitted to the training samples."""
        labels, rows = self.problem.labels, self.row_S[train]
        basis = make_basis(self.x_RF, self.components, self.seed, rows=rows)
        readout = fit(basis(self.x_RF, rows=rows), labels.y_S[train], strength, labels.n_classes)
        spread_K = np.ones(labels.n_classes) if labels.n_classes else np.maximum(labels.y_S[train].std(axis=0), 1e-9)
        return _Tuned(copy.deepcopy(model), Head(basis, readout, spread_K), spread_K)


def _best_updates(
    problem: Problem,
    model: EIT,
    start: _Start,
    train: np.ndarray,
    inner: list[Fold],
    probed: float,
    settings: FinetuneSettings,
    seed: int,
) -> tuple[float, int]:
    """The penalty of the first head, and how many updates give the best score on the first inner fold."""
    n_classes = problem.labels.n_classes
    learn, held = train[inner[0].train], train[inner[0].test]
    y = problem.labels.y_S
    mean = training_mean(y[learn], len(held), n_classes)
    strength = start.strength(train, inner)
    search = LengthSearch(0, settings.full.patience * _every(settings.full), best=probed, margin=1e-6)
    tuned = start.tuned(model, learn, strength)

    def look(updates: int) -> bool:
        return search.ends(updates, inner_score(y[held], tuned.predict(problem, held), mean, n_classes))

    try:
        _train(problem, tuned, learn, settings.full, settings.full.steps, seed, look)
    except DivergedError as error:
        log.warning("%s: %s; what was best before counts", problem.labels.target, error)
    return strength, search.kept


def _train(
    problem: Problem,
    tuned: _Tuned,
    samples: np.ndarray,
    settings: FullSettings,
    updates: int,
    seed: int,
    look: Callable[[int], bool] | None = None,
) -> None:
    """Make ``updates`` updates of the schedule that ``settings.steps`` spans; ``look`` may end it.

    Raises:
        DivergedError: if a loss is infinite or NaN.
    """
    labels = problem.labels
    model, head = tuned.model, tuned.head
    rng = np.random.default_rng([seed, 11])
    torch.manual_seed(seed)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "lr": settings.learning_rate, "weight_decay": settings.weight_decay},
        {"params": others, "lr": settings.learning_rate, "weight_decay": 0.0},
        {"params": list(head.linear.parameters()), "lr": settings.head_learning_rate, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, settings.steps))

    def loss_of(_: int) -> torch.Tensor:
        model.train()
        batch, picked = problem.draw(samples, settings.tokens_per_step, rng, model.config.patch_length)
        out_RK = head(picked.features(model(**problem.model_inputs(model, batch))))
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
        return look is not None and update % _every(settings) == 0 and look(update)

    clip = [*model.parameters(), *head.parameters()], 1.0
    run_updates(range(updates), loss_of, optimizer, clip=clip, after=after)


def _every(settings: FullSettings) -> int:
    """Updates between two looks at the inner validation samples."""
    return max(1, settings.steps // settings.checks)


def _rate(step: int, steps: int) -> float:
    """Share of the highest rate: up over the first tenth, down to a tenth along a cosine."""
    warm = max(1, steps // 10)
    if step < warm:
        return (step + 1) / warm
    along = min(1.0, (step - warm) / max(1, steps - warm))
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * along))
