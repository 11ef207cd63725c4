"""States over time, smoothed by a hidden Markov model whose numbers come from training data alone."""

from __future__ import annotations

import numpy as np

from finetune.heads.fitting.head_probe import Fitted
from finetune.tasks.problems.window_task import WindowProblem
from foundation.evaluation.linear_readout import inner_score

MAX_STEPS = 1000  # of a gap between two time bins; a chain has forgotten by then


def smoothed_states(problem: WindowProblem, fitted: Fitted, seed: int) -> tuple[list[np.ndarray], int] | None:
    """Return a readout's predictions of each fold, smoothed over time, and how many folds are smoothed.

    None unless samples are states over time.

    A state goes over into another as often as in the training labels. What the readout says in a state is counted on
    the first inner fold, which the readout did not see there. The forward-backward algorithm (Rabiner 1989, Proc IEEE
    77) then gives the chance of each state in each tested time bin from all that the readout says in that fold; the
    state whose chance is highest relative to its share of the training labels is taken, as the metric counts every
    state the same. A fold stays as it is where that does not raise the metric on the first inner fold, or where the
    readout does not recognise every state there.

    Args:
        problem: states over time.
        fitted: the readout, with what it says of the first inner fold.
        seed: of the inner folds.
    """
    labels = problem.labels
    if not labels.n_classes or problem.token_S is None or problem.windows.part_name != "time blocks":
        return None
    time_S, n = problem.places()["time_S"], labels.n_classes
    predicted = np.split(fitted.predictions.predicted_S, np.cumsum([len(f.fold.test) for f in fitted.folds])[:-1])
    out, smoothed = list[np.ndarray](), 0
    for part, test_S in zip(fitted.folds, predicted, strict=True):
        if part.held_S is None:
            return None
        train, test = part.fold.train, part.fold.test
        held = train[problem.inner(train, seed)[0].test]
        moves_CC = transitions(labels.y_S[train], time_S[train], problem.token_seconds, n)
        says_CC = _shares(labels.y_S[held], part.held_S, n)
        share_C = (np.bincount(labels.y_S[train], minlength=n) + 1.0) / (len(train) + n)

        def course(
            predicted_S: np.ndarray, samples: np.ndarray, moves: np.ndarray = moves_CC, says: np.ndarray = says_CC,
            share: np.ndarray = share_C,
        ) -> np.ndarray:  # fmt: skip
            order = np.argsort(time_S[samples], kind="stable")
            gap_T = np.diff(time_S[samples][order]) / problem.token_seconds
            course_S = np.empty_like(predicted_S)
            course_S[order] = smooth(predicted_S[order], gap_T, moves, says, share)
            return course_S

        none = np.empty((len(held), 0))
        before, after = (
            inner_score(labels.y_S[held], predicted_S, none, n)
            for predicted_S in (part.held_S, course(part.held_S, held))
        )
        helps = after > before and _recognised(labels.y_S[train], labels.y_S[held], says_CC)
        out.append(course(test_S, test) if helps else test_S)
        smoothed += helps
    return out, smoothed


def transitions(y_S: np.ndarray, time_S: np.ndarray, token: float, n_classes: int) -> np.ndarray:
    """Return ``(C, C)`` how often a state goes over into each other in one time bin, counted with one more of each.

    Example:
        >>> transitions(np.array([0, 0, 0, 1]), np.array([0.0, 1.0, 2.0, 9.0]), 1.0, 2).round(2).tolist()
        [[0.75, 0.25], [0.5, 0.5]]
    """
    order = np.argsort(time_S, kind="stable")
    y, next_to = y_S[order], np.diff(time_S[order]) < 1.5 * token
    return _shares(y[:-1][next_to], y[1:][next_to], n_classes)


def _shares(from_S: np.ndarray, to_S: np.ndarray, n_classes: int) -> np.ndarray:
    counts_CC = np.ones((n_classes, n_classes))
    np.add.at(counts_CC, (from_S, to_S), 1.0)
    return counts_CC / counts_CC.sum(axis=1, keepdims=True)


def _recognised(train_S: np.ndarray, held_S: np.ndarray, says_CC: np.ndarray) -> bool:
    """Return whether every state of the training labels occurs in held-out ones, and is the commonest prediction there.

    Example:
        >>> y = np.array([0, 1])
        >>> _recognised(y, y, np.array([[0.6, 0.4], [0.3, 0.7]])), _recognised(y, y, np.array([[0.6, 0.4], [0.6, 0.4]]))
        (True, False)
    """
    states = np.unique(train_S)
    return bool(np.isin(states, held_S).all() and (says_CC[states].argmax(axis=1) == states).all())


def smooth(
    predicted_T: np.ndarray, gap_T: np.ndarray, moves_CC: np.ndarray, says_CC: np.ndarray, share_C: np.ndarray
) -> np.ndarray:
    """Return ``(T,)`` the state of each time bin with the highest posterior probability over its share.

    Args:
        predicted_T: ``(T,)`` classes predicted by a readout.
        gap_T: ``(T - 1,)`` time bins from each to the next.
        moves_CC: chance of going from a state to another in one time bin.
        says_CC: chance that the readout says a class in a state.
        share_C: share of each state; equal shares give the likeliest state.

    Example:
        >>> sticky, noisy = np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([[0.7, 0.3], [0.3, 0.7]])
        >>> smooth(np.array([0, 0, 1, 0, 0, 1, 1, 1]), np.ones(7), sticky, noisy, np.ones(2)).tolist()
        [0, 0, 0, 0, 0, 1, 1, 1]
    """
    n, length = len(moves_CC), len(predicted_T)
    steps_T = np.clip(np.round(gap_T), 1, MAX_STEPS).astype(int)
    powers = {int(k): np.linalg.matrix_power(moves_CC, int(k)) for k in np.unique(steps_T)}
    likely_TC = says_CC[:, predicted_T].T
    forward_TC, backward_TC = np.empty((length, n)), np.ones((length, n))
    for t in range(length):
        before = np.full(n, 1 / n) if t == 0 else forward_TC[t - 1] @ powers[int(steps_T[t - 1])]
        forward_TC[t] = before * likely_TC[t]
        forward_TC[t] /= forward_TC[t].sum()
    for t in range(length - 2, -1, -1):
        backward_TC[t] = powers[int(steps_T[t])] @ (likely_TC[t + 1] * backward_TC[t + 1])
        backward_TC[t] /= backward_TC[t].sum()
    smoothed_T: np.ndarray = (forward_TC * backward_TC / share_C).argmax(axis=1)
    return smoothed_T
