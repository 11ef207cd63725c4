"""Disentanglement of content and style: how well a linear readout finds the target and the dynamics in each of them.

Swap-VAE (arXiv 2111.02338) should encode an animal's target in the content, and the way it gets there in the style.
"""

from __future__ import annotations

import numpy as np

from foundation.evaluation.metrics import CLASSES, Predictions, score, sums
from foundation.evaluation.ridge_readout import solve_ridge


def _fit(x_MD: np.ndarray, y_MK: np.ndarray, penalty: float) -> np.ndarray:
    """Return ``(D + 1, K)`` weights of a linear readout with an unpenalised intercept."""
    mean_D, mean_K = x_MD.mean(axis=0), y_MK.mean(axis=0)
    weights = solve_ridge(x_MD - mean_D, y_MK - mean_K, penalty * len(x_MD))
    return np.concatenate([weights, (mean_K - mean_D @ weights)[None]])


def parting(
    content_MC: np.ndarray,
    style_MS: np.ndarray,
    target_M: np.ndarray,
    dynamics_MK: np.ndarray,
    trial_M: np.ndarray,
    *,
    train_share: float = 0.8,
    penalty: float = 1e-3,
) -> dict[str, float]:
    """Return accuracy for the target and explained variance of the dynamics, from content and from style.

    Args:
        content_MC, style_MS: of M windows.
        target_M: the trial's target, a class.
        dynamics_MK: values that change within a trial, such as velocity, or the time since the movement's start.
        trial_M: number of each window's trial, in order of time.
        train_share: share of the trials, the first ones, that the read-outs are fitted to.
        penalty: of the ridge regression, on features of standard deviation 1.

    Returns:
        ``content_target``, ``style_target`` (balanced accuracy; ``chance`` beside them), ``content_dynamics`` and
        ``style_dynamics`` (R2, the mean over K), on the last trials; and ``parting``: the accuracy for the target from
        content minus that from style, plus the R2 of the dynamics from style minus that from content.

    Raises:
        ValueError: if there are too few trials for both parts, or the dynamics do not change on the last trials.
    """
    trials = np.unique(trial_M)
    cut = round(train_share * len(trials))
    if not 0 < cut < len(trials):
        raise ValueError(f"{len(trials)} trials cannot be cut at {train_share}: expected trials on both sides")
    train_M = np.isin(trial_M, trials[:cut])
    range_K = np.ptp(dynamics_MK[~train_M], axis=0)
    if not (np.isfinite(range_K) & (range_K > 0)).all():
        raise ValueError(
            f"the dynamics range over {range_K.tolist()} on the last {len(trials) - cut} of {len(trials)} trials: "
            "expected finite dynamics that vary on these trials"
        )
    classes, code_M = np.unique(target_M, return_inverse=True)
    one_hot_MC = np.eye(len(classes))[code_M]
    found = {"chance": 1.0 / len(classes)}
    for name, x_MD in (("content", content_MC), ("style", style_MS)):
        x_MD = np.asarray(x_MD, dtype=np.float64)
        spread_D = x_MD[train_M].std(axis=0)
        x_MD = (x_MD - x_MD[train_M].mean(axis=0)) / np.where(spread_D > 1e-12, spread_D, 1.0)
        ones = np.concatenate([x_MD, np.ones((len(x_MD), 1))], axis=1)
        guess_M = (ones @ _fit(x_MD[train_M], one_hot_MC[train_M], penalty)).argmax(axis=1)
        test_M = ~train_M
        tested = Predictions.of_classes(code_M[test_M], guess_M[test_M], len(classes))
        found[f"{name}_target"] = float(score(sums(tested)[0], CLASSES)["balanced_accuracy"])
        fit_MK = ones @ _fit(x_MD[train_M], dynamics_MK[train_M], penalty)
        error_K = ((dynamics_MK - fit_MK)[test_M] ** 2).mean(axis=0)
        found[f"{name}_dynamics"] = float(np.mean(1 - error_K / dynamics_MK[test_M].var(axis=0)))
    more_target = found["content_target"] - found["style_target"]
    more_dynamics = found["style_dynamics"] - found["content_dynamics"]
    return found | {"parting": more_target + more_dynamics}
