"""Splits into folds: by animal if there are several, otherwise by contiguous time with a gap. Never shuffled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foundation.common.errors import FoundationError


class TooLittleError(FoundationError):
    """A target with too little data for its outer or inner folds: it is left out, which is not a failure."""


@dataclass(frozen=True)
class Fold:
    """Indices of the samples (or windows) to learn from and to predict."""

    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Split:
    """Folds, and a description of how they were made."""

    folds: list[Fold]
    description: str


def split_by_subject(subject_S: np.ndarray, y_S: np.ndarray, folds: int) -> Split:
    """Split by whole animals; the animals of each class are spread over as many folds as possible.

    Animals are placed one by one, those with the rarest class first, each in the fold where its classes have the fewest
    animals. With no more animals than ``folds``, one animal is left out at a time.

    Args:
        subject_S: ``(S,)`` the animal of each sample.
        y_S: ``(S,)`` class indices.
        folds: largest number of folds.

    Raises:
        TooLittleError: if there are fewer than two animals.

    Example:
        >>> split = split_by_subject(np.array(["a", "a", "b", "c", "d"]), np.array([0, 1, 0, 1, 1]), folds=2)
        >>> [sorted(set(fold.test.tolist())) for fold in split.folds]
        [[0, 1, 4], [2, 3]]
    """
    subjects = np.unique(subject_S)
    n_folds = min(folds, len(subjects))
    if n_folds < 2:
        raise TooLittleError(f"a split by animal needs two animals, got {len(subjects)}")
    classes = np.unique(y_S)
    has_AC = np.array([[bool(((subject_S == s) & (y_S == c)).any()) for c in classes] for s in subjects])
    samples_A = np.array([(subject_S == s).sum() for s in subjects])
    by_rarity = np.argsort(has_AC.sum(axis=0), kind="stable")
    rarest_A = np.array([np.flatnonzero(row[by_rarity])[0] for row in has_AC])
    held_KC, load_K = np.zeros((n_folds, len(classes)), dtype=int), np.zeros(n_folds, dtype=int)
    fold_A = np.zeros(len(subjects), dtype=int)
    for a in sorted(range(len(subjects)), key=lambda a: (rarest_A[a], -samples_A[a], a)):
        mine = [c for c in by_rarity if has_AC[a, c]]
        k = min(range(n_folds), key=lambda k: (*(held_KC[k, c] for c in mine), load_K[k], k))
        fold_A[a] = k
        held_KC[k] += has_AC[a]
        load_K[k] += samples_A[a]
    fold_S = fold_A[np.searchsorted(subjects, subject_S)]
    made = [Fold(np.flatnonzero(fold_S != k), np.flatnonzero(fold_S == k)) for k in range(n_folds)]
    made = [fold for fold in made if len(fold.test)]
    if len(made) == len(subjects):
        return Split(made, f"leave one animal out, {len(subjects)} animals")
    return Split(made, f"{len(made)} folds of whole animals, {len(subjects)} animals")


def split_units(y_S: np.ndarray, folds: int, seed: int) -> Split:
    """Split the units of one animal with each class spread evenly; scores do not generalise to other animals.

    Raises:
        TooLittleError: if no class has as many units as there are folds, or there are fewer than two folds.
    """
    from sklearn.model_selection import StratifiedKFold

    counts = np.bincount(y_S)
    if folds < 2:
        raise TooLittleError(f"no class has more than {counts.max(initial=0)} units of one animal: expected at least 2")
    if counts.max(initial=0) < folds:
        raise TooLittleError(
            f"folds is {folds}: expected at most {counts.max(initial=0)}, the units of the largest class"
        )
    maker = StratifiedKFold(folds, shuffle=True, random_state=seed)
    made = [Fold(train, test) for train, test in maker.split(y_S, y_S)]
    return Split(made, f"{folds} folds of units of one animal: other animals are not tested")


def split_by_time(start_W: np.ndarray, end_W: np.ndarray, folds: int, gap: float, what: str = "windows") -> Split:
    """Split time into contiguous blocks of equally many windows, without training windows near the tested block.

    Args:
        start_W, end_W: ``(W,)`` seconds, windows in any order.
        folds: number of blocks.
        gap: minimum seconds between a training window and any tested one.
        what: noun for a window, for the description.

    Raises:
        TooLittleError: if there are fewer windows than folds, or a fold would have no training samples.

    Example:
        >>> split = split_by_time(np.arange(6.0), np.arange(6.0) + 1.0, folds=2, gap=1.0)
        >>> split.folds[0].test.tolist(), split.folds[0].train.tolist()
        ([0, 1, 2], [4, 5])
    """
    if len(start_W) < folds:
        raise TooLittleError(f"folds is {folds}: expected at most {len(start_W)}, the number of {what}")
    order = np.argsort(start_W, kind="stable")
    made = []
    for block in np.array_split(order, folds):
        first, last = start_W[block].min(), end_W[block].max()
        near = (end_W > first - gap + 1e-9) & (start_W < last + gap - 1e-9)
        train = order[~near[order]]
        if not len(train):
            raise TooLittleError(f"folds is {folds}: a gap of {gap:g} s leaves no training samples")
        made.append(Fold(train, block))
    return Split(made, f"{folds} contiguous blocks of {what} in time, {gap:g} s or more between train and test")
