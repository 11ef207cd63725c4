"""The loop that trains small models: the papers' decoders and encoders, and full finetuning of a pretrained model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from foundation.common.errors import FoundationError

Batch = TypeVar("Batch")


class DivergedError(FoundationError):
    """A model whose loss is infinite or NaN."""


def run_updates(
    batches: Iterable[Batch],
    loss_of: Callable[[Batch], torch.Tensor],
    optimizer: torch.optim.Optimizer,
    *,
    clip: tuple[list[nn.Parameter], float] | None = None,
    after: Callable[[int], bool | None] | None = None,
) -> None:
    """Update the weights once for each batch.

    Args:
        batches: read one by one, each after the update of the batch before it.
        loss_of: the loss of a batch.
        optimizer: of the weights.
        clip: weights, and the largest norm that their gradient may have together.
        after: called after every update with the number of updates so far, for schedules, moving averages and looks
            at the model; training ends when it returns True.

    Raises:
        DivergedError: if a loss is infinite or NaN; the weights are then those before its update.

    Example:
        >>> layer, seen = nn.Linear(1, 1), []
        >>> sgd = torch.optim.SGD(layer.parameters(), lr=0.1)
        >>> run_updates(range(9), lambda x: (layer.weight * x).sum(), sgd, after=lambda n: seen.append(n) or n == 3)
        >>> seen
        [1, 2, 3]
    """
    for update, batch in enumerate(batches, 1):
        loss = loss_of(batch)
        optimizer.zero_grad()
        if not math.isfinite(value := loss.item()):
            rate = optimizer.param_groups[0]["lr"]
            raise DivergedError(f"the loss became {value} at a learning rate of {rate:g}: lower it")
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(*clip)
        optimizer.step()
        if after is not None and after(update):
            return


def run_epochs(
    network: nn.Module,
    samples: np.ndarray,
    batch_samples: int,
    loss_of: Callable[[np.ndarray], torch.Tensor],
    optimizer: torch.optim.Optimizer,
    *,
    epochs: int,
    seed: tuple[int, int],
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    ends: Callable[[int], bool] | None = None,
) -> None:
    """Train a network in passes through shuffled samples; gradients are clipped to a norm of 1.

    Args:
        network: whose weights the optimizer updates.
        samples: what a pass shows once, such as indices of samples or of windows.
        batch_samples: samples of an update, at most; the batches of a pass are of about equal size.
        loss_of: the loss of some samples.
        optimizer: of the weights.
        epochs: passes.
        seed: of dropout, and beside it one for the order of samples.
        schedule: of the learning rate, by epoch.
        ends: called with the number of passes so far after each; training ends when it returns True.

    Raises:
        DivergedError: if a loss is infinite or NaN.

    Example:
        >>> layer, seen = nn.Linear(1, 1), []
        >>> sgd = torch.optim.SGD(layer.parameters(), lr=0.1)
        >>> def loss_of(some):
        ...     seen.append(len(some))
        ...     return (layer.weight ** 2).sum()
        >>> run_epochs(layer, np.arange(5), 2, loss_of, sgd, epochs=9, seed=(0, 1), ends=lambda epoch: epoch == 2)
        >>> seen
        [2, 2, 1, 2, 2, 1]
    """
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed[0])
        for epoch in range(1, epochs + 1):
            network.train()
            batches = np.array_split(rng.permutation(samples), -(-len(samples) // batch_samples))
            run_updates(batches, loss_of, optimizer, clip=(list(network.parameters()), 1.0))
            if schedule is not None:
                schedule.step()
            if ends is not None and ends(epoch):
                return


@dataclass
class LengthSearch:
    """Finds how long to train: the length with the best figure on held-out data, until figures stop improving.

    Args:
        kept: the length to keep if no look is better, in steps, epochs or updates.
        patience: as many more than the best length, without a better figure, end the search.
        best: the figure of ``kept``.
        smooth: the figure of a look is the mean over this many last looks.
        min_looks: looks before one can be the best.
        margin: how much better a figure must be.

    Example:
        >>> search, looks = LengthSearch(kept=10, patience=20, smooth=2, min_looks=2), iter([0.1, 0.5, 0.7, 0.2, 0.2])
        >>> next(length for length in range(10, 60, 10) if search.ends(length, next(looks))), search.kept
        (50, 30)
    """

    kept: int
    patience: int
    best: float = -math.inf
    smooth: int = 1
    min_looks: int = 1
    margin: float = 1e-9
    figures: list[float] = field(default_factory=list)

    def ends(self, length: int, figure: float) -> bool:
        """Take the figure of a length into account; return True if the search is over."""
        self.figures.append(figure)
        smoothed = float(np.mean(self.figures[-self.smooth :]))
        if len(self.figures) >= self.min_looks and smoothed > self.best + self.margin:
            self.best, self.kept = smoothed, length
        return length - self.kept >= self.patience
