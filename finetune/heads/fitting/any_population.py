"""A readout of averages over units, which reads any population: for states of the animal, such as sleep."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from finetune.finetune_settings import FinetuneSettings
from finetune.heads.fitting.fit_head import Evaluated, Scored, chosen_mode, fit_head
from finetune.heads.fitting.head_probe import probe, probe_with_rates
from finetune.heads.head import Head
from finetune.tasks.problems.window_task import WindowProblem
from foundation.common.errors import CheckpointError
from foundation.evaluation.metrics import Predictions
from foundation.evaluation.readings import Features
from foundation.evaluation.splits import Split
from foundation.models import EIT

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Averages:
    """Averages over units, and how well a state is read from them.

    Args:
        rates: averages of activity.
        ours: averages of the model's tokens; empty if the model gives none.
        predictions: ``rate``, and ``probe`` and ``both`` where the model gives tokens of units.
    """

    rates: Sequence[Features]
    ours: Sequence[Features]
    predictions: dict[str, Predictions]


def read_averages(problem: WindowProblem, model: EIT, split: Split, settings: FinetuneSettings) -> Averages:
    """Read a state from averages over units, of activity and of the frozen model, on the same folds as other readouts.

    Args:
        problem: the state.
        model: as it was pretrained.
        split: the outer folds.
        settings: of the evaluation.
    """
    rates = problem.averaged_rates()
    try:
        ours = problem.averaged_features(model)
    except CheckpointError as error:
        log.info("%s: averages of activity alone are read: %s", problem.labels.target, error)
        fitted = probe(problem, rates, split, settings)
        return Averages(rates, (), {"rate": fitted.predictions})
    probes = probe_with_rates(problem, rates, ours, split, settings, shuffled=False)
    found = {"rate": probes.rate, "probe": probes.model, "both": probes.both}
    return Averages(rates, ours, {name: fitted.predictions for name, fitted in found.items()})


def kept_average(scored: dict[str, Scored], kind: str, keep: str) -> str:
    """Return the readout of averages that becomes a head: the one that was asked for if there is one, else the best."""
    return keep if keep in scored else chosen_mode(scored, kind, "best")


def fit_any_population(problem: WindowProblem, about: Evaluated, settings: FinetuneSettings) -> Head:
    """Fit the head that reads averages over units to all labelled samples.

    Args:
        problem: the state.
        about: what was evaluated, with averages as features.
        settings: of the evaluation.
    """
    keep = kept_average(dict(about.scored), problem.labels.kind, settings.keep)
    head, _ = fit_head(problem, about, replace(settings, keep=keep))
    return replace(head, population=None, title=f"{head.title}, any population")
