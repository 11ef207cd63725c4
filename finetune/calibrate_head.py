"""Fit a head anew to some labelled minutes of another population, with the model as it is."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np

from finetune.finetune_settings import FinetuneSettings, WindowSettings
from finetune.heads.fitting.fit_head import Evaluated, Scored, fit_head, read_from
from finetune.heads.fitting.head_probe import probe_with_rates
from finetune.heads.fitting.new_rows import with_new_rows
from finetune.heads.head import ADAPTED, LAGS, MODEL, Head, HeadError
from finetune.heads.write_decoded import series_name
from finetune.result import Score
from finetune.tasks import TASKS, Sources
from finetune.tasks.problems.window_task import WindowProblem
from foundation.common.digests import json_digest
from foundation.data.reading.reader import ReaderCache
from foundation.evaluation.confidence_intervals import interval
from foundation.evaluation.metrics import PRIMARY, Predictions, score, sums
from foundation.evaluation.splits import TooLittleError
from foundation.models import EIT
from foundation.models.parts.population_stream import population_places
from foundation.store import Catalog, StoredRecording

log = logging.getLogger(__name__)
FOLDS, BOOTSTRAP, LAG = 3, 1000, 32


@dataclass(frozen=True)
class Calibrated:
    """A head for another population.

    Args:
        head: fitted to labelled minutes of it.
        changed: the model with rows of the population, or the finetuned one; empty if the head reads the frozen
            checkpoint, or activity alone.
    """

    head: Head
    changed: list[EIT]


def calibrate_head(
    head: Head, models: dict[str, EIT], catalog: Catalog, recording: StoredRecording, minutes: float
) -> Calibrated:
    """Fit a head of labels over time anew to the first minutes of a recording.

    The readout is fitted to labelled samples that end within the minutes, and scored inside them by cross-validation.
    A model with a population stream gets rows for the population first (see `with_new_rows`); its trunk stays. Heads
    that were finetuned are read from the finetuned model as it is, of an ensemble from its first network.

    Args:
        head: of another population, or of this one on another day.
        models: what it reads.
        catalog: that holds the recording.
        recording: with labels of what the head predicts.
        minutes: from the recording's start.

    Raises:
        HeadError: if the head needs no calibration, or the recording has too few labels.
    """
    if head.population is None:
        raise HeadError(f"calibrate is {minutes:g} and head {head.name} reads any population: expected none")
    problem = _within(_problem(head, catalog, recording), head, minutes)
    trunk = models.get(ADAPTED) or models.get(MODEL)
    changed = models.get(ADAPTED)
    if trunk is not None and trunk.config.population_layers and recording.id not in population_places(trunk.config):
        windows = head.windows
        trunk = changed = with_new_rows(
            trunk, recording, token_seconds=windows.token_seconds, tokens=windows.tokens, seed=windows.seed
        )
    mode = "rate" if trunk is None else head.kept.mode if head.kept.mode in ("probe", "both") else "both"
    settings = FinetuneSettings(
        checkpoint="calibration", store=catalog.store.name, output="calibration", folds=FOLDS, keep=mode
    )
    try:
        fitted = _fit(problem, trunk, settings, head, minutes)
    except TooLittleError as error:
        raise HeadError(f"{minutes:g} minutes of {recording.record.path} are too few: {error}") from error
    read: list[EIT] = []
    if changed is not None:
        fitted, read = read_from(fitted, changed)
    metric = PRIMARY[fitted.kind]
    found = fitted.kept.scores[mode]
    log.info("%s: %s %.3f inside %g calibrated minutes", fitted.name, metric, found["metrics"][metric], minutes)
    return Calibrated(fitted, read)


def _fit(problem: WindowProblem, trunk: EIT | None, settings: FinetuneSettings, head: Head, minutes: float) -> Head:
    split = problem.split(settings.folds, settings.seed)
    rates = problem.rate_features()
    ours = rates if trunk is None else problem.features(trunk)
    probes = probe_with_rates(problem, rates, ours, split, settings, shuffled=False)
    made = {"rate": probes.rate} if trunk is None else {
        "rate": probes.rate, "probe": probes.model, "both": probes.both
    }  # fmt: skip
    scored = {name: Scored(found.predictions, _score(found.predictions)) for name, found in made.items()}
    checkpoint = head.kept.checkpoint or {"name": "", "digest": ""}
    key = json_digest([head.kept.key, minutes, problem.recordings, settings.keep])
    text = f"{split.description}, of the first {minutes:g} minutes"
    words = f"95 % bootstrap over {problem.cluster_name}, {BOOTSTRAP} resamples"
    assert trunk is not None or settings.keep == "rate"
    about = Evaluated(trunk, ours, rates, scored, text, words, checkpoint, key)
    return fit_head(problem, about, settings)[0]


def _score(predictions: Predictions) -> Score:
    found = score(sums(predictions).sum(axis=0), predictions.kind)
    low, high = interval(predictions, BOOTSTRAP, 0) or (None, None)
    return Score({name: float(value) for name, value in found.items()}, low, high)


def _problem(head: Head, catalog: Catalog, recording: StoredRecording) -> WindowProblem:
    """The labels of a recording that a head predicts, in windows like the head's."""
    windows = head.windows
    lags = [abs(lag) for block in head.blocks if block.reading == LAGS for lag in block.lags]
    token, tokens, lag = windows.token_seconds, windows.tokens, max([LAG, *lags])
    given = WindowSettings(
        behavior_token=token, behavior_tokens=tokens, max_trial_tokens=tokens, sleep_token=token, sleep_tokens=tokens,
        max_lag=lag, causal=windows.causal,
    )  # fmt: skip
    only, bins = catalog.select([recording.id]), windows.bins_per_token
    sources = Sources(only, ReaderCache(only), given, bins, bins, FOLDS, windows.seed)
    if head.task not in TASKS:
        raise HeadError(f"calibrate is given and head {head.name} is of a custom task: expected a shipped task")
    found = TASKS[head.task](sources)
    name = series_name(head)
    for problem in found.problems:
        is_it = head.task != "behavior" or problem.labels.target.startswith(f"{name}-")
        if isinstance(problem, WindowProblem) and is_it:
            return problem
    why = "; ".join([*found.skipped, *(entry.reason for entry in found.failed)]) or f"it has no {name}"
    raise HeadError(f"{recording.record.path} has no labels to calibrate head {head.name} on: {why}")


def _within(problem: WindowProblem, head: Head, minutes: float) -> WindowProblem:
    """The samples of windows that end within some minutes from the start of what was observed."""
    limit = float(problem.recording.domain.start.min()) + 60 * minutes
    inside_S = (problem.end_W <= limit + 1e-6)[problem.window_S]
    if inside_S.sum() < 2 * FOLDS:
        raise HeadError(
            f"calibrate is {minutes:g} minutes, with {int(inside_S.sum())} labelled samples of head {head.name}: "
            "expected more minutes"
        )
    used, window_S = np.unique(problem.window_S[inside_S], return_inverse=True)
    y_S, labels = problem.labels.y_S[inside_S], problem.labels
    if labels.n_classes:
        there, y_S = np.unique(y_S, return_inverse=True)
        if len(there) < 2:
            raise HeadError(f"calibrate is {minutes:g} minutes, with one class alone: expected more minutes")
        labels = replace(labels, classes=tuple(labels.classes[c] for c in there))
    return WindowProblem(
        replace(labels, y_S=y_S),
        problem.recording,
        problem.windows.where(used),
        window_S,
        None if problem.token_S is None else problem.token_S[inside_S],
        token_seconds=problem.token_seconds,
        readers=problem.readers,
        bins_per_token=problem.patch,
        max_lag=problem.max_lag,
        what=problem.what,
        causal=problem.causal,
    )
