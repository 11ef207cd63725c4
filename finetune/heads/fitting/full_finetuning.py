"""Finetuning of the weights of a pretrained model, in cross-validation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from finetune.finetune_settings import FinetuneSettings
from finetune.heads.fitting.head_probe import Fitted, gather
from finetune.heads.fitting.shared_trunk import Learned, finetune_on
from finetune.tasks.problems.decoding_task import Problem
from foundation.common.errors import ConfigError
from foundation.evaluation.readings import Features
from foundation.evaluation.splits import Split
from foundation.models import EIT

log = logging.getLogger(__name__)
Starts = Callable[[int], tuple[EIT, Sequence[Features]]]  # of an outer fold: a model, and its features


@dataclass(frozen=True)
class Session:
    """One recording of several that share a trunk.

    Args:
        problem: samples and labels of the target.
        features: of the model that all sessions start from.
        beside: the linear readout on the same folds.
        split: the outer folds.
    """

    problem: Problem
    features: Sequence[Features]
    beside: Fitted
    split: Split


def full(
    problem: Problem, starts: Starts, beside: Fitted, split: Split, settings: FinetuneSettings, how: str = "full"
) -> Fitted:
    """Weights of a model finetuned, fold by fold, from a linear head (Kumar et al. 2022, arXiv 2202.10054, LP-FT).

    The head sees each sample's own token, or all tokens of a trial. Inside the training samples the first inner fold is
    held out: a run on the others says after how many updates the score there is best. A second run on all training
    samples then takes that many updates. Values are predicted by the network and a linear readout together, with the
    share of the network that is best on the first inner fold; classes by whichever is better there. Where the network
    never helps, the readout's predictions stay. With ``full.ensemble`` several networks are trained like this, each
    from a seed of its own, and the mean of their outputs predicts.

    Args:
        problem: samples and labels of the target.
        starts: gives for an outer fold the model that its network starts from, which stays as it is, and the frozen
            model's features, which the head starts from; the same for all folds, unless each has a model of its own.
        beside: the linear readout on the same folds.
        split: the outer folds.
        settings: of the finetuning.
        how: which weights learn, see `finetune.heads.fitting.adapting.adapt`.

    Returns:
        Predictions, and by fold the updates that were made and the share of the network.
    """

    def start(k: int) -> tuple[EIT, list[Session]]:
        model, features = starts(k)
        return model, [Session(problem, features, beside, split)]

    return _by_fold(start, len(split.folds), settings, how, one_head=False)[0]


def full_together(
    sessions: Sequence[Session], model: EIT, settings: FinetuneSettings, how: str, one_head: bool
) -> list[Fitted]:
    """Finetune one trunk on several recordings, fold by fold, and predict the test samples of each.

    In a fold the test blocks of all recordings are held out together: the trunk learns from no test sample of any of
    them. Everything else is as for one recording, see `full`: the number of updates is the one with the best mean score
    over recordings on their first inner folds, and the share of the network beside the linear readout is chosen for
    each recording.

    Args:
        sessions: two or more, with equally many folds.
        model: with rows for the units of all recordings, where it has a population stream.
        settings: of the finetuning.
        how: which weights learn, see `finetune.heads.fitting.adapting.adapt`.
        one_head: whether all recordings are read by one head.

    Returns:
        Predictions of each session, with the updates and the share of the network by fold.

    Raises:
        ConfigError: if one head is asked for and the recordings differ in features or labels.
    """
    n_folds = {len(session.split.folds) for session in sessions}
    if len(n_folds) != 1:
        raise ConfigError(f"full.sessions: recordings have {sorted(n_folds)} folds: expected equally many")
    return _by_fold(lambda _: (model, list(sessions)), n_folds.pop(), settings, how, one_head)


def _by_fold(
    start: Callable[[int], tuple[EIT, list[Session]]],
    n_folds: int,
    settings: FinetuneSettings,
    how: str,
    one_head: bool,
) -> list[Fitted]:
    """Finetune in each outer fold, and gather the predictions of each session."""
    predicted: list[list[np.ndarray]] = []
    choices: list[dict[str, list]] = []
    for k in range(n_folds):
        model, sessions = start(k)
        predicted = predicted or [[] for _ in sessions]
        choices = choices or [{"updates": [], "share": []} for _ in sessions]
        learned = []
        for session in sessions:
            held_S = session.beside.folds[k].held_S
            assert held_S is not None
            learned.append(Learned(session.problem, session.features, session.split.folds[k].train, held_S))
        found = finetune_on(learned, model, settings, settings.seed + k, how, one_head)
        for i, (session, one) in enumerate(zip(sessions, found, strict=True)):
            predicted[i].append(one.predict(session.problem, session.split.folds[k].test, _beside(session, k)))
            choices[i]["updates"].append(one.updates)
            choices[i]["share"].append(one.share)
            where = (session.problem.labels.target, k + 1, n_folds)
            if one.share:
                log.info("%s: fold %d of %d, %s updates; weight of the network %g", *where, one.updates, one.share)
            else:
                log.info("%s: fold %d of %d, training further did not help: the linear readout predicts", *where)
    return [
        Fitted(gather(session.problem, session.split, folds), chosen)
        for session, folds, chosen in zip(sessions, predicted, choices, strict=True)
    ]


def _beside(session: Session, fold: int) -> np.ndarray:
    """Return the predictions of the linear readout for the test samples of a fold."""
    lengths = [len(one.test) for one in session.split.folds]
    predicted_S: np.ndarray = np.split(session.beside.predictions.predicted_S, np.cumsum(lengths)[:-1])[fold]
    return predicted_S
