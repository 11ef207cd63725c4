"""Readouts in closed form: ridge regression of values and of classes, fast enough to run during training."""

from __future__ import annotations

import numpy as np

from foundation.evaluation.metrics import CLASSES, Predictions, score, sums

PENALTY = 1e-2


def solve_ridge(x_NF: np.ndarray, y_NK: np.ndarray, penalty: float, weight_N: np.ndarray | None = None) -> np.ndarray:
    """Return ``(F, K)`` weights with the least squared error plus ``penalty`` times the squared weights.

    Args:
        x_NF: features; centre them, or append a column of ones, for an intercept.
        y_NK: values.
        penalty: of the weights.
        weight_N: weight of each sample's squared error; 1 by default.

    Example:
        >>> solve_ridge(np.eye(2), np.array([[2.0], [4.0]]), penalty=1.0).tolist()
        [[1.0], [2.0]]
    """
    weighted_NF = x_NF if weight_N is None else x_NF * weight_N[:, None]
    gram_FF = weighted_NF.T @ x_NF + penalty * np.eye(x_NF.shape[1])
    return np.linalg.solve(gram_FF, weighted_NF.T @ y_NK)


def ridge_accuracy(
    train_ND: np.ndarray, train_N: np.ndarray, test_MD: np.ndarray, test_M: np.ndarray
) -> tuple[float, int]:
    """Return the balanced accuracy of one-against-all ridge regression, and the number of classes.

    Every class has equal weight; features are standardised by the training rows. Test rows whose class has no training
    row are left out. Chance is one over the number of classes.

    Args:
        train_ND, train_N: features and labels to fit.
        test_MD, test_M: features and labels to score.

    Returns:
        NaN as the accuracy if fewer than two classes are left.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> labels = np.repeat(["a", "b"], 50)
        >>> z_ND = rng.normal(size=(100, 4)) + (labels == "a")[:, None] * 4
        >>> ridge_accuracy(z_ND[::2], labels[::2], z_ND[1::2], labels[1::2])[0] > 0.9
        True
    """
    classes, code_N = np.unique(train_N, return_inverse=True)
    known_M = np.isin(test_M, classes)
    test_MD, code_M = test_MD[known_M], np.searchsorted(classes, test_M[known_M])
    if len(classes) < 2 or len(np.unique(code_M)) < 2:
        return float("nan"), len(classes)
    mean_D, std_D = train_ND.mean(0), train_ND.std(0) + 1e-8
    x_NF, y_MF = (_with_one((a - mean_D) / std_D) for a in (train_ND, test_MD))
    target_NC = np.where(code_N[:, None] == np.arange(len(classes)), 1.0, -1.0)
    weight_N = 1.0 / (np.bincount(code_N)[code_N] * len(classes))
    w_FC = solve_ridge(x_NF, target_NC, PENALTY, weight_N)
    predictions = Predictions.of_classes(code_M, (y_MF @ w_FC).argmax(1), len(classes))
    return float(score(sums(predictions)[0], CLASSES)["balanced_accuracy"]), len(classes)


def _with_one(x_ND: np.ndarray) -> np.ndarray:
    return np.concatenate([x_ND, np.ones((len(x_ND), 1))], axis=1)
