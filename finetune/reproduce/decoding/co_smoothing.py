"""Predict hidden units from the others (co-smoothing): bits a spike above each unit's mean rate, on held-out time.

Units are split into groups. Each group in turn is hidden throughout the trials of a test block, and its counts are
predicted from the other units: by a model that was pretrained without the block, or by Poisson regression. The
likelihood is compared with that of the units' mean rates in the training trials.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from finetune.tasks.problems.window_task import WindowProblem
from foundation.embedding.population_tokens import token_inputs
from foundation.evaluation.feature_blocks import CLIP
from foundation.evaluation.splits import Fold
from foundation.models import EIT

GROUPS = 5
LAGS = 2  # bins before and after that the regression reads
PENALTIES = (100.0, 300.0, 1000.0, 3000.0, 10_000.0, 30_000.0)


@dataclass(frozen=True)
class HiddenUnits:
    """Counts of one recording's units in the time bins of its trials, and the groups of units.

    Args:
        problem: for the trials.
        count_TN: ``(T, N)`` counts of all units, one trial after another.
        groups: units that are hidden together; each unit is in one group.
    """

    problem: WindowProblem
    count_TN: np.ndarray
    groups: list[np.ndarray]

    @classmethod
    def of(cls, problem: WindowProblem) -> HiddenUnits:
        """Split the units into groups, deterministically."""
        count_TN = problem.counts()
        units = np.random.default_rng(0).permutation(count_TN.shape[1])
        return cls(problem, count_TN, [np.sort(group) for group in np.array_split(units, min(GROUPS, len(units)))])

    @property
    def trial_of_bins(self) -> np.ndarray:
        """``(T,)`` the trial of each bin."""
        windows = self.problem.windows
        return np.repeat(np.arange(len(windows)), windows.tokens_W)

    def bins(self, samples: np.ndarray) -> np.ndarray:
        """The bins of the trials of some samples."""
        return np.flatnonzero(np.isin(self.trial_of_bins, self.problem.window_S[samples]))


def gained(hidden: HiddenUnits, folds: Sequence[Fold], expected: Callable[[int, Fold], np.ndarray]) -> np.ndarray:
    """Return ``(G, 2)`` nats gained over mean rates, and events, per trial.

    Args:
        hidden: the units.
        folds: test blocks, as samples of the problem.
        expected: maps a block's number and samples to ``(T', N)`` expected counts of all units in its bins, each
            predicted from the units of other groups.
    """
    windows = hidden.problem.windows
    _, part_W = np.unique(windows.part_W, return_inverse=True)
    sums_G2 = np.zeros((int(part_W.max()) + 1, 2))
    for k, fold in enumerate(folds):
        train_T, test_T = hidden.bins(fold.train), hidden.bins(fold.test)
        usual_N = usual_counts(hidden.count_TN[train_T])
        true_TN, predicted_TN = hidden.count_TN[test_T].astype(np.float64), expected(k, fold)
        nats_TN = usual_N - predicted_TN + true_TN * np.log(predicted_TN / usual_N)
        part_T = part_W[hidden.trial_of_bins[test_T]]
        np.add.at(sums_G2, part_T, np.stack([nats_TN.sum(axis=1), true_TN.sum(axis=1)], axis=1))
    tested = np.unique(np.concatenate([part_W[hidden.trial_of_bins[hidden.bins(fold.test)]] for fold in folds]))
    of_tested: np.ndarray = sums_G2[tested]
    return of_tested


def usual_counts(count_TN: np.ndarray) -> np.ndarray:
    """Return ``(N,)`` the mean count of each unit; half an event for silent units.

    Example:
        >>> usual_counts(np.array([[2, 0], [4, 0]])).tolist()
        [3.0, 0.25]
    """
    mean_N: np.ndarray = np.maximum(count_TN.sum(axis=0, dtype=np.float64), 0.5) / len(count_TN)
    return mean_N


def bits_per_spike(sums_G2: np.ndarray) -> float:
    """Return the bits gained per event over mean rates.

    Example:
        >>> bits_per_spike(np.array([[math.log(2), 1.0], [0.0, 1.0]]))
        0.5
    """
    nats, events = sums_G2.sum(axis=0)
    return float(nats / events / math.log(2))


@torch.no_grad()
def by_model(hidden: HiddenUnits, model: EIT, fold: Fold) -> np.ndarray:
    """Return ``(T', N)`` a model's expected counts of each unit from the units of the other groups."""
    problem = hidden.problem
    reader, windows = problem.readers(problem.recording.id), problem.windows
    tested = np.unique(problem.window_S[fold.test])
    predicted_TN = np.empty((int(windows.tokens_W[tested].sum()), hidden.count_TN.shape[1]))
    first_W = np.cumsum(windows.tokens_W[tested]) - windows.tokens_W[tested]
    model.eval()
    for tokens in np.unique(windows.tokens_W[tested]):
        here = np.flatnonzero(windows.tokens_W[tested] == tokens)
        table = reader.table(windows.start_W[tested[here]], int(tokens) * problem.patch, problem.bin_width)
        batch = reader.read(table, bins_per_token=problem.patch)
        inputs = token_inputs(model, problem.recording.id, batch)
        rows = first_W[here][:, None] + np.arange(tokens)
        for group in hidden.groups:
            hidden_BN = torch.zeros(len(here), predicted_TN.shape[1], dtype=torch.bool)
            hidden_BN[:, group] = True
            out = model(**inputs, hidden_BN=hidden_BN)
            assert out.expected_BNT is not None  # a model with a population stream gives it
            predicted_TN[rows[:, :, None], group] = out.expected_BNT[:, group].double().exp().transpose(1, 2).numpy()
    return predicted_TN


def by_regression(hidden: HiddenUnits, fold: Fold, inner: list[Fold]) -> tuple[np.ndarray, list[float]]:
    """Return ``(T', N)`` expected counts by Poisson regression on the other units, and its penalties.

    The features are square roots of counts in the bin and in two before and after, within the trial, standardised by
    the training bins and clipped as in the readouts. The penalty of each group has the best likelihood on the first
    inner fold.

    Args:
        hidden: the units.
        fold: a test block, as samples.
        inner: folds inside its training samples.
    """
    train_T, test_T = hidden.bins(fold.train), hidden.bins(fold.test)
    learn_T = hidden.bins(fold.train[inner[0].train])
    held_T = hidden.bins(fold.train[inner[0].test])
    x_TN = np.sqrt(hidden.count_TN)
    mean_N, spread_N = x_TN[train_T].mean(axis=0), x_TN[train_T].std(axis=0)
    z_TN = np.clip((x_TN - mean_N) / np.where(spread_N < 1e-6, np.inf, spread_N), -CLIP, CLIP)
    lagged_TLN = _lagged(z_TN, hidden.trial_of_bins)
    predicted_TN, penalties = np.empty((len(test_T), x_TN.shape[1])), []
    for group in hidden.groups:
        others = np.setdiff1d(np.arange(x_TN.shape[1]), group)
        x_TF = torch.as_tensor(lagged_TLN[:, :, others].reshape(len(x_TN), -1))
        y_TU = torch.as_tensor(hidden.count_TN[:, group].astype(np.float64))
        scored, start = {}, None
        for penalty in sorted(PENALTIES, reverse=True):  # warm start from the stronger penalty
            start = PoissonRegression.fit(x_TF[learn_T], y_TU[learn_T], penalty, start)
            scored[penalty] = float(start.nll(x_TF[held_T], y_TU[held_T]))
        best = min(scored, key=lambda penalty: scored[penalty])
        predicted_TN[:, group] = PoissonRegression.fit(x_TF[train_T], y_TU[train_T], best, start)(x_TF[test_T]).numpy()
        penalties.append(best)
    return predicted_TN, penalties


@dataclass(frozen=True)
class PoissonRegression:
    """Log-linear rates of several units from the same features.

    Args:
        weight_FU: weights.
        bias_U: logarithms of counts.
    """

    weight_FU: torch.Tensor
    bias_U: torch.Tensor

    def __call__(self, x_TF: torch.Tensor) -> torch.Tensor:
        """``(T, U)`` expected counts."""
        return (x_TF @ self.weight_FU + self.bias_U).clamp(max=12).exp()

    def nll(self, x_TF: torch.Tensor, y_TU: torch.Tensor) -> torch.Tensor:
        """Negative log likelihood, summed, without terms that depend only on the counts."""
        predicted_TU = self(x_TF)
        return (predicted_TU - y_TU * predicted_TU.log()).sum()

    @classmethod
    def fit(
        cls, x_TF: torch.Tensor, y_TU: torch.Tensor, penalty: float, start: PoissonRegression | None = None
    ) -> PoissonRegression:
        """Minimise the negative log likelihood plus ``penalty / 2`` times the squared weights, in 60 steps of L-BFGS.

        Args:
            x_TF: standardised features.
            y_TU: counts.
            penalty: L2 penalty of weights, not of offsets.
            start: initial values; None: the mean rates.

        Example:
            >>> x_TF = torch.tensor([[-1.0], [1.0]], dtype=torch.float64).repeat(50, 1)
            >>> found = PoissonRegression.fit(x_TF, torch.exp(1 + 0.5 * x_TF), 1e-6)
            >>> [round(float(value), 3) for value in (found.weight_FU, found.bias_U)]
            [0.5, 1.0]
        """
        if start is None:
            bias_U = torch.as_tensor(usual_counts(y_TU.numpy())).log()
            start = cls(torch.zeros(x_TF.shape[1], y_TU.shape[1], dtype=torch.float64), bias_U)
        found = replace(start, weight_FU=start.weight_FU.clone(), bias_U=start.bias_U.clone())
        parameters = [found.weight_FU.requires_grad_(), found.bias_U.requires_grad_()]
        search = torch.optim.LBFGS(parameters, max_iter=60, tolerance_change=1e-6, line_search_fn="strong_wolfe")

        def loss() -> torch.Tensor:
            search.zero_grad()
            value = (found.nll(x_TF, y_TU) + 0.5 * penalty * found.weight_FU.square().sum()) / len(x_TF)
            value.backward()
            return value

        search.step(loss)
        return cls(found.weight_FU.detach(), found.bias_U.detach())


def _lagged(z_TN: np.ndarray, window_T: np.ndarray) -> np.ndarray:
    """``(T, L, N)`` the bins around each bin, 0 outside its trial."""
    lags = range(-LAGS, LAGS + 1)
    out = np.zeros((len(z_TN), len(lags), z_TN.shape[1]))
    for place, lag in enumerate(lags):
        other = np.arange(len(z_TN)) + lag
        inside = (other >= 0) & (other < len(z_TN))
        inside[inside] = window_T[other[inside]] == window_T[inside]
        out[inside, place] = z_TN[other[inside]]
    return out
