"""Linear readouts of the frozen model, of firing rates and of both, chosen inside the training samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import softmax

from finetune.finetune_settings import FinetuneSettings
from finetune.tasks.problems.decoding_task import Problem
from foundation.common.errors import ConfigError
from foundation.evaluation.block_readout import (
    MARGIN,
    BlockReadout,
    Choice,
    LogisticReadout,
    choose_penalty,
    choose_weight,
    readout_of,
)
from foundation.evaluation.feature_blocks import Block, blocks
from foundation.evaluation.linear_readout import training_mean
from foundation.evaluation.metrics import Predictions, primary
from foundation.evaluation.principal_axes import row_parts
from foundation.evaluation.readings import Features, Reading
from foundation.evaluation.splits import Fold, Split
from foundation.store.format.finite import is_finite

ByFold = Callable[[int], Sequence[Features]]  # features of a model that is another one for each outer fold


@dataclass(frozen=True)
class FittedFold:
    """What the inner folds chose for one outer fold.

    Args:
        fold: training and test samples.
        name: the features and how they are read.
        choice: penalty, and how well it did inside the training samples.
        weight: of the model's features beside those of firing rates; None where there is one kind of features.
        held_S: predictions for the test samples of the first inner fold, by the same readout fitted to the others of
            that fold; None where nothing was asked for.
    """

    fold: Fold
    name: str
    choice: Choice
    weight: float | None = None
    held_S: np.ndarray | None = None


@dataclass
class Fitted:
    """Predictions of all folds, and how they came about."""

    predictions: Predictions
    choices: dict[str, list] = field(default_factory=dict)
    folds: list[FittedFold] = field(default_factory=list)

    @property
    def names(self) -> str:
        """The features that were chosen, each once."""
        return "; ".join(dict.fromkeys(f.name for f in self.folds))


@dataclass
class Probes:
    """The three readouts that a model is judged by, on the same samples.

    Args:
        rate: of firing rates, the floor.
        model: of the frozen model.
        both: of the two side by side, with the weight of the model in ``choices``.
        control: the primary metric of the model's readout for each set of shuffled labels.
    """

    rate: Fitted
    model: Fitted
    both: Fitted
    control: list[float]


@dataclass(frozen=True)
class Best:
    """The features that do best inside the training samples of a fold.

    Args:
        name: the features and how they are read.
        block, readout, choice: of them.
        place: of the features among the alternatives, and of their reading.
        features, reading: the same themselves.
    """

    name: str
    block: Block
    readout: BlockReadout
    choice: Choice
    place: tuple[int, int]
    features: Features
    reading: Reading

    @property
    def triple(self) -> tuple[Block, BlockReadout, Choice]:
        return self.block, self.readout, self.choice


def probe(problem: Problem, features: Sequence[Features], split: Split, settings: FinetuneSettings) -> Fitted:
    """A linear readout per fold, chosen inside the training samples and applied once to the test samples.

    Args:
        problem: samples and labels of the target.
        features: alternatives; the inner folds choose one, how it is read, and the strength of the penalty.
        split: the outer folds.
        settings: for the seed.

    Raises:
        ConfigError: if a feature or a value to be predicted is not finite.
    """
    _check_finite(problem, features)
    fitted, predicted = [], []
    for fold in split.folds:
        best = best_readout(problem, features, fold, problem.inner(fold.train, settings.seed))
        predicted.append(_predict_fold(problem, best.readout, fold, best.choice))
        fitted.append(FittedFold(fold, best.name, best.choice))
    return _fitted(problem, split, predicted, fitted)


def probe_with_rates(
    problem: Problem,
    rates: Sequence[Features],
    model: Sequence[Features] | ByFold,
    split: Split,
    settings: FinetuneSettings,
    *,
    shuffled: bool = True,
) -> Probes:
    """Read firing rates, the frozen model and both side by side; read the model with shuffled labels too.

    Labels of training and test samples are shuffled together, once for all folds, and samples are split anew where the
    split depends on them: the whole procedure is repeated, as it is for the true labels. Penalties and readings stay as
    the true labels chose them.

    Args:
        problem: samples and labels of the target.
        rates: alternatives of firing rates; the inner folds choose one.
        model: the same of the frozen model, or of the model of each outer fold by its number.
        split: the outer folds.
        settings: number of shuffles, folds and seed.
        shuffled: whether the model is read with shuffled labels too.

    Raises:
        ConfigError: if a feature or a value to be predicted is not finite.
    """
    _check_finite(problem, rates)
    dealt = problem.shuffles(settings.control_repeats, settings.seed)[0] if shuffled else []
    again = [problem.relabelled(y_S) for y_S in dealt]
    splits = [other.split(settings.folds, settings.seed) for other in again]
    control: list[list[np.ndarray]] = [[] for _ in dealt]
    kinds = ("rate", "model", "both")
    fitted: dict[str, list[FittedFold]] = {kind: [] for kind in kinds}
    predicted: dict[str, list[_FoldPredictions]] = {kind: [] for kind in kinds}
    places, n_classes = [], problem.labels.n_classes
    for k, fold in enumerate(split.folds):
        inner = problem.inner(fold.train, settings.seed)
        rate = best_readout(problem, rates, fold, inner)
        alternatives = _of_fold(model, k)
        _check_finite(problem, alternatives)
        ours = best_readout(problem, alternatives, fold, inner)
        both = choose_weight(rate.triple, ours.triple, problem.labels.y_S, fold.train, inner, n_classes)
        first = Fold(fold.train[inner[0].train], fold.train[inner[0].test])
        for kind, best in (("rate", rate), ("model", ours)):
            predicted[kind].append(_predict_fold(problem, best.readout, fold, best.choice))
            held = predict_test(problem, best.readout, first, best.choice)
            fitted[kind].append(FittedFold(fold, best.name, best.choice, held_S=held))
        predicted["both"].append(_predict_fold(problem, both.readout, fold, both.choice))
        held = predict_test(problem, both.readout, first, both.choice)
        fitted["both"].append(FittedFold(fold, f"{rate.name}, and {ours.name}", both.choice, both.weight, held))
        places.append(ours.place)
        same = [r for r, other in enumerate(splits) if len(other.folds) > k and _equal(other.folds[k], fold)]
        dealt = _dealt(again, same, ours.readout, fold, ours.choice)
        for r, predicted_S in zip(same, dealt, strict=True):
            control[r].append(predicted_S)
        del rate, ours, both  # before the next fold's are made
    for r, (other, its_split) in enumerate(zip(again, splits, strict=True)):
        if len(control[r]) == len(its_split.folds):
            continue
        control[r] = []
        for k, fold in enumerate(its_split.folds):  # samples were split anew
            chosen = fitted["model"][k % len(split.folds)]
            place, reading = places[k % len(split.folds)]
            features = _of_fold(model, k % len(split.folds))[place]
            read = replace(features, readings=(features.readings[reading],))
            ((_, block),) = blocks(read, fold.train)
            readout = readout_of(block, fold.train, n_classes)
            control[r].append(predict_test(other, readout, fold, chosen.choice))
    values = [
        primary(gather(other, its_split, shuffled))
        for other, its_split, shuffled in zip(again, splits, control, strict=True)
    ]
    made = {kind: _fitted(problem, split, predicted[kind], fitted[kind]) for kind in kinds}
    return Probes(made["rate"], made["model"], made["both"], values)


def gather(
    problem: Problem, split: Split, predicted: Sequence[np.ndarray], confidence: Sequence[np.ndarray] = ()
) -> Predictions:
    """Return predictions of all folds, fold after fold.

    Args:
        problem: what is predicted.
        split: the outer folds.
        predicted: classes or values of each fold's test samples.
        confidence: the probability of each predicted class; empty where the readout gives none.
    """
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
        confidence_S=np.concatenate(list(confidence)) if confidence else np.empty(0),
    )


def best_readout(problem: Problem, features: Sequence[Features], fold: Fold, inner: list[Fold]) -> Best:
    """Return the features and the reading of them that do best on the inner folds of a fold's training samples."""
    labels, best = problem.labels, None
    for place, kind in enumerate(features):
        for index, (reading, block) in enumerate(blocks(kind, fold.train)):
            readout = readout_of(block, fold.train, labels.n_classes)
            choice = choose_penalty(readout, labels.y_S, fold.train, inner, labels.n_classes)
            if best is None or choice.value > best.choice.value + MARGIN:
                name = ", ".join(text for text in (kind.name, reading.name) if text)
                best = Best(name, block, readout, choice, (place, index), kind, reading)
    assert best is not None
    return best


def predict_test(problem: Problem, readout: BlockReadout, fold: Fold, choice: Choice) -> np.ndarray:
    """Return predictions for a fold's test samples by a readout that is fitted to its training samples."""
    return next(readout.path(problem.labels.y_S, fold.train, fold.test, [choice.penalty]))


@dataclass(frozen=True)
class _FoldPredictions:
    """Predictions for the test samples of a fold, and the probabilities of predicted classes (empty for values)."""

    predicted_S: np.ndarray
    confidence_S: np.ndarray


def _predict_fold(problem: Problem, readout: BlockReadout, fold: Fold, choice: Choice) -> _FoldPredictions:
    if not isinstance(readout, LogisticReadout):
        return _FoldPredictions(predict_test(problem, readout, fold, choice), np.empty(0))
    logits_MK = readout.logits(problem.labels.y_S, fold.train, fold.test, choice.penalty)
    return _FoldPredictions(logits_MK.argmax(axis=1), softmax(logits_MK, axis=1).max(axis=1))


def _dealt(
    again: list[Problem], which: list[int], readout: BlockReadout, fold: Fold, choice: Choice
) -> list[np.ndarray]:
    """Predictions for some sets of shuffled labels; those of values are solved for together."""
    if not which:
        return []
    if again[0].labels.n_classes:
        return [predict_test(again[r], readout, fold, choice) for r in which]
    y_SK = np.concatenate([again[r].labels.y_S for r in which], axis=1)
    predicted_MK = next(readout.path(y_SK, fold.train, fold.test, [choice.penalty]))
    return np.split(predicted_MK, len(which), axis=1)


def _fitted(problem: Problem, split: Split, predicted: list[_FoldPredictions], folds: list[FittedFold]) -> Fitted:
    choices: dict[str, list] = {"penalty": [f.choice.penalty for f in folds], "features": [f.name for f in folds]}
    if folds[0].weight is not None:
        choices["weight"] = [f.weight for f in folds]
    confidence = [one.confidence_S for one in predicted] if problem.labels.n_classes else []
    return Fitted(gather(problem, split, [one.predicted_S for one in predicted], confidence), choices, folds)


def _of_fold(features: Sequence[Features] | ByFold, fold: int) -> Sequence[Features]:
    return features(fold) if callable(features) else features


def _equal(a: Fold, b: Fold) -> bool:
    return np.array_equal(a.train, b.train) and np.array_equal(a.test, b.test)


def _check_finite(problem: Problem, features: Sequence[Features]) -> None:
    for what, values in [("features", kind.x_TF) for kind in features] + [("labels", problem.labels.y_S)]:
        if wrong := sum(int((~is_finite(part)).sum()) for part in row_parts(values)):
            raise ConfigError(f"{what} hold {wrong} values that are not finite: expected numbers that float32 holds")
