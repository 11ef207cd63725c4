"""Decoders that are given few labelled trials: the clearest evidence of what pretraining is worth."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from finetune.finetune_settings import FinetuneSettings
from finetune.heads.fitting.full_finetuning import Starts, full
from finetune.heads.fitting.head_probe import probe_with_rates
from finetune.tasks.problems.window_task import WindowProblem
from foundation.evaluation.metrics import Predictions
from foundation.evaluation.readings import Features
from foundation.evaluation.splits import Fold, Split, TooLittleError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FewLabels:
    """Predictions by decoders that learned from a few trials.

    Args:
        trials: labelled trials of a fold.
        rows: ``rate``, ``probe``, ``both``, ``full`` and, where it is asked for, ``scratch``.
    """

    trials: int
    rows: dict[str, Predictions]


def label_curve(
    problem: WindowProblem,
    pretrained: Starts,
    untrained: Starts | None,
    split: Split,
    settings: FinetuneSettings,
    how: str = "full",
) -> Iterator[FewLabels]:
    """Read and finetune a model anew with so few of each fold's training trials.

    The trials are drawn by seed and fold; fewer are always among more. Test samples stay, and everything is chosen
    inside the few trials. Numbers that a fold does not have, or that are too few to choose inside, are left out.

    Args:
        problem: labels inside trials.
        pretrained: gives for an outer fold a model and its features.
        untrained: the same of a model with random weights; None: there is no row ``scratch``.
        split: the outer folds.
        settings: with the numbers of trials in ``full.label_curve``.
        how: which weights of the pretrained model learn, see `adapt`.
    """
    rates = problem.rate_features()
    for trials in settings.full.label_curve:
        few = fewer_trials(problem, split, trials, settings.seed)
        if few is None:
            log.info("%s: %d labelled trials are left out: a fold has fewer", problem.labels.target, trials)
            continue
        try:
            rows = _rows(problem, pretrained, untrained, rates, few, settings, how)
        except TooLittleError as error:
            log.info("%s: %d labelled trials are left out: %s", problem.labels.target, trials, error)
            continue
        yield FewLabels(trials, rows)


def fewer_trials(problem: WindowProblem, split: Split, trials: int, seed: int) -> Split | None:
    """The same folds with so many of their training trials; None if a fold does not have more."""
    folds = []
    for k, fold in enumerate(split.folds):
        part_S = problem.cluster_S[fold.train]
        parts = np.random.default_rng([seed, 17, k]).permutation(np.unique(part_S))
        if trials >= len(parts):
            return None
        folds.append(Fold(fold.train[np.isin(part_S, parts[:trials])], fold.test))
    return Split(folds, f"{split.description}, {trials} labelled trials of each fold")


def _rows(
    problem: WindowProblem,
    pretrained: Starts,
    untrained: Starts | None,
    rates: Sequence[Features],
    few: Split,
    settings: FinetuneSettings,
    how: str,
) -> dict[str, Predictions]:
    probes = probe_with_rates(problem, rates, lambda k: pretrained(k)[1], few, settings, shuffled=False)
    fitted = {"rate": probes.rate, "probe": probes.model, "both": probes.both}
    fitted["full"] = full(problem, pretrained, probes.both, few, settings, how)
    if untrained is not None:
        fitted["scratch"] = full(problem, untrained, probes.rate, few, settings)
    return {name: found.predictions for name, found in fitted.items()}
