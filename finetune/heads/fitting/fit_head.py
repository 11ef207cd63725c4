"""The head that is kept: the readout that did best in cross-validation, fitted anew to all labelled samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from finetune.finetune_settings import FINETUNED, READOUTS, FinetuneSettings
from finetune.heads.fitting.head_probe import Best, best_readout, predict_test
from finetune.heads.fitting.shared_trunk import Finetuned, Learned, finetune_on
from finetune.heads.head import (
    ADAPTED,
    LAGS,
    MEAN,
    MODEL,
    RATES,
    UNIT,
    WINDOW,
    Head,
    HeadBlock,
    HeadWindows,
    Kept,
    Population,
    adapted_source,
)
from finetune.result import Score
from finetune.tasks.problems.decoding_task import Problem
from finetune.tasks.problems.unit_task import UnitProblem
from finetune.tasks.problems.window_task import WindowProblem
from foundation.evaluation import CONTRACT_VERSION
from foundation.evaluation.block_readout import BlockReadout, Choice, LogisticReadout, Mixed, choose_weight
from foundation.evaluation.feature_blocks import CLIP
from foundation.evaluation.metrics import PRIMARY, Predictions
from foundation.evaluation.readings import Features, Reading
from foundation.evaluation.readout_weights import Side, readout_weights
from foundation.evaluation.splits import Fold
from foundation.models import EIT
from foundation.store import StoredRecording
from foundation.version import __version__

TEMPERATURES = (0.05, 20.0)


@dataclass(frozen=True)
class Scored:
    """A readout as cross-validation scored it.

    Args:
        predictions: of all samples, each by a readout that did not see it.
        score: of these.
    """

    predictions: Predictions
    score: Score


@dataclass(frozen=True)
class Evaluated:
    """What is known of a target when its head is fitted.

    Args:
        model: the frozen model; None where the head is of plain activity.
        ours: its features.
        rates: features of plain activity.
        scored: readout (``rate``, ``probe``, ``both``, ``full``, ...) -> how it did in cross-validation.
        split, interval: how the scores were made, in words.
        checkpoint: name and digest of the frozen model.
        key: digest of all that decides the numbers.
        network: gives for a mode what was finetuned on all labelled samples of this recording and of others; None: it
            is finetuned on this one when the head is fitted.
    """

    model: EIT | None
    ours: Sequence[Features]
    rates: Sequence[Features]
    scored: Mapping[str, Scored]
    split: str
    interval: str
    checkpoint: dict[str, str]
    key: str
    network: Callable[[str], Finetuned] | None = None


def chosen_mode(scored: Mapping[str, Scored], kind: str, keep: str) -> str:
    """Return the readout that becomes the head: the one that was asked for, or the one with the best score.

    The simpler one wins a tie: rates, then the model, then both, then finetuned models. A network on frozen features
    and a model from scratch become no head.
    """
    if keep != "best":
        return keep
    there = [mode for mode in READOUTS if mode in scored]
    return max(there, key=lambda mode: scored[mode].score.metrics[PRIMARY[kind]])


def fit_head(problem: Problem, about: Evaluated, settings: FinetuneSettings) -> tuple[Head, list[EIT]]:
    """Fit the head of a target to all of its labelled samples; choices are made inside them, as in an outer fold.

    Args:
        problem: the target.
        about: what was evaluated of it.
        settings: of the evaluation.

    Returns:
        The head, and the changed models that it reads, in the order of their sources.
    """
    labels, everyone = problem.labels, np.arange(len(problem.labels.y_S))
    mode = chosen_mode(about.scored, labels.kind, settings.keep)
    inner = problem.inner(everyone, settings.seed)
    fold = Fold(everyone, everyone[:0])
    linear = _linear(problem, mode, about, fold, inner)
    blocks, bias_K = linear.blocks(problem, everyone)
    choices: dict[str, Any] = {"features": linear.names, "penalty": linear.choice.penalty}
    if linear.weight is not None:
        choices["weight_of_model"] = linear.weight
    readout = "logistic regression, classes balanced" if labels.n_classes else "ridge regression"
    changed: list[EIT] = []
    if mode in FINETUNED:
        assert about.model is not None  # a finetuned model starts from it
        held = Fold(everyone[inner[0].train], everyone[inner[0].test])
        if about.network is not None:
            found = about.network(mode)
        else:
            held_S = predict_test(problem, linear.readout, held, linear.choice)
            learned = Learned(problem, about.ours, everyone, held_S)
            (found,) = finetune_on([learned], about.model, settings, settings.seed, mode)
        choices |= {"updates": found.updates, "share_of_network": found.share}
        blocks, bias_K = _with_networks(problem, found, blocks, bias_K)
        changed = [tuned.model for tuned, _ in found.weighted]
        if changed:
            models = "finetuned model" if len(changed) == 1 else f"mean of {len(changed)} finetuned models"
            readout = f"{models} beside {readout}"
    temperature = 1.0
    if labels.n_classes and not changed:
        temperature = _temperature(problem, linear, inner)
    head = Head(
        task=labels.task,
        target=labels.target,
        title=labels.title,
        kind=labels.kind,
        classes=list(labels.classes),
        value_names=list(labels.value_names),
        unit=labels.unit,
        blocks=tuple(blocks),
        bias_K=bias_K,
        windows=_windows(problem),
        population=_population(problem),
        kept=Kept(
            mode=mode,
            readout=readout,
            choices=choices,
            samples=len(everyone),
            scores={name: _score(found.score) for name, found in about.scored.items()},
            split=about.split,
            interval=about.interval,
            data=dict(problem.recordings),
            checkpoint=about.checkpoint if any(b.source == MODEL for b in blocks) else None,
            adapted=[""] * len(changed),  # known when it is written
            contract=CONTRACT_VERSION,
            version=__version__,
            key=about.key,
        ),
        spread_K=_spread(about.scored[mode].predictions),
        temperature=temperature,
    )
    return head, changed


@dataclass(frozen=True)
class _Linear:
    """A linear readout of one kind of features or of two, and of which."""

    readout: BlockReadout
    choice: Choice
    sides: list[tuple[str, Best, float]]  # source, features, share of the squared norm
    weight: float | None = None

    @property
    def names(self) -> str:
        return ", and ".join(best.name for _, best, _ in self.sides)

    def blocks(self, problem: Problem, train: np.ndarray) -> tuple[list[HeadBlock], np.ndarray]:
        """Fit to training samples; return weights and bias."""
        solution = self.readout.solution(problem.labels.y_S, train, self.choice.penalty)
        sides = [Side.of(best.block, best.reading, share) for _, best, share in self.sides]
        weights, bias_K = readout_weights(solution, sides, train)
        made = []
        for (source, best, _), side, weight_LFK in zip(self.sides, sides, weights, strict=True):
            reading, lags = _reading(problem, best.reading)
            still_F = ~np.isfinite(side.standard.scale_F)  # features that never changed say nothing
            scale_F = np.where(still_F, np.float32(1), side.standard.scale_F)
            weight_LFK[:, still_F] = 0
            made.append(
                HeadBlock(source, best.features.name, reading, lags, CLIP, side.standard.mean_F, scale_F, weight_LFK)
            )
        return made, bias_K


def _linear(problem: Problem, mode: str, about: Evaluated, fold: Fold, inner: list[Fold]) -> _Linear:
    if mode == "rate":
        best = best_readout(problem, about.rates, fold, inner)
        return _Linear(best.readout, best.choice, [(RATES, best, 1.0)])
    ours = best_readout(problem, about.ours, fold, inner)
    if mode == "probe":
        return _Linear(ours.readout, ours.choice, [(MODEL, ours, 1.0)])
    rate = best_readout(problem, about.rates, fold, inner)
    labels = problem.labels
    both: Mixed = choose_weight(rate.triple, ours.triple, labels.y_S, fold.train, inner, labels.n_classes)
    sides = [(RATES, rate, 1 - both.weight), (MODEL, ours, both.weight)]
    return _Linear(both.readout, both.choice, [side for side in sides if side[2]], both.weight)


def _reading(problem: Problem, reading: Reading) -> tuple[str, tuple[int, ...]]:
    """How a head names a reading, and its lags."""
    if isinstance(problem, UnitProblem):
        return UNIT, ()
    if reading.mean:
        return MEAN, ()
    return (LAGS, reading.lags) if reading.lags else (WINDOW, ())


def _with_networks(
    problem: Problem, found: Finetuned, linear: list[HeadBlock], bias_K: np.ndarray
) -> tuple[list[HeadBlock], np.ndarray]:
    """Return the blocks of finetuned models, each with its weight, beside those of a linear readout."""
    if not found.weighted:
        return linear, bias_K
    reading, lags = UNIT, tuple[int, ...]()
    if isinstance(problem, WindowProblem):
        reading, lags = (WINDOW, lags) if problem.token_S is None else (LAGS, (0,))
    rest = 1 - found.share
    blocks, total_K = [], np.zeros_like(bias_K) if found.share == 1 else rest * bias_K
    for place, (tuned, weight) in enumerate(found.weighted):
        head = tuned.head
        weight_CK = head.linear.weight.detach().double().numpy().T * head.gain * tuned.spread_K
        components = head.components_FC
        weight_FK = weight_CK if components is None else components.double().numpy() @ weight_CK
        total_K = total_K + head.linear.bias.detach().double().numpy() * tuned.spread_K * weight
        blocks.append(
            HeadBlock(
                adapted_source(place),
                "the finetuned model",
                reading,
                lags,
                None,
                head.mean_F.numpy(),
                head.scale_F.numpy(),
                (weight_FK * weight)[None].astype(np.float32),
            )
        )
    if found.share == 1:
        return blocks, total_K
    beside = [replace(block, weight_LFK=block.weight_LFK * np.float32(rest)) for block in linear]
    return [*blocks, *beside], total_K


def _temperature(problem: Problem, linear: _Linear, inner: list[Fold]) -> float:
    """What logits of the inner folds are divided by so that their probabilities, classes balanced, fit the labels."""
    assert isinstance(linear.readout, LogisticReadout)
    y_S = problem.labels.y_S
    logits = [linear.readout.logits(y_S, fold.train, fold.test, linear.choice.penalty) for fold in inner]
    y = np.concatenate([y_S[fold.test] for fold in inner])
    return fitted_temperature(np.concatenate(logits), y)


def fitted_temperature(logits_SK: np.ndarray, y_S: np.ndarray) -> float:
    """Return the temperature with the least cross-entropy, each class weighing the same (Guo et al. 2017).

    Args:
        logits_SK: of samples that the readout has not seen.
        y_S: their classes.

    Example:
        >>> y_S = np.random.default_rng(0).integers(0, 2, 4000)
        >>> shown = np.where(np.random.default_rng(1).random(4000) < 0.8, y_S, 1 - y_S)  # right in 4 of 5
        >>> t = fitted_temperature(10 * np.eye(2)[shown], y_S)
        >>> bool(abs(1 / (1 + np.exp(-10 / t)) - 0.8) < 0.02)
        True
    """
    weight_S = 1.0 / np.bincount(y_S)[y_S]
    finite_SK = np.where(np.isfinite(logits_SK), logits_SK, -1e3)  # a class that an inner fold did not have

    def loss(log_temperature: float) -> float:
        scaled_SK = finite_SK / np.exp(log_temperature)
        top_S = scaled_SK.max(axis=1)
        log_sum_S = top_S + np.log(np.exp(scaled_SK - top_S[:, None]).sum(axis=1))
        loss_S = np.minimum(log_sum_S - scaled_SK[np.arange(len(y_S)), y_S], 50.0)
        return float((weight_S * loss_S).sum())

    found = minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded")
    return float(np.exp(found.x))


def _windows(problem: Problem) -> HeadWindows:
    if isinstance(problem, UnitProblem):
        n_tokens, seconds = problem.tokens, problem.bin_width * problem.n_bins
        patch = problem.n_bins // n_tokens
        kind, lengths = problem.stored[0].kind, (seconds / n_tokens, patch, n_tokens)
        return HeadWindows("units", *lengths, kind, max_windows=problem.windows, seed=problem.seed)
    assert isinstance(problem, WindowProblem)
    return HeadWindows(
        problem.windows.part_name,
        problem.token_seconds,
        problem.patch,
        int(problem.windows.tokens_W.max()),
        problem.recording.kind,
        whole=problem.token_S is None,
        causal=problem.causal and problem.token_S is not None,
    )


def _population(problem: Problem) -> Population | None:
    if not isinstance(problem, WindowProblem):
        return None
    recording = problem.recording
    record = recording.record
    return Population(recording.id, record.subject, record.session, unit_ids(recording))


def unit_ids(recording: StoredRecording) -> list[int]:
    """Return the ids of a recording's units as in its file; their places where it has none."""
    units = recording.units
    return [int(x) for x in units["id"]] if "id" in units else list(range(recording.n_units))


def _score(score: Score) -> dict[str, Any]:
    metrics = {name: value if np.isfinite(value) else None for name, value in score.metrics.items()}
    return {"metrics": metrics, "low": score.low, "high": score.high}


def _spread(predictions: Predictions) -> list[float]:
    """Root mean squared error of each value in cross-validation."""
    if predictions.n_classes:
        return []
    error_SK = np.asarray(predictions.predicted_S, dtype=np.float64) - predictions.y_S
    return [float(x) for x in np.sqrt((error_SK**2).mean(axis=0))]


def read_from(head: Head, changed: EIT) -> tuple[Head, list[EIT]]:
    """Return a head that reads a changed model instead of the checkpoint, and that model if the head reads any."""
    blocks = tuple(replace(b, source=ADAPTED) if b.source == MODEL else b for b in head.blocks)
    models = [changed] if any(b.source == ADAPTED for b in blocks) else []
    return replace(head, blocks=blocks, kept=replace(head.kept, checkpoint=None, adapted=[""] * len(models))), models
