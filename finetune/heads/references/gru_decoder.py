"""A small recurrent decoder of firing rates, trained on labels alone: what a model without pretraining reaches."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from finetune.finetune_settings import FinetuneSettings, GRUSettings
from finetune.heads.fitting.head_probe import Fitted, gather
from finetune.tasks.problems.window_task import WindowProblem
from finetune.training_loop import LengthSearch, run_epochs
from foundation.evaluation.feature_blocks import CLIP
from foundation.evaluation.linear_readout import inner_score, training_mean
from foundation.evaluation.splits import Split

log = logging.getLogger(__name__)


class RecurrentDecoder(nn.Module):
    """One layer of gated recurrent units (Cho et al. 2014, arXiv 1406.1078) and a linear readout at every time bin.

    Args:
        inputs: units of the population.
        outputs: values to be predicted.
        units: of the hidden state, in each direction.
        dropout: of inputs and of the hidden state.
        causal: whether it sees no bin of the future; otherwise it runs in both directions.
    """

    def __init__(self, inputs: int, outputs: int, units: int, dropout: float, causal: bool) -> None:
        super().__init__()
        self.gru = nn.GRU(inputs, units, batch_first=True, bidirectional=not causal)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(units if causal else 2 * units, outputs)

    def forward(self, x_BTN: torch.Tensor, length_B: torch.Tensor) -> torch.Tensor:
        """``(B, T, K)`` values; those after a window's end mean nothing."""
        packed = nn.utils.rnn.pack_padded_sequence(self.dropout(x_BTN), length_B, True, enforce_sorted=False)
        h_BTU, _ = nn.utils.rnn.pad_packed_sequence(self.gru(packed)[0], True, total_length=x_BTN.shape[1])
        out_BTK: torch.Tensor = self.linear(self.dropout(h_BTU))
        return out_BTK


@dataclass(frozen=True)
class _Sequences:
    """Windows of standardised activity and targets.

    Args:
        x: per window, ``(T, N)``.
        y: per window, ``(T, K)`` over their spread, NaN where a bin has no value.
    """

    x: list[torch.Tensor]
    y: list[torch.Tensor]

    @classmethod
    def of(cls, problem: WindowProblem, x_TN: np.ndarray, y_SK: np.ndarray, train: np.ndarray) -> _Sequences:
        """Standardise by the training samples."""
        row_S = problem.own_bin.rows_SL[:, 0]
        windows = np.isin(np.arange(len(problem.windows)), problem.window_S[train])
        bins = np.repeat(windows, problem.windows.tokens_W)
        scale_N = x_TN[bins].std(axis=0)
        z_TN = np.clip((x_TN - x_TN[bins].mean(axis=0)) / np.where(scale_N < 1e-6, np.inf, scale_N), -CLIP, CLIP)
        y_TK = np.full((len(x_TN), y_SK.shape[1]), np.nan, np.float32)
        y_TK[row_S] = y_SK
        sizes = problem.windows.tokens_W.tolist()
        return cls(
            list(torch.as_tensor(z_TN, dtype=torch.float32).split(sizes)), list(torch.as_tensor(y_TK).split(sizes))
        )

    def batch(self, windows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return activity, targets and lengths of some windows, padded."""
        length_B = torch.tensor([len(self.x[w]) for w in windows])
        x_BTN = pad_sequence([self.x[w] for w in windows], batch_first=True)
        y_BTK = pad_sequence([self.y[w] for w in windows], batch_first=True, padding_value=math.nan)
        return x_BTN, y_BTK, length_B


def decode_with_gru(problem: WindowProblem, split: Split, settings: FinetuneSettings, *, causal: bool) -> Fitted:
    """Decode values from firing rates by a recurrent network that is trained on labels alone, fold by fold.

    Inside the training samples the first inner fold is held out: of each dropout, a network trained on the others says
    after how many epochs the score there is best. A network of the better dropout is then trained on all training
    samples for that many epochs.

    Args:
        problem: values over time.
        split: the outer folds.
        settings: of the network, and the seed.
        causal: whether the network sees no bin of the future.
    """
    x_TN = problem.rate_features()[0].x_TF
    predicted, dropouts, epochs = [], [], []
    for k, fold in enumerate(split.folds):
        inner = problem.inner(fold.train, settings.seed)[0]
        learn, held = fold.train[inner.train], fold.train[inner.test]
        searched = {
            dropout: _best_epochs(problem, x_TN, learn, held, settings.gru, dropout, causal, settings.seed + k)
            for dropout in settings.gru.dropouts
        }
        dropout = max(searched, key=lambda p: searched[p][1])
        trained = _Training(problem, x_TN, fold.train, settings.gru, dropout, causal, settings.seed + k)
        trained.run(searched[dropout][0])
        predicted.append(trained.predict(fold.test))
        dropouts.append(dropout)
        epochs.append(searched[dropout][0])
        log.info("%s: GRU of fold %d of %d, %d epochs", problem.labels.target, k + 1, len(split.folds), epochs[-1])
    return Fitted(gather(problem, split, predicted), {"dropout": dropouts, "epochs": epochs})


def _best_epochs(
    problem: WindowProblem,
    x_TN: np.ndarray,
    learn: np.ndarray,
    held: np.ndarray,
    settings: GRUSettings,
    dropout: float,
    causal: bool,
    seed: int,
) -> tuple[int, float]:
    """How many epochs give the best score on the held samples, and that score."""
    training = _Training(problem, x_TN, learn, settings, dropout, causal, seed)
    y_SK = problem.labels.y_S
    mean = training_mean(y_SK[learn], len(held), 0)
    search = LengthSearch(1, settings.patience, smooth=3)

    def ends(epoch: int) -> bool:
        return search.ends(epoch, inner_score(y_SK[held], training.predict(held), mean, 0))

    training.run(settings.max_epochs, ends)
    return search.kept, search.best


class _Training:
    """A decoder and the windows that it is trained on."""

    def __init__(
        self,
        problem: WindowProblem,
        x_TN: np.ndarray,
        train: np.ndarray,
        settings: GRUSettings,
        dropout: float,
        causal: bool,
        seed: int,
    ) -> None:
        y_SK = problem.labels.y_S
        self.problem, self.settings, self.seed = problem, settings, seed
        self.mean_K, self.spread_K = y_SK[train].mean(axis=0), np.maximum(y_SK[train].std(axis=0), 1e-9)
        target_SK = np.full(y_SK.shape, np.nan, np.float32)  # no other label reaches the loss
        target_SK[train] = (y_SK[train] - self.mean_K) / self.spread_K
        self.data = _Sequences.of(problem, x_TN, target_SK, train)
        self.windows = np.unique(problem.window_S[train])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = RecurrentDecoder(x_TN.shape[1], y_SK.shape[1], settings.units, dropout, causal)

    def run(self, epochs: int, ends: Callable[[int], bool] | None = None) -> None:
        """Train for some epochs of the schedule that the settings span, until ``ends(epoch)``."""
        settings = self.settings
        optimizer = torch.optim.AdamW(
            self.net.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda epoch: 0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, epoch / settings.max_epochs)))
        )

        def loss_of(windows: np.ndarray) -> torch.Tensor:
            x_BTN, y_BTK, length_B = self.data.batch(windows)
            there_BTK = y_BTK.isfinite()
            error_BTK = self.net(x_BTN, length_B) - y_BTK.nan_to_num()
            return (error_BTK**2 * there_BTK).sum() / there_BTK.sum().clamp(min=1)

        given = self.net, self.windows, settings.batch_windows, loss_of, optimizer
        run_epochs(*given, epochs=epochs, seed=(self.seed, 13), schedule=schedule, ends=ends)

    @torch.no_grad()
    def predict(self, samples: np.ndarray) -> np.ndarray:
        """``(len(samples), K)`` values."""
        self.net.eval()
        windows, row = np.unique(self.problem.window_S[samples], return_inverse=True)
        x_BTN, _, length_B = self.data.batch(windows)
        out_BTK = self.net(x_BTN, length_B).numpy().astype(np.float64)
        assert self.problem.token_S is not None
        values_SK: np.ndarray = out_BTK[row, self.problem.token_S[samples]]
        return values_SK * self.spread_K + self.mean_K
