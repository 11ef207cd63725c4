"""Name the direction of a trial and play its mean course: what a decoder of stereotyped movement reaches without more.

Centre-out reaches are alike: the mean velocity of all reaches in one direction, played from the trial's start, explains
most of the variance. A decoder that stays below the profile of the true direction says nothing of single moments.
"""

from __future__ import annotations

import numpy as np

from finetune.finetune_settings import FinetuneSettings
from finetune.heads.fitting.head_probe import gather
from finetune.tasks.problems.window_task import WindowProblem
from foundation.evaluation.block_readout import Choice, choose_penalty, readout_of
from foundation.evaluation.feature_blocks import blocks
from foundation.evaluation.metrics import Predictions, score, sums
from foundation.evaluation.readings import Features
from foundation.evaluation.splits import Fold, Split


def profile_rows(
    problem: WindowProblem, split: Split, settings: FinetuneSettings
) -> tuple[Predictions, Predictions, float] | None:
    """Predict values by the mean course of the training trials of a direction, from the start of each trial.

    Args:
        problem: values inside trials.
        split: the outer folds.
        settings: for the seed.

    Returns:
        Predictions by the direction that logistic regression names from firing rates, and by the true one; and the
        share of test windows whose direction is named right. None if there are no directions in a fold.
    """
    y_W = problem.direction_W
    if y_W is None:
        return None
    every_W = np.arange(len(y_W))
    readings = problem.rows.all_bins(every_W), problem.rows.window_mean(every_W)
    features = [Features(f.name, f.x_TF, readings) for f in problem.rate_features()]
    bin_S = bins_of_trial(problem)
    named, true, right = [], [], list[np.ndarray]()
    for fold in split.folds:
        train_W, test_W = (np.unique(problem.window_S[side]) for side in (fold.train, fold.test))
        train_W = train_W[y_W[train_W] >= 0]
        if len(np.unique(y_W[train_W])) < 2:
            return None
        inner = problem.inner_windows(train_W)
        named_W = y_W.copy()
        named_W[test_W] = _name_directions(features, y_W, Fold(train_W, test_W), inner)
        profile = _Profile(problem, fold.train, bin_S, y_W)
        named.append(profile.play(named_W, fold.test))
        true.append(profile.play(y_W, fold.test))
        known_W = test_W[y_W[test_W] >= 0]
        right.append(named_W[known_W] == y_W[known_W])
    return gather(problem, split, named), gather(problem, split, true), float(np.concatenate(right).mean())


def beyond_profile(predictions: Predictions, oracle: Predictions) -> float:
    """Return the share of the variance around the true direction's profile that predictions explain.

    It is 0 for predictions as good as the profile itself, and below 0 for those that are worse.
    """
    around = Predictions(
        predictions.y_S, predictions.predicted_S, oracle.predicted_S, predictions.fold_S, predictions.cluster_S, 0
    )
    return float(score(sums(around).sum(axis=0), around.kind)["r2"])


def bins_of_trial(problem: WindowProblem) -> np.ndarray:
    """``(S,)`` time bins between the start of each sample's trial and the sample."""
    assert problem.token_S is not None
    windows = problem.windows
    _, first, part_W = np.unique(windows.part_W, return_index=True, return_inverse=True)
    offset_W = np.round((windows.start_W - windows.start_W[first][part_W]) / problem.token_seconds).astype(np.int64)
    bins: np.ndarray = offset_W[problem.window_S] + problem.token_S
    return bins


class _Profile:
    """Mean values of training samples by direction and time bin of the trial."""

    def __init__(self, problem: WindowProblem, train: np.ndarray, bin_S: np.ndarray, y_W: np.ndarray) -> None:
        self.bin_S, self.window_S = bin_S, problem.window_S
        y_SK = problem.labels.y_S
        n_classes, n_bins = int(y_W.max()) + 1, int(bin_S.max()) + 1
        class_N, bin_N = y_W[problem.window_S[train]], bin_S[train]
        self.mean_CTK = np.empty((n_classes + 1, n_bins, y_SK.shape[1]))  # the last row: all directions
        self.mean_CTK[:] = y_SK[train].mean(axis=0)
        for t in np.unique(bin_N):
            self.mean_CTK[:, t] = y_SK[train[bin_N == t]].mean(axis=0)
        for c, t in np.unique(np.stack([class_N, bin_N])[:, class_N >= 0], axis=1).T:
            self.mean_CTK[c, t] = y_SK[train[(class_N == c) & (bin_N == t)]].mean(axis=0)

    def play(self, class_W: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """``(len(samples), K)`` the mean course of each window's class; of all classes where it is -1."""
        played: np.ndarray = self.mean_CTK[class_W[self.window_S[samples]], self.bin_S[samples]]
        return played


def _name_directions(features: list[Features], y_W: np.ndarray, fold: Fold, inner: list[Fold]) -> np.ndarray:
    """Directions of the test windows by the features that do best inside the training windows."""
    n_classes, best = int(y_W.max()) + 1, None
    for kind in features:
        for _, block in blocks(kind, fold.train):
            readout = readout_of(block, fold.train, n_classes)
            choice: Choice = choose_penalty(readout, y_W, fold.train, inner, n_classes)
            if best is None or choice.value > best[1].value:
                best = readout, choice
    assert best is not None
    return next(best[0].path(y_W, fold.train, fold.test, [best[1].penalty]))
