"""Decoding of an animal without a label of its own: a readout that is fitted to the trials of other animals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from finetune.heads.fitting.full_finetuning import Starts
from finetune.heads.fitting.head_probe import gather
from finetune.tasks.problems.window_task import WindowProblem
from foundation.evaluation.block_readout import choose_penalty, readout_of
from foundation.evaluation.feature_blocks import blocks
from foundation.evaluation.metrics import Predictions
from foundation.evaluation.readings import Features, Reading
from foundation.evaluation.splits import Fold, Split
from foundation.models import EIT


def decode_by_others(
    problem: WindowProblem, others: Sequence[WindowProblem], trunk: EIT, starts: Starts, split: Split, seed: int
) -> Predictions:
    """Decode values of one animal by ridge regression that knows the labels of the others alone.

    Features of every recording are standardised within it: those of the others over all their windows, those of this
    one over its windows outside the test block. The penalty is chosen inside the trials of the others.

    Args:
        problem: values of the animal's tokens.
        others: the same values of other animals, which the trunk knows.
        trunk: reads the others.
        starts: for a test block the model that reads this animal, and its features.
        split: the test blocks.
        seed: of the inner folds.

    Raises:
        ValueError: if there are no other animals, or labels are not values of tokens.
    """
    if not others or any(one.token_S is None or one.labels.n_classes for one in (problem, *others)):
        raise ValueError(
            f"others has {len(others)} problems: expected one or more, of values of tokens like the target"
        )
    known = [(one, np.arange(len(one.labels.y_S)), _standardised(one, one.features(trunk)[0].x_TF)) for one in others]
    train, inner = _joined([(one, everyone) for one, everyone, _ in known], seed)
    lag = min(min(one.max_lag, int(one.windows.tokens_W.max()) - 1) for one in (problem, *others))
    predicted = []
    for k, fold in enumerate(split.folds):
        ours_TF = _standardised(problem, starts(k)[1][0].x_TF, np.unique(problem.window_S[fold.train]))
        tables = [*(x_TF for _, _, x_TF in known), ours_TF]
        first = np.cumsum([0, *(len(x_TF) for x_TF in tables[:-1])])
        rows = [_lags(one, lag, int(at)) for one, at in zip((*others, problem), first, strict=True)]
        features = Features("the model", np.concatenate(tables), (Reading("lags", np.concatenate(rows)),))
        ((_, block),) = blocks(features, train)
        y_SK = np.concatenate([one.labels.y_S for one in (*others, problem)])
        readout = readout_of(block, train, 0)
        choice = choose_penalty(readout, y_SK, train, inner, 0)
        predicted.append(next(readout.path(y_SK, train, len(train) + fold.test, [choice.penalty])))
    return gather(problem, split, predicted)


def _joined(samples: Sequence[tuple[WindowProblem, np.ndarray]], seed: int) -> tuple[np.ndarray, list[Fold]]:
    """All samples of some problems as one training set, and its inner folds: places in that set."""
    first, folds = 0, []
    for problem, everyone in samples:
        inner = problem.inner(everyone, seed)
        folds.append([(first + fold.train, first + fold.test) for fold in inner])
        first += len(everyone)
    together = [tuple(np.concatenate(parts) for parts in zip(*same, strict=True)) for same in zip(*folds, strict=True)]
    return np.arange(first), [Fold(train, test) for train, test in together]


def _standardised(problem: WindowProblem, x_TF: np.ndarray, windows: np.ndarray | None = None) -> np.ndarray:
    """Features with mean 0 and standard deviation 1 over the tokens of some windows; by default of all."""
    length_W = problem.windows.tokens_W
    window_T = np.repeat(np.arange(len(length_W)), length_W)
    seen_TF = x_TF if windows is None else x_TF[np.isin(window_T, windows)]
    spread_F = seen_TF.std(axis=0)
    scaled_TF: np.ndarray = (x_TF - seen_TF.mean(axis=0)) / np.where(spread_F > 0, spread_F, 1.0)
    return scaled_TF.astype(np.float32)


def _lags(problem: WindowProblem, lag: int, first: int) -> np.ndarray:
    """``(S, L)`` rows that a problem's samples read in a table where its own tokens begin at a row."""
    assert problem.token_S is not None
    rows_SL = problem.rows.lags(problem.window_S, problem.token_S, np.arange(-lag, lag + 1))
    return np.where(rows_SL >= 0, rows_SL + first, -1)
