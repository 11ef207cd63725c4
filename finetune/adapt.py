"""How a pretrained model is turned to a task: a probe of the frozen model, or finetuning of all its weights."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from finetune.evaluation.metrics import Predictions
from finetune.evaluation.splits import Fold, Split
from finetune.problem import Problem
from finetune.readout import Basis, Readout, choose_strength, fit, inner_score, make_basis, training_mean
from finetune.settings import FinetuneSettings, FullSettings
from foundation.models import EIT

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FittedFold:
    """The readout of one fold, with what it was fitted to.

    Args:
        fold: training and test samples.
        readout: fitted to all training samples.
        scores_SC: ``(S_train, C)`` the training samples in the readout's basis.
        strength: chosen by inner validation.
        choice: index of the chosen features.
    """

    fold: Fold
    readout: Readout
    scores_SC: np.ndarray
    strength: float
    choice: int


@dataclass
class Fitted:
    """Predictions of all folds, and how they came about."""

    predictions: Predictions
    choices: dict[str, list] = field(default_factory=dict)
    folds: list[FittedFold] = field(default_factory=list)


def probe(problem: Problem, features: Sequence[np.ndarray], split: Split, settings: FinetuneSettings) -> Fitted:
    """A linear readout per fold, chosen inside the training samples and applied once to the test samples.

    Args:
        problem: what is to be told.
        features: alternatives, each ``(S, F)``; the inner folds choose one, and the strength of its penalty.
        split: the outer folds.
        settings: components and seed.
    """
    labels = problem.labels
    fitted = []
    for fold in split.folds:
        y_train, inner = labels.y_S[fold.train], problem.inner(fold.train, settings.seed)
        best: tuple[float, FittedFold] | None = None
        for choice, x_SF in enumerate(features):
            basis = make_basis(x_SF[fold.train], settings.components, settings.seed)
            scores_SC = basis(x_SF[fold.train])
            strength, value = choose_strength(basis, scores_SC, y_train, inner, labels.n_classes)
            if best is None or value > best[0] + 1e-6:
                readout = fit(basis, scores_SC, y_train, strength, labels.n_classes)
                best = value, FittedFold(fold, readout, scores_SC, strength, choice)
        assert best is not None
        fitted.append(best[1])
    predictions = gather(problem, split, [f.readout.predict(features[f.choice][f.fold.test]) for f in fitted])
    choices = {"strength": [f.strength for f in fitted]}
    return Fitted(predictions, choices, fitted)


def gather(problem: Problem, split: Split, predicted: Sequence[np.ndarray]) -> Predictions:
    """Predictions of all folds, fold after fold."""
    y_S, n_classes = problem.labels.y_S, problem.labels.n_classes
    test = [fold.test for fold in split.folds]
    together = np.concatenate(test)
    return Predictions(
        y_S=y_S[together],
        predicted_S=np.concatenate(list(predicted)),
        mean_S=np.concatenate([training_mean(y_S[f.train], len(f.test), n_classes) for f in split.folds]),
        fold_S=np.concatenate([np.full(len(t), k) for k, t in enumerate(test)]),
        cluster_S=problem.cluster_S[together],
        n_classes=n_classes,
    )


def shuffled(problem: Problem, fitted: Fitted, x_SF: np.ndarray, split: Split, repeats: int, seed: int) -> list[float]:
    """The primary metric of the same probe when its training labels are shuffled; test labels are the true ones.

    Basis and strength stay as the true labels chose them.
    """
    from finetune.evaluation.metrics import primary

    test_scores = [f.readout.basis(x_SF[f.fold.test]) for f in fitted.folds]
    values = []
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, 7, repeat])
        predicted = []
        for f, scores in zip(fitted.folds, test_scores, strict=True):
            y = problem.shuffle(problem.labels.y_S[f.fold.train], rng)
            readout = fit(f.readout.basis, f.scores_SC, y, f.strength, problem.labels.n_classes)
            predicted.append(readout.decide(scores))
        values.append(primary(gather(problem, split, predicted)))
    return values


class Head(nn.Module):
    """A readout as a trainable layer: its basis stays, its weights learn.

    Args:
        readout: where the weights start.
        spread_K: standard deviation of the training values; ones for classes.
    """

    mean_F: torch.Tensor
    scale_F: torch.Tensor
    components_FC: torch.Tensor | None

    def __init__(self, readout: Readout, spread_K: np.ndarray) -> None:
        super().__init__()
        basis = readout.basis
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
        x_SF = problem.features(self.model, samples)
        with torch.no_grad():
            out_SK = self.head(torch.as_tensor(x_SF)).numpy()
        return out_SK.argmax(axis=1) if problem.labels.n_classes else out_SK * self.spread_K


def full(
    problem: Problem, model: EIT, probed: Fitted, x_SF: np.ndarray, split: Split, settings: FinetuneSettings
) -> Fitted:
    """All weights finetuned, fold by fold, from the probe's own head (Kumar et al. 2022, arXiv 2202.10054, LP-FT).

    Inside the training samples the first inner fold is held out: a run on the others says after how many updates the
    score there is best; 0 is among them. A second run on all training samples then takes that many updates.

    Args:
        problem: what is to be told.
        model: pretrained; it stays as it is.
        probed: the probe on the same folds.
        x_SF: the frozen features that the probe was fitted to.
        split: the outer folds.
        settings: of the finetuning.
    """
    predicted, updates = [], []
    for k, done in enumerate(probed.folds):
        train = done.fold.train
        inner = problem.inner(train, settings.seed)[0]
        kept = _best_updates(problem, model, done, train, inner, x_SF, settings, seed=settings.seed + k)
        updates.append(kept)
        tuned = _start(problem, model, done.readout, train)
        if kept:
            _train(problem, tuned, train, settings.full, kept, settings.seed + k)
            predicted.append(tuned.predict(problem, done.fold.test))
        else:
            predicted.append(done.readout.predict(x_SF[done.fold.test]))
        log.info("%s: fold %d of %d, %d updates kept", problem.labels.target, k + 1, len(probed.folds), kept)
    return Fitted(gather(problem, split, predicted), {"updates": updates})


def _best_updates(
    problem: Problem,
    model: EIT,
    done: FittedFold,
    train: np.ndarray,
    inner: Fold,
    x_SF: np.ndarray,
    settings: FinetuneSettings,
    seed: int,
) -> int:
    """How many updates give the best score on the inner validation samples."""
    n_classes = problem.labels.n_classes
    learn, held = train[inner.train], train[inner.test]
    y = problem.labels.y_S
    basis: Basis = make_basis(x_SF[learn], settings.components, settings.seed)
    readout = fit(basis, basis(x_SF[learn]), y[learn], done.strength, n_classes)
    mean = training_mean(y[learn], len(held), n_classes)
    best, kept, worse = inner_score(y[held], readout.predict(x_SF[held]), mean, n_classes), 0, 0
    tuned = _start(problem, model, readout, learn)

    def check(done_updates: int) -> bool:
        nonlocal best, kept, worse
        value = inner_score(y[held], tuned.predict(problem, held), mean, n_classes)
        if value > best + 1e-6:
            best, kept, worse = value, done_updates, 0
        else:
            worse += 1
        return worse >= settings.full.patience

    _train(problem, tuned, learn, settings.full, settings.full.steps, seed, check)
    return kept


def _start(problem: Problem, model: EIT, readout: Readout, train: np.ndarray) -> _Tuned:
    labels = problem.labels
    spread_K = np.ones(labels.n_classes) if labels.n_classes else np.maximum(labels.y_S[train].std(axis=0), 1e-9)
    return _Tuned(copy.deepcopy(model), Head(readout, spread_K), spread_K)


def _train(
    problem: Problem,
    tuned: _Tuned,
    samples: np.ndarray,
    settings: FullSettings,
    updates: int,
    seed: int,
    check: Callable[[int], bool] | None = None,
) -> None:
    """``updates`` updates of the schedule that ``settings.steps`` spans; ``check`` may end it."""
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
    weight_K = None
    if labels.n_classes:
        counts = np.bincount(labels.y_S[samples], minlength=labels.n_classes)
        weight_K = torch.as_tensor(len(samples) / np.maximum(counts, 1) / labels.n_classes, dtype=torch.float32)
    every = max(1, settings.steps // settings.checks)
    for update in range(updates):
        model.train()
        batch, picked = problem.draw(samples, settings.tokens_per_step, rng, model.config.patch_length)
        out_RK = head(picked.features(model(**batch.model_inputs()).h_BNTD))
        target = labels.y_S[picked.samples]
        if weight_K is not None:
            loss = F.cross_entropy(out_RK, torch.as_tensor(target), weight=weight_K)
        else:
            loss = F.mse_loss(out_RK, torch.as_tensor(target / tuned.spread_K, dtype=torch.float32))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([*model.parameters(), *head.parameters()], 1.0)
        optimizer.step()
        schedule.step()
        if check is not None and (update + 1) % every == 0 and check(update + 1):
            return


def _rate(step: int, steps: int) -> float:
    """Share of the highest rate: up over the first tenth, down to a tenth along a cosine."""
    warm = max(1, steps // 10)
    if step < warm:
        return (step + 1) / warm
    along = min(1.0, (step - warm) / max(1, steps - warm))
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * along))
