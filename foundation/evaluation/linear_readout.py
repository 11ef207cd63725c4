"""Linear readouts: standardise, rotate to principal components, then logistic or ridge regression."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from foundation.evaluation.metrics import CLASSES, PRIMARY, VALUES, Predictions, score, sums
from foundation.evaluation.principal_axes import Standardised, exact_axes, randomised_axes
from foundation.evaluation.splits import Fold

STRENGTHS = {CLASSES: (1e-2, 1e-1, 1.0, 10.0), VALUES: (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)}
LARGEST_GRAM = 3000


@dataclass(frozen=True)
class Basis:
    """Features made comparable, from the training inputs alone: ``((x - mean) / scale) @ components * gain``.

    Args:
        mean_F, scale_F: ``(F,)`` of the training inputs.
        components_FC: ``(F, C)`` principal axes; None if all F features are kept unchanged.
        gain: factor that gives the strongest component unit variance.
    """

    mean_F: np.ndarray
    scale_F: np.ndarray
    components_FC: np.ndarray | None
    gain: float

    def __call__(self, x_SF: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Return ``(S, C)`` scores of some rows of ``x_SF`` (by default all), computed in parts."""
        standard = Standardised(x_SF, self.mean_F, self.scale_F, rows)
        width = len(self.mean_F) if self.components_FC is None else self.components_FC.shape[1]
        scores_SC = np.empty((len(standard), width), dtype=np.float32)
        for part in standard.parts():
            x_PF = standard.rows_of(part)
            scores_SC[part] = x_PF if self.components_FC is None else x_PF @ self.components_FC
        scores_SC *= np.float32(self.gain)
        return scores_SC


def make_basis(x_SF: np.ndarray, components: int, seed: int, rows: np.ndarray | None = None) -> Basis:
    """Return a basis of at most ``components`` axes for training inputs: some rows of ``x_SF``, by default all.

    If the samples span no more axes than that, no information is lost. The inputs are read in parts and never copied as
    a whole: features of many units take gigabytes.
    """
    standard = Standardised.of(x_SF, rows)
    n_samples, n_features = len(standard), x_SF.shape[1]
    if n_features <= components:
        gram_FF = np.zeros((n_features, n_features))
        for part in standard.parts():
            x_PF = standard.rows_of(part).astype(np.float64)
            gram_FF += x_PF.T @ x_PF
        spread = np.sqrt(max(float(np.linalg.eigvalsh(gram_FF)[-1]), 0.0) / n_samples)
        return Basis(standard.mean_F, standard.scale_F, None, 1.0 / max(spread, 1e-6))
    kept = max(1, min(components, n_samples - 1))
    if n_samples < n_features and n_samples <= LARGEST_GRAM:
        components_FC, spread = exact_axes(standard, kept)
    else:
        components_FC, spread = randomised_axes(standard, kept, seed)
    return Basis(standard.mean_F, standard.scale_F, components_FC, 1.0 / max(spread, 1e-6))


@dataclass(frozen=True)
class Readout:
    """Linear weights on the scores of a basis. They are small; the basis is as large as many samples' features.

    Args:
        weight_CK, bias_K: scores to class logits, or to values in their own units.
        kind: ``classes`` or ``values``.
    """

    weight_CK: np.ndarray
    bias_K: np.ndarray
    kind: str

    def predict(self, scores_SC: np.ndarray) -> np.ndarray:
        """Return ``(S,)`` class indices or ``(S, K)`` values."""
        out_SK = scores_SC @ self.weight_CK + self.bias_K
        return out_SK.argmax(axis=1) if self.kind == CLASSES else out_SK


def fit(
    scores_SC: np.ndarray, y_S: np.ndarray, strength: float, n_classes: int, start: Readout | None = None
) -> Readout:
    """Fit class-balanced logistic regression, or ridge regression.

    Args:
        scores_SC: ``(S, C)`` of a basis.
        y_S: ``(S,)`` class indices, or ``(S, K)`` values.
        strength: inverse penalty C of the logistic regression; penalty per sample of the ridge regression.
        n_classes: number of classes, 0 for values.
        start: a readout of the same samples with another strength, from which the search starts.
    """
    n_components = scores_SC.shape[1]
    if not n_classes:
        ridge = Ridge(alpha=strength * len(scores_SC)).fit(scores_SC, y_S)
        return Readout(np.atleast_2d(ridge.coef_).T, np.atleast_1d(ridge.intercept_), VALUES)
    seen = np.unique(y_S)
    weight_CK, bias_K = np.zeros((n_components, n_classes)), np.full(n_classes, -np.inf)
    if len(seen) == 1:
        bias_K[seen] = 0.0
        return Readout(weight_CK, bias_K, CLASSES)
    logistic = LogisticRegression(C=strength, class_weight="balanced", max_iter=200, tol=1e-3, warm_start=True)
    if start is not None:
        coef_KC, bias = start.weight_CK[:, seen].T, start.bias_K[seen]
        two = len(seen) == 2
        logistic.coef_ = coef_KC[1:] - coef_KC[:1] if two else coef_KC
        logistic.intercept_ = bias[1:] - bias[:1] if two else bias
        logistic.classes_ = seen
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        logistic.fit(scores_SC, y_S)
    coef_KC, bias = logistic.coef_, logistic.intercept_
    if len(seen) == 2:  # one row for two classes: half for and half against give the same decision
        coef_KC, bias = np.concatenate([-coef_KC, coef_KC]) / 2, np.concatenate([-bias, bias]) / 2
    weight_CK[:, seen], bias_K[seen] = coef_KC.T, bias
    return Readout(weight_CK, bias_K, CLASSES)


def inner_score(y_S: np.ndarray, predicted_S: np.ndarray, mean_S: np.ndarray, n_classes: int) -> float:
    """Return the primary metric on inner validation data."""
    one = np.zeros(len(y_S))
    predictions = Predictions(y_S, predicted_S, mean_S, one, one, n_classes)
    return float(score(sums(predictions).sum(axis=0), predictions.kind)[PRIMARY[predictions.kind]])


def choose_strength(scores_SC: np.ndarray, y_S: np.ndarray, inner: list[Fold], n_classes: int) -> tuple[float, float]:
    """Return the strength with the best result on the inner folds, and the result; the stronger penalty wins a tie.

    The basis comes from all training inputs; the fit never sees the labels of the inner test part that scores it.
    """
    strengths = STRENGTHS[CLASSES if n_classes else VALUES]
    by_strength = [list[np.ndarray]() for _ in strengths]
    for fold in inner:
        warm = None
        for k, strength in enumerate(strengths):
            warm = fit(scores_SC[fold.train], y_S[fold.train], strength, n_classes, warm)
            by_strength[k].append(warm.predict(scores_SC[fold.test]))
    y = np.concatenate([y_S[fold.test] for fold in inner])
    mean = np.concatenate([training_mean(y_S[fold.train], len(fold.test), n_classes) for fold in inner])
    values = (inner_score(y, np.concatenate(predicted), mean, n_classes) for predicted in by_strength)
    return first_best(zip(strengths, values, strict=True), margin=1e-6)


def training_mean(y_train: np.ndarray, n_test: int, n_classes: int) -> np.ndarray:
    """Return ``(n_test, K)`` the mean of the training values; empty for classes."""
    if n_classes:
        return np.empty((n_test, 0))
    return np.repeat(y_train.mean(axis=0, keepdims=True), n_test, axis=0)


def first_best(scored: Iterable[tuple[float, float]], margin: float = 0.0) -> tuple[float, float]:
    """Return the setting with the best score, and the score; the first of settings that are equal within ``margin``.

    Args:
        scored: pairs of a setting and its score, at least one.
        margin: a later setting must exceed the best before it by this much.

    Example:
        >>> first_best([(0.1, 0.5), (1.0, 0.7), (10.0, 0.7)])
        (1.0, 0.7)
    """
    pairs = list(scored)
    best = (pairs[0][0], -np.inf)
    for setting, value in pairs:
        if value > best[1] + margin:
            best = (setting, value)
    return best


def fit_scaled(model: LogisticRegression | Ridge, x_SF: np.ndarray, y_S: np.ndarray) -> Pipeline:
    """Fit a linear model to features scaled by the training samples' own mean and spread, as the papers do."""
    return make_pipeline(StandardScaler(), model).fit(x_SF, y_S)
