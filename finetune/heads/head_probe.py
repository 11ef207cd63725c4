"""A linear readout of a frozen model, chosen inside the training samples, and the same with shuffled labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from finetune.finetune_settings import FinetuneSettings
from finetune.tasks.decoding_task import Problem
from foundation.common.errors import ConfigError
from foundation.evaluation.linear_readout import Readout, choose_strength, fit, make_basis, training_mean
from foundation.evaluation.metrics import Predictions, primary
from foundation.evaluation.principal_axes import row_parts
from foundation.evaluation.splits import Fold, Split
from foundation.store.format.finite import is_finite


@dataclass(frozen=True)
class FittedFold:
    """The readout of one fold, and all samples in its basis. The basis itself may be as large as the features.

    Args:
        fold: training and test samples.
        readout: fitted to all training samples.
        train_SC, test_SC: ``(S, C)`` scores of the training and the test samples.
        strength: chosen by inner validation.
        choice: index of the chosen features.
    """

    fold: Fold
    readout: Readout
    train_SC: np.ndarray
    test_SC: np.ndarray
    strength: float
    choice: int


@dataclass
class Fitted:
    """Predictions of all folds, and how they came about."""

    predictions: Predictions
    choices: dict[str, list] = field(default_factory=dict)
    folds: list[FittedFold] = field(default_factory=list)


def probe(problem: Problem, features: Sequence[np.ndarray], split: Split, settings: FinetuneSettings) -> Fitted:
    """A linear readout per fold, chosen inside the training samples and applied once to the test samples.

    Args:
        problem: what is to be predicted.
        features: alternatives, each ``(S, F)``; the inner folds choose one, and the strength of its penalty.
        split: the outer folds.
        settings: components and seed.

    Raises:
        ConfigError: if a feature or a value to be predicted is not finite.
    """
    labels = problem.labels
    for what, values in [("features", x_SF) for x_SF in features] + [("labels", labels.y_S)]:
        if wrong := sum(int((~is_finite(part)).sum()) for part in row_parts(values)):
            raise ConfigError(f"{what} hold {wrong} values that are not finite: expected numbers that float32 holds")
    fitted = []
    for fold in split.folds:
        y_train, inner = labels.y_S[fold.train], problem.inner(fold.train, settings.seed)
        best: tuple[float, FittedFold] | None = None
        for choice, x_SF in enumerate(features):
            basis = make_basis(x_SF, settings.components, settings.seed, rows=fold.train)
            train_SC = basis(x_SF, rows=fold.train)
            strength, value = choose_strength(train_SC, y_train, inner, labels.n_classes)
            if best is None or value > best[0] + 1e-6:
                readout = fit(train_SC, y_train, strength, labels.n_classes)
                test_SC = basis(x_SF, rows=fold.test)
                best = value, FittedFold(fold, readout, train_SC, test_SC, strength, choice)
            del basis  # before the next one is made
        assert best is not None
        fitted.append(best[1])
    predictions = gather(problem, split, [f.readout.predict(f.test_SC) for f in fitted])
    choices = {"strength": [f.strength for f in fitted]}
    return Fitted(predictions, choices, fitted)


def gather(problem: Problem, split: Split, predicted: Sequence[np.ndarray]) -> Predictions:
    """Predictions of all folds, fold after fold."""
    y_S, n_classes = problem.labels.y_S, problem.labels.n_classes
    test = [fold.test for fold in split.folds]
    together = np.concatenate(test)
    return Predictions(
        y_S=y_S[together],
        predicted_S=np.concatenate(list(predicted)),
        mean_S=np.concatenate([training_mean(y_S[f.train], len(f.test), n_classes) for f in split.folds]),
        fold_S=np.concatenate([np.full(len(t), k) for k, t in enumerate(test)]),
        cluster_S=problem.cluster_S[together],
        n_classes=n_classes,
    )


def shuffled(problem: Problem, fitted: Fitted, x_SF: np.ndarray, settings: FinetuneSettings) -> tuple[list[float], str]:
    """The primary metric of the same probe on labels that say nothing, and in words how these were dealt.

    Labels of training and test samples are dealt together, once for all folds, and samples are split anew where the
    split depends on them: the whole procedure is repeated, as it is for the true labels. Strengths stay as the true
    labels chose them.

    Args:
        problem: what is predicted.
        fitted: the probe of the true labels.
        x_SF: its features.
        settings: how often, components, folds and seed.
    """
    dealt, how = problem.shuffles(settings.control_repeats, settings.seed)
    n_classes, values = problem.labels.n_classes, []
    for y_S in dealt:
        other = problem.relabelled(y_S)
        again = other.split(settings.folds, settings.seed)
        predicted = []
        for k, fold in enumerate(again.folds):
            f = fitted.folds[k % len(fitted.folds)]
            if np.array_equal(fold.train, f.fold.train):
                train_SC, test_SC = f.train_SC, f.test_SC
            else:
                basis = make_basis(x_SF, settings.components, settings.seed, rows=fold.train)
                train_SC, test_SC = basis(x_SF, rows=fold.train), basis(x_SF, rows=fold.test)
                del basis
            readout = fit(train_SC, y_S[fold.train], f.strength, n_classes)
            predicted.append(readout.predict(test_SC))
        values.append(primary(gather(other, again, predicted)))
    return values, how
