"""A fitted readout as weights on standardised features, in a form that can be kept and applied to new samples.

With many features, readouts are fitted to inner products. The weights then lie in the span of the training samples and
are computed as a sum over these, a few features at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foundation.evaluation.block_readout import Solution
from foundation.evaluation.feature_blocks import Block, Standard
from foundation.evaluation.readings import Reading

PART = 512  # features at a time


@dataclass(frozen=True)
class Side:
    """One kind of features of a readout.

    Args:
        standard: the features, and how they are standardised.
        reading: the rows that a sample reads.
        gain: factor of the standardised features.
    """

    standard: Standard
    reading: Reading
    gain: float

    @classmethod
    def of(cls, block: Block, reading: Reading, share: float = 1.0) -> Side:
        """Return the side of a block with a given share of the squared norm of a sample."""
        assert block.standard is not None  # a block of one kind of features
        return cls(block.standard, reading, block.scale * share**0.5)

    @property
    def lags(self) -> list[np.ndarray]:
        """Return ``(S, 1)`` rows of each lag, or all rows together if their mean is read."""
        rows_SL = self.reading.rows_SL
        return [rows_SL] if self.reading.mean else [rows_SL[:, lag : lag + 1] for lag in range(rows_SL.shape[1])]


def readout_weights(
    solution: Solution, sides: Sequence[Side], train: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return a fitted readout as weights on standardised, clipped features, which are 0 at lags outside the window.

    Args:
        solution: of a readout of these sides, side by side.
        sides: one kind of features, or two.
        train: the samples of the fit.

    Returns:
        ``(L, F, K)`` float32 weights for each side (L is 1 if the mean over a window is read), and ``(K,)`` biases
        in float64.

    Example:
        >>> from foundation.evaluation.block_readout import RidgeReadout
        >>> from foundation.evaluation.feature_blocks import blocks
        >>> from foundation.evaluation.readings import Features, each_row
        >>> x_TF = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
        >>> everyone, y_SK = np.arange(50), 2 * x_TF[:, :1].astype(float) + 1
        >>> ((reading, block),) = blocks(Features("noise", x_TF, (each_row(50),)), everyone)
        >>> fitted = RidgeReadout(block).solution(y_SK, everyone, 1e-6)
        >>> ((weight_LFK,), bias_K) = readout_weights(fitted, [Side.of(block, reading)], everyone)
        >>> z_TF = block.standard.columns(slice(None))
        >>> bool(np.allclose(z_TF @ weight_LFK[0] + bias_K, y_SK, atol=1e-3))
        True
    """
    first, weights = 0, []
    for side in sides:
        if solution.dual:
            weights.append(_from_samples(side, solution.coef_CK, train))
            continue
        n_features, n_lags = len(side.standard.mean_F), len(side.lags)
        coef_CK = solution.coef_CK[first : first + n_lags * n_features]
        weights.append(coef_CK.reshape(n_lags, n_features, -1) * side.gain)
        first += len(coef_CK)
    bias_K = solution.bias_K.astype(np.float64)
    kept = [weight_LFK.astype(np.float32) for weight_LFK in weights]
    for side, weight_LFK in zip(sides, kept, strict=True):
        bias_K = bias_K - _mean_output(side, weight_LFK, train)
    return kept, bias_K


def _from_samples(side: Side, coef_NK: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return ``(L, F, K)`` the sum of centred training samples, each times its coefficients."""
    coef_NK = (coef_NK - coef_NK.mean(axis=0)) * side.gain**2
    height, n_features = len(side.standard.x_TF), len(side.standard.mean_F)
    spread = [_over_rows(rows_SL[train], coef_NK, height) for rows_SL in side.lags]
    out_LFK = np.empty((len(spread), n_features, coef_NK.shape[1]))
    for part in _parts(n_features):
        z_TP = side.standard.columns(part).astype(np.float64)
        for lag, coef_TK in enumerate(spread):
            out_LFK[lag, part] = z_TP.T @ coef_TK
    return out_LFK


def _mean_output(side: Side, weight_LFK: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return ``(K,)`` the mean contribution of a side over the training samples."""
    height, out_K = len(side.standard.x_TF), np.zeros(weight_LFK.shape[2])
    one_N1 = np.full((len(train), 1), 1 / len(train))
    spread = [_over_rows(rows_SL[train], one_N1, height)[:, 0] for rows_SL in side.lags]
    for part in _parts(weight_LFK.shape[1]):
        z_TP = side.standard.columns(part).astype(np.float64)
        for lag, share_T in enumerate(spread):
            out_K += (share_T @ z_TP) @ weight_LFK[lag, part]
    return out_K


def _over_rows(rows_NL: np.ndarray, coef_NK: np.ndarray, height: int) -> np.ndarray:
    """Return ``(T, K)`` the coefficients of samples, divided equally among the rows that each reads."""
    out_TK = np.zeros((height, coef_NK.shape[1]))
    there_NL = rows_NL >= 0
    share_N = 1 / np.maximum(there_NL.sum(axis=1), 1)
    for lag in range(rows_NL.shape[1]):
        here = np.flatnonzero(there_NL[:, lag])
        np.add.at(out_TK, rows_NL[here, lag], coef_NK[here] * share_N[here, None])
    return out_TK


def _parts(n_features: int) -> list[slice]:
    return [slice(first, first + PART) for first in range(0, n_features, PART)]
