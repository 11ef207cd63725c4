"""A small network on the features of the frozen model: what they hold beyond what a linear readout finds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from finetune.finetune_settings import FinetuneSettings, MLPSettings
from finetune.heads.fitting.head_probe import Fitted, best_readout, gather
from finetune.tasks.problems.decoding_task import Problem
from finetune.training_loop import LengthSearch, run_epochs
from foundation.evaluation.block_readout import LogisticReadout
from foundation.evaluation.feature_blocks import Block
from foundation.evaluation.linear_readout import inner_score, training_mean
from foundation.evaluation.readings import Features
from foundation.evaluation.splits import Split

log = logging.getLogger(__name__)


def mlp_probe(problem: Problem, features: Sequence[Features], split: Split, settings: FinetuneSettings) -> Fitted:
    """Read the frozen model by a network with one hidden layer, fold by fold.

    The network sees the same features as the linear probe, read as the inner folds chose for it, along their strongest
    principal axes. Inside the training samples the first inner fold is held out: a network trained on the others says
    after how many epochs the score there is best (early stopping). A second network is then trained on all training
    samples for that many epochs.

    Args:
        problem: samples and labels of the target.
        features: of the frozen model; the inner folds choose among them.
        split: the outer folds.
        settings: of the network, and the seed.

    Returns:
        Predictions, and by fold the features and the number of epochs.
    """
    predicted, epochs, names = [], [], []
    for k, fold in enumerate(split.folds):
        inner = problem.inner(fold.train, settings.seed)
        best = best_readout(problem, features, fold, inner)
        x_SC = strongest_axes(best.block, fold.train, settings.mlp.components)
        learn, held = fold.train[inner[0].train], fold.train[inner[0].test]
        kept = _best_epochs(problem, x_SC, learn, held, settings.mlp, settings.seed + k)
        network = _Network(problem, x_SC, fold.train, settings.mlp, settings.seed + k)
        network.train(kept)
        predicted.append(network.predict(fold.test))
        epochs.append(kept)
        names.append(best.name)
        log.info("%s: MLP of fold %d of %d, %d epochs", problem.labels.target, k + 1, len(split.folds), kept)
    return Fitted(gather(problem, split, predicted), {"epochs": epochs, "features": names})


def _best_epochs(
    problem: Problem, x_SC: np.ndarray, learn: np.ndarray, held: np.ndarray, settings: MLPSettings, seed: int
) -> int:
    """Return how many epochs give the best score on the held samples."""
    y_S, n_classes = problem.labels.y_S, problem.labels.n_classes
    mean = training_mean(y_S[learn], len(held), n_classes)
    search = LengthSearch(1, settings.patience, smooth=3)
    network = _Network(problem, x_SC, learn, settings, seed)

    def ends(epoch: int) -> bool:
        return search.ends(epoch, inner_score(y_S[held], network.predict(held), mean, n_classes))

    network.train(settings.max_epochs, ends)
    return search.kept


def strongest_axes(block: Block, train: np.ndarray, kept: int) -> np.ndarray:
    """Return ``(S, C)`` float32: samples along the strongest principal axes of the training samples.

    The strongest axis has unit variance over the training samples.

    Args:
        block: features of all samples, or their inner products.
        train: indices of the training samples.
        kept: axes, at most.

    Example:
        >>> z_SC = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
        >>> strongest_axes(Block(z_SC=z_SC), np.arange(15), 3).shape
        (20, 3)
    """
    scores_SC = LogisticReadout.of(block, train, 2).scores_SC
    if scores_SC.shape[1] <= kept:
        return scores_SC
    if block.z_SC is None:  # these are the axes already, the strongest last
        return np.ascontiguousarray(scores_SC[:, -kept:])
    square = scores_SC[train].T.astype(np.float64) @ scores_SC[train]
    axes_CK = np.linalg.eigh(square)[1][:, -kept:].astype(np.float32)
    return scores_SC @ axes_CK


@dataclass
class _Network:
    """A network and the samples that it learns from.

    Args:
        problem: samples and labels of the target.
        x_SC: features of all samples.
        samples: indices of the samples whose labels the network sees.
        settings: of the network.
        seed: of its weights, the order of samples and dropout.
    """

    problem: Problem
    x_SC: np.ndarray
    samples: np.ndarray
    settings: MLPSettings
    seed: int

    def __post_init__(self) -> None:
        labels, settings, y = self.problem.labels, self.settings, self.problem.labels.y_S[self.samples]
        if labels.n_classes:
            counts = np.bincount(y, minlength=labels.n_classes)
            share_K = len(y) / (np.count_nonzero(counts) * np.maximum(counts, 1))  # each class weighs the same
            self.weight_K = torch.as_tensor(share_K, dtype=torch.float32)
            self.there_K = torch.as_tensor(counts > 0)
        else:
            self.mean_K, self.spread_K = y.mean(axis=0), np.maximum(y.std(axis=0), 1e-9)
        outputs = labels.n_classes or y.shape[1]
        self.x = torch.as_tensor(self.x_SC)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.layers = nn.Sequential(
                nn.Linear(self.x_SC.shape[1], settings.units),
                nn.GELU(),
                nn.Dropout(settings.dropout),
                nn.Linear(settings.units, outputs),
            )

    def train(self, epochs: int, ends: Callable[[int], bool] | None = None) -> None:
        """Make some passes through the samples, until ``ends(epoch)``."""
        settings, y_S = self.settings, self.problem.labels.y_S
        optimizer = torch.optim.AdamW(
            self.layers.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )

        def loss_of(some: np.ndarray) -> torch.Tensor:
            out_RK = self.layers(self.x[torch.as_tensor(some)])
            if self.problem.labels.n_classes:
                y_R = torch.as_tensor(y_S[some])
                return (F.cross_entropy(out_RK, y_R, reduction="none") * self.weight_K[y_R]).mean()
            wanted_RK = torch.as_tensor((y_S[some] - self.mean_K) / self.spread_K, dtype=torch.float32)
            return F.mse_loss(out_RK, wanted_RK)

        given = self.layers, self.samples, settings.batch_samples, loss_of, optimizer
        run_epochs(*given, epochs=epochs, seed=(self.seed, 29), ends=ends)

    @torch.no_grad()
    def predict(self, samples: np.ndarray) -> np.ndarray:
        """Return classes ``(len(samples),)`` or values ``(len(samples), K)``."""
        self.layers.eval()
        out_MK = self.layers(self.x[torch.as_tensor(samples)])
        if self.problem.labels.n_classes:
            return out_MK.masked_fill(~self.there_K, -torch.inf).numpy().argmax(axis=1)
        values_MK: np.ndarray = out_MK.numpy().astype(np.float64) * self.spread_K + self.mean_K
        return values_MK
