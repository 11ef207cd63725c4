"""A linear probe small enough to be fitted in the middle of training."""

from __future__ import annotations

import numpy as np

RIDGE = 1e-2


def balanced_accuracy(
    train_ND: np.ndarray, train_N: np.ndarray, test_MD: np.ndarray, test_M: np.ndarray
) -> tuple[float, int]:
    """Mean over classes of the share that a linear classifier gets right.

    One-against-all ridge regression in which every class weighs the same; features are standardised by the training
    rows. Test rows whose class has no training row are left out.

    Args:
        train_ND, train_N: features and labels to fit.
        test_MD, test_M: and to score.

    Returns:
        The balanced accuracy and the number of classes (chance is one over it); NaN where fewer than two are left.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> labels = np.repeat(["a", "b"], 50)
        >>> z_ND = rng.normal(size=(100, 4)) + (labels == "a")[:, None] * 4
        >>> balanced_accuracy(z_ND[::2], labels[::2], z_ND[1::2], labels[1::2])[0] > 0.9
        True
    """
    classes, code_N = np.unique(train_N, return_inverse=True)
    known_M = np.isin(test_M, classes)
    test_MD, test_M = test_MD[known_M], test_M[known_M]
    if len(classes) < 2 or len(np.unique(test_M)) < 2:
        return float("nan"), len(classes)
    mean_D, std_D = train_ND.mean(0), train_ND.std(0) + 1e-8
    x_NF, y_MF = (_with_one((a - mean_D) / std_D) for a in (train_ND, test_MD))
    target_NC = np.where(code_N[:, None] == np.arange(len(classes)), 1.0, -1.0)
    weight_N = 1.0 / (np.bincount(code_N)[code_N] * len(classes))
    gram_FF = (x_NF * weight_N[:, None]).T @ x_NF + RIDGE * np.eye(x_NF.shape[1])
    w_FC = np.linalg.solve(gram_FF, (x_NF * weight_N[:, None]).T @ target_NC)
    guess_M = classes[(y_MF @ w_FC).argmax(1)]
    shares = [float((guess_M[test_M == c] == c).mean()) for c in np.unique(test_M)]
    return float(np.mean(shares)), len(classes)


def _with_one(x_ND: np.ndarray) -> np.ndarray:
    return np.concatenate([x_ND, np.ones((len(x_ND), 1))], axis=1)
