"""What a score is read against: floors, controls and decoders without pretraining, each with its predictions."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from finetune.finetune_settings import FinetuneSettings
from finetune.heads.fitting.full_finetuning import Starts
from finetune.heads.fitting.head_probe import Probes, gather, probe, probe_with_rates
from finetune.heads.references.gru_decoder import decode_with_gru
from finetune.heads.references.state_smoothing import smoothed_states
from finetune.heads.references.trial_profile import profile_rows
from finetune.tasks.problems.decoding_task import Labels, Problem
from finetune.tasks.problems.unit_task import UnitProblem
from finetune.tasks.problems.window_task import WindowProblem
from foundation.evaluation.controls import by_laboratory, commonest
from foundation.evaluation.linear_readout import training_mean
from foundation.evaluation.metrics import CLASSES, VALUES, Predictions
from foundation.evaluation.readings import Features, each_row
from foundation.evaluation.splits import Split
from foundation.models import EIT

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """One readout or control.

    Args:
        predictions: of all samples.
        detail: what was chosen or done, in words.
    """

    predictions: Predictions
    detail: str = ""


@dataclass
class References:
    """Everything that is read against the model's own readout.

    Args:
        rows: name -> readout; ``rate`` is the floor and ``both`` the model beside it.
        control: the primary metric of the probe for each set of shuffled labels.
        dealt: how labels were shuffled, in words.
        rates: features of firing rates.
        labels: of the target, for the metrics that they have beside those of their kind.
    """

    rows: dict[str, Row]
    control: list[float] = field(default_factory=list)
    dealt: str = ""
    rates: Sequence[Features] = ()
    labels: Labels | None = None


def probe_and_references(
    problem: Problem, model: EIT, ours: Sequence[Features], split: Split, settings: FinetuneSettings
) -> tuple[Probes, References]:
    """Read a frozen model, firing rates and both, and everything that they are read against.

    Args:
        problem: samples and labels of the target.
        model: pretrained.
        ours: its features of the samples.
        split: the outer folds.
        settings: of the evaluation.
    """
    began, labels = time.perf_counter(), problem.labels
    rates = problem.rate_features()
    probes = probe_with_rates(problem, rates, ours, split, settings)
    rows = {"rate": Row(probes.rate.predictions, probes.rate.names), "both": _both(probes)}
    _note(problem, "rates, model and both", began)
    if isinstance(problem, UnitProblem):
        rows |= _statistics_rows(problem, ours, split, settings)
    if isinstance(problem, WindowProblem):
        rows |= rows_over_time(problem, rates, split, settings)
        for name, fitted in (("rate_smoothed", probes.rate), ("smoothed", probes.model)):
            if (found := smoothed_states(problem, fitted, settings.seed)) is not None:
                smoothed, n = found
                how = f"hidden Markov model fitted to training data, in {n} of {len(smoothed)} folds"
                rows[name] = Row(gather(problem, split, smoothed), how)
        rows |= _recurrent_rows(problem, split, settings)
    if settings.random_weights:
        began = time.perf_counter()
        untrained = probe(problem, problem.features(random_weights(model, settings.seed)), split, settings)
        rows["random"] = Row(untrained.predictions, f"architecture of the model, seed {settings.seed}")
        _note(problem, "random weights", began)
    y_S = labels.y_S
    if labels.kind == CLASSES:
        predicted = [commonest(y_S, len(fold.test)) for fold in split.folds]
        rows["majority"] = Row(gather(problem, split, predicted), "always the commonest class")
    else:
        predicted = [training_mean(y_S[fold.train], len(fold.test), 0) for fold in split.folds]
        rows["majority"] = Row(gather(problem, split, predicted), "the training mean")
    if (lab_S := problem.lab_S) is not None:
        predicted = [by_laboratory(y_S[fold.train], lab_S[fold.train], lab_S[fold.test]) for fold in split.folds]
        rows["laboratory"] = Row(gather(problem, split, predicted), f"{len(np.unique(lab_S))} laboratories")
    how = problem.shuffles(settings.control_repeats, settings.seed)[1]
    return probes, References(rows, probes.control, how, rates, labels)


def _statistics_rows(
    problem: UnitProblem, ours: Sequence[Features], split: Split, settings: FinetuneSettings
) -> dict[str, Row]:
    """Read what a careful person measures of spikes, alone and beside the model."""
    began, patterns = time.perf_counter(), problem.pattern_features()
    if not patterns:
        return {}
    probes = probe_with_rates(problem, patterns, ours, split, settings, shuffled=False)
    _note(problem, "spike statistics, and beside the model", began)
    return {"statistics": Row(probes.rate.predictions, probes.rate.names), "statistics_both": _both(probes)}


def random_weights(model: EIT, seed: int) -> EIT:
    """Return a model of the same architecture whose weights are those that pretraining with this seed begins from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return type(model)(model.config).to(model.device)


def from_scratch(problem: Problem, model: EIT, seed: int) -> Starts:
    """Random weights of a model's architecture and their features, as `full` starts from."""
    untrained = random_weights(model, seed)
    features = problem.features(untrained)
    return lambda _: (untrained, features)


def _both(probes: Probes) -> Row:
    weights = probes.both.choices["weight"]
    none = "; the model added nothing" if not any(weights) else ""
    return Row(probes.both.predictions, f"weight of the model by fold {', '.join(f'{w:g}' for w in weights)}{none}")


def rows_over_time(
    problem: WindowProblem, rates: Sequence[Features], split: Split, settings: FinetuneSettings
) -> dict[str, Row]:
    """Return the rows of samples that are time bins of a window, without those of recurrent decoders.

    Args:
        problem: samples and labels of the target; there are no such rows if a sample is a whole window.
        rates: features of firing rates.
        split: the outer folds.
        settings: for the seed.
    """
    rows: dict[str, Row] = {}
    if problem.token_S is None:
        return rows
    own = probe(problem, [replace(kind, readings=(problem.own_bin,)) for kind in rates], split, settings)
    rows["rate_own"] = Row(own.predictions, own.names)
    if problem.windows.part_name == "trials":
        clock = probe(problem, [time_in_window(problem)], split, settings)
        rows["time"] = Row(clock.predictions, "lags of a constant, 0 outside the window: the time since both its ends")
    if problem.labels.kind == CLASSES:
        return rows
    if (profiles := profile_rows(problem, split, settings)) is not None:
        named, true, right = profiles
        rows["profile"] = Row(named, f"{right:.0%} of directions named right by logistic regression of firing rates")
        rows["oracle"] = Row(true, "mean course of the training trials in the true direction")
    return rows


def _recurrent_rows(problem: WindowProblem, split: Split, settings: FinetuneSettings) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    if settings.gru.run and problem.token_S is not None and problem.labels.kind == VALUES:
        for name, causal in (("gru", False), ("gru_causal", True)):
            began = time.perf_counter()
            fitted = decode_with_gru(problem, split, settings, causal=causal)
            chosen = ", ".join(f"{key} {value}" for key, value in fitted.choices.items())
            rows[name] = Row(fitted.predictions, f"{settings.gru.units} units; by fold: {chosen}")
            _note(problem, name, began)
    return rows


def time_in_window(problem: WindowProblem) -> Features:
    """All lags of a constant: what zeros outside the window tell of the time inside it."""
    (lags, *_) = problem.readings
    x_SL = (lags.rows_SL >= 0).astype(np.float32)
    return Features("time", x_SL, (each_row(len(x_SL)),))


def _note(problem: Problem, what: str, began: float) -> None:
    log.info("%s %s: %.1f s", problem.labels.target, what, time.perf_counter() - began)
