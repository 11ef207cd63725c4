"""What a score is read against: labels that say nothing, the commonest class, and the laboratory alone."""

from __future__ import annotations

import numpy as np


def permuted(y_S: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels dealt anew to the samples, each used once. For samples that are independent of each other.

    Example:
        >>> sorted(permuted(np.array([1, 2, 3]), np.random.default_rng(0)).tolist())
        [1, 2, 3]
    """
    return y_S[rng.permutation(len(y_S))]


def shifted(y_S: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A time series turned by a random part of its length, so that it keeps its course but not its moments.

    The shift is at least a tenth of the length from both ends.

    Example:
        >>> shifted(np.arange(4), np.random.default_rng(0)).tolist() in ([1, 2, 3, 0], [2, 3, 0, 1], [3, 0, 1, 2])
        True
    """
    n = len(y_S)
    least = max(1, n // 10)
    return np.roll(y_S, int(rng.integers(least, max(least + 1, n - least + 1))), axis=0)


def commonest(y_S: np.ndarray, n: int) -> np.ndarray:
    """``(n,)`` the class that there is most of. Always the same, so that its balanced accuracy is 1 / classes."""
    return np.full(n, int(np.bincount(y_S).argmax()))


def by_laboratory(y_train: np.ndarray, lab_train: np.ndarray, lab_test: np.ndarray) -> np.ndarray:
    """The class that is most over-represented in each sample's laboratory: what can be told without any activity.

    Each class counts the same, however many samples it has, because the metric does so too. Laboratories not seen in
    training get the commonest class.

    Example:
        >>> y, lab = np.array([0, 0, 0, 1, 0]), np.array(["p", "p", "p", "q", "q"])
        >>> by_laboratory(y, lab, np.array(["p", "q", "r"])).tolist()
        [0, 1, 0]
    """
    counts = np.bincount(y_train)
    said = {}
    for lab in np.unique(lab_train):
        inside = np.bincount(y_train[lab_train == lab], minlength=len(counts))
        said[lab] = int((inside / np.maximum(counts, 1)).argmax())
    default = int(counts.argmax())
    return np.array([said.get(lab, default) for lab in lab_test], dtype=np.int64)
