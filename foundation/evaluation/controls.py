"""Controls that a score is compared with: uninformative labels, the commonest class, and the laboratory alone."""

from __future__ import annotations

import math

import numpy as np

MIN_WAYS = 40  # permutations of labels, including the true one: 39 others give an interval of 95 %


def permuted(y_S: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a permutation of the labels, for samples that are independent of each other.

    Example:
        >>> sorted(permuted(np.array([1, 2, 3]), np.random.default_rng(0)).tolist())
        [1, 2, 3]
    """
    return y_S[rng.permutation(len(y_S))]


def permuted_over_animals(y_S: np.ndarray, subject_S: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return classes of units permuted within each animal; animals with one class exchange theirs whole.

    Units of an animal resemble each other in any class. A label that is constant in an animal is therefore a single
    draw, and not one draw for each of the animal's units.

    Example:
        >>> y, subject = np.array([0, 0, 0, 1, 1]), np.array(["a", "a", "a", "b", "b"])
        >>> permuted_over_animals(y, subject, np.random.default_rng(1)).tolist() in ([0, 0, 0, 1, 1], [1, 1, 1, 0, 0])
        True
    """
    out = y_S.copy()
    constant = []
    for subject in np.unique(subject_S):
        here = np.flatnonzero(subject_S == subject)
        out[here] = rng.permutation(y_S[here])
        if len(np.unique(y_S[here])) == 1:
            constant.append(here)
    classes = rng.permutation([int(y_S[here[0]]) for here in constant])
    for here, label in zip(constant, classes, strict=True):
        out[here] = label
    return out


def permuted_inside(groups: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Return an order of samples that permutes the samples within each group.

    Example:
        >>> order = permuted_inside([np.array([0, 2]), np.array([1])], np.random.default_rng(0))
        >>> sorted(order.tolist()), int(order[1])
        ([0, 1, 2], 1)
    """
    order = np.arange(sum(map(len, groups)))
    for group in groups:
        order[group] = rng.permutation(group)
    return order


def arrangements(y_S: np.ndarray, subject_S: np.ndarray) -> int:
    """Count the different results that `permuted_over_animals` can have.

    Example:
        >>> arrangements(np.array([0, 0, 1, 1, 0, 1]), np.array(["a", "a", "b", "b", "c", "c"]))
        4
    """
    inside = [y_S[subject_S == subject] for subject in np.unique(subject_S)]
    constant = [int(y[0]) for y in inside if len(np.unique(y)) == 1]
    return math.prod(orders(y) for y in [*inside, np.array(constant, dtype=np.int64)])


def orders(y: np.ndarray) -> int:
    """Count the different results that `permuted` can have.

    Example:
        >>> orders(np.array([0, 0, 1, 1]))
        6
    """
    return math.factorial(len(y)) // math.prod(math.factorial(int(n)) for n in np.bincount(y))


def turned(y_S: np.ndarray, repeat: int, repeats: int) -> np.ndarray:
    """Return a time series rotated by ``repeat + 1`` of ``repeats + 1`` equal parts, and by at least one sample.

    The series is rotated within its length, or within its period if it repeats exactly, so no rotation gives the true
    labels; its smoothness is kept. Rotations are spaced as far from each other, and from none at all, as their number
    allows: otherwise a nearly periodic series could meet itself. With the identity they form a group, which makes the
    true labels' rank exact for a series that is equally likely to begin at any of its samples.

    Example:
        >>> [turned(np.arange(4), repeat, 3).tolist() for repeat in range(3)]
        [[3, 0, 1, 2], [2, 3, 0, 1], [1, 2, 3, 0]]
    """
    n = turns(y_S)
    return np.roll(y_S, min(max(1, round(n * (repeat + 1) / (repeats + 1))), n - 1), axis=0)


def all_turned(y_S: np.ndarray, repeats: int) -> list[np.ndarray]:
    """Return a series rotated ``repeats`` times, or once by each possible rotation if there are fewer.

    Example:
        >>> [y.tolist() for y in all_turned(np.arange(3), 39)]
        [[2, 0, 1], [1, 2, 0]]
    """
    repeats = max(1, min(repeats, turns(y_S) - 1))
    return [turned(y_S, repeat, repeats) for repeat in range(repeats)]


def turns(y_S: np.ndarray) -> int:
    """Count the different series that rotation gives, without the original.

    Example:
        >>> turns(np.array([0, 0, 1, 1, 1])), turns(np.array([0, 1, 1, 0, 1, 1]))
        (5, 3)
    """
    n = len(y_S)
    return next(d for d in range(1, n + 1) if n % d == 0 and np.array_equal(np.roll(y_S, d, axis=0), y_S))


def few_ways(ways: int) -> str:
    """Return the end of a sentence for labels with too few orders; empty if there are enough.

    Example:
        >>> few_ways(8), few_ways(40)
        ('; there are only 8 orders of the labels, too few to judge a score by', '')
    """
    return f"; there are only {ways} orders of the labels, too few to judge a score by" if ways < MIN_WAYS else ""


def come_in_runs(y_S: np.ndarray) -> bool:
    """Return True if neighbouring samples share their class more often than in 99 of 100 random orders.

    Example:
        >>> come_in_runs(np.repeat([0, 1], 20)), come_in_runs(np.tile([0, 1, 1, 0], 10))
        (True, False)
    """
    rng = np.random.default_rng(len(y_S))
    pairs = int((y_S[1:] == y_S[:-1]).sum())
    orders = (rng.permutation(y_S) for _ in range(400))
    return sum(int((y[1:] == y[:-1]).sum()) >= pairs for y in orders) < 4


def commonest(y_S: np.ndarray, n: int) -> np.ndarray:
    """Return ``(n,)`` the commonest class, whose balanced accuracy is 1 / classes."""
    return np.full(n, int(np.bincount(y_S).argmax()))


def by_laboratory(y_train: np.ndarray, lab_train: np.ndarray, lab_test: np.ndarray) -> np.ndarray:
    """Return the most over-represented class of each sample's laboratory: a prediction without any activity.

    Each class counts equally, regardless of its number of samples, as in the metric. Laboratories that training did not
    see get the commonest class.

    Example:
        >>> y, lab = np.array([0, 0, 0, 1, 0]), np.array(["p", "p", "p", "q", "q"])
        >>> by_laboratory(y, lab, np.array(["p", "q", "r"])).tolist()
        [0, 1, 0]
    """
    counts = np.bincount(y_train)
    majority = {}
    for lab in np.unique(lab_train):
        inside = np.bincount(y_train[lab_train == lab], minlength=len(counts))
        majority[lab] = int((inside / np.maximum(counts, 1)).argmax())
    default = int(counts.argmax())
    return np.array([majority.get(lab, default) for lab in lab_test], dtype=np.int64)
