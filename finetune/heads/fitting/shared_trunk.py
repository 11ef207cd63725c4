"""Finetuning on several recordings at once: one trunk that learns from all of them, and a head each or one head."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from finetune.finetune_settings import FinetuneSettings
from finetune.heads.fitting.full_finetuning import (
    SHARES,
    Finetuned,
    Part,
    Start,
    Tuned,
    adaptation_of,
    blend,
    train_together,
    updates_between_looks,
)
from finetune.heads.fitting.head_probe import Fitted, gather
from finetune.tasks.problems.decoding_task import Problem
from finetune.training_loop import DivergedError, LengthSearch
from foundation.common.errors import ConfigError
from foundation.evaluation.linear_readout import choose_strength, inner_score, make_basis, training_mean
from foundation.evaluation.readings import Features
from foundation.evaluation.splits import Split
from foundation.models import EIT

log = logging.getLogger(__name__)


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


@dataclass(frozen=True)
class Learned:
    """Training samples of one session.

    Args:
        problem, features: as `Session` has them.
        train: indices of the training samples.
        held_S: what the linear readout says of the test samples of the first inner fold.
    """

    problem: Problem
    features: Sequence[Features]
    train: np.ndarray
    held_S: np.ndarray


def full_together(
    sessions: Sequence[Session], model: EIT, settings: FinetuneSettings, how: str, one_head: bool
) -> list[Fitted]:
    """Finetune one trunk on several recordings, fold by fold, and predict the test samples of each.

    In a fold the test blocks of all recordings are held out together: the trunk learns from no test sample of any of
    them. Everything else is as for one recording (`finetune.heads.fitting.full_finetuning.full`): the number of updates
    is the one with the best mean score over recordings on their first inner folds, and the share of the network beside
    the linear readout is chosen for each recording.

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
    predicted: list[list[np.ndarray]] = [[] for _ in sessions]
    choices: list[dict[str, list]] = [{"updates": [], "share": []} for _ in sessions]
    for k in range(n_folds.pop()):
        learned = []
        for session in sessions:
            held_S = session.beside.folds[k].held_S
            assert held_S is not None
            learned.append(Learned(session.problem, session.features, session.split.folds[k].train, held_S))
        found = finetune_together(learned, model, settings, settings.seed + k, how, one_head)
        for i, (session, one) in enumerate(zip(sessions, found, strict=True)):
            test = session.split.folds[k].test
            predicted_S = _beside(session, k)
            if one.tuned is not None:
                predicted_S = blend(one.tuned.predict(session.problem, test), predicted_S, one.share)
            predicted[i].append(predicted_S)
            choices[i]["updates"].append(one.updates)
            choices[i]["share"].append(one.share)
        log.info("%d recordings: fold %d, %d updates", len(sessions), k + 1, max(one.updates for one in found))
    return [
        Fitted(gather(session.problem, session.split, folds), chosen)
        for session, folds, chosen in zip(sessions, predicted, choices, strict=True)
    ]


def finetune_together(
    learned: Sequence[Learned], model: EIT, settings: FinetuneSettings, seed: int, how: str, one_head: bool
) -> list[Finetuned]:
    """Finetune a copy of a model on the training samples of several recordings.

    Args:
        learned: training samples of each.
        model: where it starts; stays as it is.
        settings: of the finetuning.
        seed: of draws and dropout.
        how: which weights learn.
        one_head: whether all recordings are read by one head.

    Returns:
        For each recording the trunk, which is one object, with its head; None where the network never helped it.
    """
    inner = [one.problem.inner(one.train, settings.seed)[0] for one in learned]
    learn = [one.train[fold.train] for one, fold in zip(learned, inner, strict=True)]
    held = [one.train[fold.test] for one, fold in zip(learned, inner, strict=True)]
    starts = [
        Start(one.problem, *one.problem.head_rows(one.features[-1].x_TF), settings.full, settings.seed, how)
        for one in learned
    ]
    strengths = _strengths(learned, starts, settings, one_head)
    means = [
        training_mean(one.problem.labels.y_S[rows], len(test), one.problem.labels.n_classes)
        for one, rows, test in zip(learned, learn, held, strict=True)
    ]

    def score(k: int, predicted_S: np.ndarray) -> float:
        labels = learned[k].problem.labels
        return inner_score(labels.y_S[held[k]], predicted_S, means[k], labels.n_classes)

    linear = [score(k, one.held_S) for k, one in enumerate(learned)]
    patience = settings.full.patience * updates_between_looks(settings.full)
    search = LengthSearch(0, patience, best=float(np.mean(linear)), margin=1e-6)
    parts = _parts(learned, starts, learn, strengths, model, settings, how, one_head)
    shares_of: dict[int, list[float]] = {0: [0.0] * len(learned)}

    def look(updates: int) -> bool:
        found = []
        for k, part in enumerate(parts):
            network_S = part.tuned.predict(part.problem, held[k])
            shares = (0.0, 1.0) if part.problem.labels.n_classes else (0.0, *SHARES)
            values = [score(k, _mixed(network_S, learned[k].held_S, share)) for share in shares]
            best = int(np.argmax(values))
            found.append((values[best], shares[best]))
        shares_of[updates] = [share for _, share in found]
        return search.ends(updates, float(np.mean([value for value, _ in found])))

    try:
        train_together(parts, settings.full, settings.full.steps, seed, look)
    except DivergedError as error:
        log.warning("%d recordings: %s; what was best before counts", len(learned), error)
    if not search.kept:
        return [Finetuned(None, 0, 0.0) for _ in learned]
    everyone = [one.train for one in learned]
    parts = _parts(learned, starts, everyone, strengths, model, settings, how, one_head)
    train_together(parts, settings.full, search.kept, seed)
    parts[0].tuned.adaptation.merged()
    return [
        Finetuned(part.tuned, search.kept, share) if share else Finetuned(None, 0, 0.0)
        for part, share in zip(parts, shares_of[search.kept], strict=True)
    ]


def _mixed(network_S: np.ndarray, linear_S: np.ndarray, share: float) -> np.ndarray:
    return linear_S if not share else blend(network_S, linear_S, share)


def _beside(session: Session, fold: int) -> np.ndarray:
    """Return what the linear readout says of the test samples of a fold."""
    lengths = [len(one.test) for one in session.split.folds]
    predicted_S: np.ndarray = np.split(session.beside.predictions.predicted_S, np.cumsum(lengths)[:-1])[fold]
    return predicted_S


def _parts(
    learned: Sequence[Learned],
    starts: Sequence[Start],
    samples: Sequence[np.ndarray],
    strengths: Sequence[float],
    model: EIT,
    settings: FinetuneSettings,
    how: str,
    one_head: bool,
) -> list[Part]:
    """Return one copy of the model, and the heads that finetuning starts from."""
    adaptation = adaptation_of(model, settings.full, how)
    if one_head:
        joined, rows = _joined(learned, starts, samples, settings, how)
        head, spread_K = joined.head(rows, strengths[0])
        heads = [(head, spread_K)] * len(learned)
    else:
        heads = [start.head(rows, c) for start, rows, c in zip(starts, samples, strengths, strict=True)]
    return [
        Part(one.problem, Tuned(adaptation, head, spread_K), rows)
        for one, (head, spread_K), rows in zip(learned, heads, samples, strict=True)
    ]


def _strengths(
    learned: Sequence[Learned], starts: Sequence[Start], settings: FinetuneSettings, one_head: bool
) -> list[float]:
    """Return the penalty of each session's first head; of one head the one that is best for all of them together."""
    if not one_head:
        return [
            start.strength(one.train, one.problem.inner(one.train, settings.seed))
            for one, start in zip(learned, starts, strict=True)
        ]
    joined, rows = _joined(learned, starts, [one.train for one in learned], settings, "full")
    ends = np.cumsum([0, *(len(one.train) for one in learned)])
    inner = []
    for folds in zip(*(one.problem.inner(one.train, settings.seed) for one in learned), strict=False):
        sides = [np.concatenate([getattr(fold, side) + first for fold, first in zip(folds, ends[:-1], strict=True)])
                 for side in ("train", "test")]  # fmt: skip
        inner.append(type(folds[0])(*sides))
    x_RF, y_S, places = joined.x_RF, joined.problem.labels.y_S, joined.row_S[rows]
    basis = make_basis(x_RF, settings.full.components, settings.seed, rows=places)
    n_classes = joined.problem.labels.n_classes
    return [choose_strength(basis(x_RF, rows=places), y_S[rows], inner, n_classes)[0]]


def _joined(
    learned: Sequence[Learned],
    starts: Sequence[Start],
    samples: Sequence[np.ndarray],
    settings: FinetuneSettings,
    how: str,
) -> tuple[Start, np.ndarray]:
    """Return the start of one head over the samples of all sessions, and the places of these among them."""
    first = learned[0].problem.labels
    for one, start in zip(learned, starts, strict=True):
        labels = one.problem.labels
        if (labels.classes, labels.value_names) != (first.classes, first.value_names):
            raise ConfigError(
                f"full.sessions is 'head' and {labels.target} has other classes or values than {first.target}: "
                "expected equal labels, or 'heads'"
            )
        if start.x_RF.shape[1] != starts[0].x_RF.shape[1]:
            raise ConfigError(
                f"full.sessions is 'head' and {labels.target} has {start.x_RF.shape[1]:,} features where "
                f"{first.target} has {starts[0].x_RF.shape[1]:,}: expected a model with a population stream, or 'heads'"
            )
    before_R = np.cumsum([0, *(len(start.x_RF) for start in starts)])[:-1]
    before_S = np.cumsum([0, *(len(one.problem.labels.y_S) for one in learned)])[:-1]
    x_RF = np.concatenate([start.x_RF for start in starts])
    row_S = np.concatenate([start.row_S + first for start, first in zip(starts, before_R, strict=True)])
    y_S = np.concatenate([one.problem.labels.y_S for one in learned])
    together = Start(learned[0].problem.relabelled(y_S), x_RF, row_S, settings.full, settings.seed, how)
    return together, np.concatenate([rows + first for rows, first in zip(samples, before_S, strict=True)])
