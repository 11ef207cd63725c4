"""Ridge and logistic regression on blocks of features, in whichever of the two exact forms is smaller."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigh

from foundation.evaluation.feature_blocks import Block, mix
from foundation.evaluation.linear_readout import Readout, fit, inner_score, training_mean
from foundation.evaluation.metrics import CLASSES, VALUES
from foundation.evaluation.splits import Fold

PENALTIES = {
    CLASSES: (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0),  # inverse: the strongest penalty comes first
    VALUES: tuple(10.0 ** (k / 2) for k in range(6, -9, -1)),
}
WEIGHTS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
MARGIN = 1e-6  # a weaker penalty or a larger weight must be better by more
PATIENCE = 2
SMALLEST_POWER = 1e-7  # of an axis, relative to the strongest: float32 inner products cannot distinguish less from 0


@dataclass(frozen=True)
class Solution:
    """A fit to some samples: the output for a sample is ``c . coef_CK + bias_K``.

    Args:
        coef_CK: coefficients in float64.
        bias_K: the output for the mean sample.
        dual: whether ``c`` are the sample's inner products with the centred training samples, instead of its own
            features; in both cases features are centred by the mean of the training samples.
    """

    coef_CK: np.ndarray
    bias_K: np.ndarray
    dual: bool


class BlockReadout(Protocol):
    """A linear readout of one block."""

    def path(
        self, y_S: np.ndarray, learn: np.ndarray, test: np.ndarray, penalties: Sequence[float]
    ) -> Iterator[np.ndarray]:
        """Yield predictions for the samples ``test`` from fits to the samples ``learn``, one for each penalty."""
        ...

    def solution(self, y_S: np.ndarray, learn: np.ndarray, penalty: float) -> Solution:
        """Return the fit to the samples ``learn``; for classes, these must be the readout's own training samples."""
        ...


@dataclass(frozen=True)
class RidgeReadout:
    """Ridge regression with an unpenalised intercept.

    ``penalty`` is that of scikit-learn's ``Ridge(alpha=penalty)`` on the features of the block. With more features than
    samples it is solved by inner products (Saunders et al. 1998), otherwise by the normal equations.

    Args:
        block: features of all samples.
    """

    block: Block

    def path(
        self, y_S: np.ndarray, learn: np.ndarray, test: np.ndarray, penalties: Sequence[float]
    ) -> Iterator[np.ndarray]:
        """Yield ``(len(test), K)`` predictions for each penalty."""
        mean_K = y_S[learn].mean(axis=0)
        y_NK = y_S[learn] - mean_K
        if self.block.z_SC is not None:
            z_SC = self.block.z_SC
            mean_C = z_SC[learn].mean(axis=0, dtype=np.float64)
            learn_NC, test_MC = z_SC[learn] - mean_C, z_SC[test] - mean_C
            square, right = learn_NC.T @ learn_NC, learn_NC.T @ y_NK
        else:
            assert self.block.gram_SS is not None
            square, test_MC = _centred(self.block.gram_SS, learn, test)
            right = y_NK
        for penalty in penalties:
            yield test_MC @ _solve(square, right, penalty) + mean_K

    def solution(self, y_S: np.ndarray, learn: np.ndarray, penalty: float) -> Solution:
        """Return the fit to the samples ``learn``."""
        mean_K = y_S[learn].mean(axis=0)
        y_NK = y_S[learn] - mean_K
        if self.block.z_SC is not None:
            learn_NC = self.block.z_SC[learn] - self.block.z_SC[learn].mean(axis=0, dtype=np.float64)
            return Solution(_solve(learn_NC.T @ learn_NC, learn_NC.T @ y_NK, penalty), mean_K, dual=False)
        assert self.block.gram_SS is not None
        return Solution(_solve(_centred(self.block.gram_SS, learn, learn)[0], y_NK, penalty), mean_K, dual=True)


@dataclass(frozen=True)
class LogisticReadout:
    """Class-balanced logistic regression on the axes that the training samples span, which loses no information.

    The strongest axis has unit variance; the penalty is the inverse, C.

    Args:
        scores_SC: ``(S, C)`` samples along the axes.
        n_classes: number of classes.
        scale: factor of the centred features.
        dual: whether axes were computed from inner products.
    """

    scores_SC: np.ndarray
    n_classes: int
    scale: float = 1.0
    dual: bool = False

    @classmethod
    def of(cls, block: Block, train: np.ndarray, n_classes: int) -> LogisticReadout:
        """Rotate a block to the axes of its training samples."""
        if block.z_SC is not None:
            scores_SC = block.z_SC - block.z_SC[train].mean(axis=0)
            square = scores_SC[train].T.astype(np.float64) @ scores_SC[train]
            power = float(np.linalg.eigvalsh(square)[-1])
        else:
            assert block.gram_SS is not None
            square, all_SN = _centred(block.gram_SS, train, np.arange(len(block)))
            power_C, u_NC = eigh(square, overwrite_a=True, check_finite=False)
            keep = power_C > max(power_C[-1], 1e-12) * SMALLEST_POWER
            keep[-1], power_C[-1] = (
                True,
                max(power_C[-1], 1e-12),
            )  # constant features: one axis without any variance
            scores_SC = all_SN @ (u_NC[:, keep] / np.sqrt(power_C[keep]))
            power = float(power_C[-1])
        scale = np.sqrt(len(train) / max(power, 1e-12))
        return cls((scores_SC * scale).astype(np.float32), n_classes, float(scale), block.z_SC is None)

    def path(
        self, y_S: np.ndarray, learn: np.ndarray, test: np.ndarray, penalties: Sequence[float]
    ) -> Iterator[np.ndarray]:
        """Yield ``(len(test),)`` classes for each penalty; every fit starts from the one before."""
        warm: Readout | None = None
        for penalty in penalties:
            warm = fit(self.scores_SC[learn], y_S[learn], penalty, self.n_classes, warm)
            yield warm.predict(self.scores_SC[test])

    def solution(self, y_S: np.ndarray, learn: np.ndarray, penalty: float) -> Solution:
        """Return the fit to the samples ``learn``, which must be all samples that the axes were made from."""
        fitted = fit(self.scores_SC[learn], y_S[learn], penalty, self.n_classes)
        if not self.dual:
            return Solution(fitted.weight_CK * self.scale, fitted.bias_K, dual=False)
        # Along an axis of power p the samples are u sqrt(p) scale, and its coefficients are u scale / sqrt(p).
        learn_NC = self.scores_SC[learn].astype(np.float64)
        power_C = (learn_NC**2).sum(axis=0) / self.scale**2
        coef_NK = learn_NC @ (fitted.weight_CK / np.maximum(power_C, 1e-30)[:, None])
        return Solution(coef_NK, fitted.bias_K, dual=True)

    def logits(self, y_S: np.ndarray, learn: np.ndarray, test: np.ndarray, penalty: float) -> np.ndarray:
        """Return ``(len(test), K)`` logits of a fit to the samples ``learn``."""
        fitted = fit(self.scores_SC[learn], y_S[learn], penalty, self.n_classes)
        logits_MK: np.ndarray = self.scores_SC[test] @ fitted.weight_CK + fitted.bias_K
        return logits_MK


def readout_of(block: Block, train: np.ndarray, n_classes: int) -> BlockReadout:
    """Return the readout of a block: logistic regression, or ridge regression if there are no classes."""
    return LogisticReadout.of(block, train, n_classes) if n_classes else RidgeReadout(block)


@dataclass(frozen=True)
class Choice:
    """The choice of inner validation.

    Args:
        penalty: of the readout.
        value: the primary metric on all inner folds together.
        first_value: the primary metric on the first inner fold.
    """

    penalty: float
    value: float
    first_value: float


def choose_penalty(
    readout: BlockReadout,
    y_S: np.ndarray,
    train: np.ndarray,
    inner: list[Fold],
    n_classes: int,
    penalties: Sequence[float] | None = None,
) -> Choice:
    """Return the penalty with the best result on the inner folds; the stronger one wins a tie.

    Penalties are tried from the strongest on, until ``PATIENCE`` in a row were worse than the best so far.

    Args:
        readout: of a block.
        y_S: ``(S,)`` class indices or ``(S, K)`` values of all samples.
        train: indices of the training samples.
        inner: folds of these, as indices into ``train``.
        n_classes: number of classes, 0 for values.
        penalties: candidates, the strongest first; by default `PENALTIES`.
    """
    penalties = tuple(PENALTIES[CLASSES if n_classes else VALUES] if penalties is None else penalties)
    paths = [readout.path(y_S, train[fold.train], train[fold.test], penalties) for fold in inner]
    true = [y_S[train[fold.test]] for fold in inner]
    means = [training_mean(y_S[train[fold.train]], len(fold.test), n_classes) for fold in inner]
    y, mean = np.concatenate(true), np.concatenate(means)
    best: Choice | None = None
    worse = 0
    for penalty, predicted in zip(penalties, zip(*paths, strict=True), strict=False):
        value = inner_score(y, np.concatenate(predicted), mean, n_classes)
        if best is None or value > best.value + MARGIN:
            best = Choice(penalty, value, inner_score(true[0], predicted[0], means[0], n_classes))
        worse = worse + 1 if value < best.value - MARGIN else 0
        if worse == PATIENCE:
            break
    assert best is not None
    return best


@dataclass(frozen=True)
class Mixed:
    """Two blocks read together.

    Args:
        weight: share of the second block in the squared norm of a sample; 0 if it added nothing.
        choice: penalty at this weight.
        readout: of the two blocks at this weight.
    """

    weight: float
    choice: Choice
    readout: BlockReadout


def choose_weight(
    a: tuple[Block, BlockReadout, Choice],
    b: tuple[Block, BlockReadout, Choice],
    y_S: np.ndarray,
    train: np.ndarray,
    inner: list[Fold],
    n_classes: int,
    weights: Sequence[float] = WEIGHTS,
) -> Mixed:
    """Return the weight between two blocks with the best result on the inner folds; the smaller weight wins a tie.

    Each block's penalty was chosen before; only penalties between these two are tried.

    Args:
        a, b: for each block: the block, its readout, and the choice of its penalty.
        y_S, train, inner, n_classes: as for `choose_penalty`.
        weights: candidates, in rising order.
    """
    penalties = PENALTIES[CLASSES if n_classes else VALUES]
    first, last = sorted(penalties.index(choice.penalty) for _, _, choice in (a, b))
    best: Mixed | None = None
    for weight in weights:
        if weight in (0, 1):
            _, readout, choice = b if weight else a
        else:
            readout = readout_of(mix(a[0], b[0], weight), train, n_classes)
            choice = choose_penalty(readout, y_S, train, inner, n_classes, penalties[first : last + 1])
        if best is None or choice.value > best.choice.value + MARGIN:
            best = Mixed(weight, choice, readout)
    assert best is not None
    return best


def _solve(square: np.ndarray, right: np.ndarray, penalty: float) -> np.ndarray:
    """Return the solution of ``(square + penalty I) x = right``."""
    shifted = square.copy()
    shifted.ravel()[:: len(shifted) + 1] += penalty
    return cho_solve(cho_factor(shifted, overwrite_a=True, check_finite=False), right, check_finite=False)


def _centred(gram_SS: np.ndarray, learn: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(N, N)`` and ``(M, N)`` inner products in float64 of features centred by the samples ``learn``."""
    square = gram_SS[np.ix_(learn, learn)].astype(np.float64)
    mean_N = square.mean(axis=0)
    total = mean_N.mean()
    test_MN = gram_SS[np.ix_(test, learn)].astype(np.float64)
    test_MN -= test_MN.mean(axis=1, keepdims=True)
    test_MN += total - mean_N
    square -= mean_N
    square += (total - mean_N)[:, None]
    return square, test_MN
