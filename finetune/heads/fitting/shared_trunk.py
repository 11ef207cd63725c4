"""Finetuning of one trunk on training samples of one recording or of several, with a head each or one head."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from finetune.finetune_settings import FinetuneSettings
from finetune.heads.fitting.network_training import (
    Part,
    Start,
    Tuned,
    adaptation_of,
    train_together,
    updates_between_looks,
)
from finetune.tasks.problems.decoding_task import Problem
from finetune.training_loop import DivergedError, LengthSearch
from foundation.common.errors import ConfigError
from foundation.evaluation.linear_readout import choose_strength, inner_score, make_basis, training_mean
from foundation.evaluation.readings import Features
from foundation.evaluation.splits import Fold
from foundation.models import EIT

log = logging.getLogger(__name__)
SHARES = (0.25, 0.5, 0.75, 1.0)  # of the network in a prediction, beside a linear readout
SEEDS_APART = 1000  # between networks of an ensemble; outer folds have the seeds between


@dataclass(frozen=True)
class Learned:
    """Training samples of one recording.

    Args:
        problem: samples and labels of the target.
        features: of the model that finetuning starts from; the head starts from them.
        train: indices of the training samples.
        held_S: predictions of the linear readout for the test samples of the first inner fold.
    """

    problem: Problem
    features: Sequence[Features]
    train: np.ndarray
    held_S: np.ndarray


@dataclass(frozen=True)
class Network:
    """A finetuned model with its head, for one recording.

    Args:
        tuned: the two; None where the network never helped.
        updates: that were made.
        share: of the network in predictions, beside a linear readout.
    """

    tuned: Tuned | None
    updates: int
    share: float


@dataclass(frozen=True)
class Finetuned:
    """The networks that were finetuned for one recording; the mean of their outputs predicts.

    Args:
        networks: one, or as many as ``full.ensemble`` says, each from a seed of its own.
        n_classes: of the labels; 0 for values.
    """

    networks: tuple[Network, ...]
    n_classes: int

    @property
    def weighted(self) -> list[tuple[Tuned, float]]:
        """The networks that help, each with its weight in predictions; the linear readout has the rest of 1."""
        helping = [(network.tuned, network.share) for network in self.networks if network.tuned is not None]
        return [(tuned, share / self._count) for tuned, share in helping]

    @property
    def share(self) -> float:
        """Share of all networks in predictions."""
        # Divided once: a sum of weights such as six times 1/6 is not exactly 1, and a bit of the readout would stay.
        return sum(network.share for network in self.networks) / self._count

    @property
    def _count(self) -> int:
        """Networks that the mean is over: of values all of them, of classes those that help."""
        helping = sum(network.tuned is not None for network in self.networks)
        return max(1, helping) if self.n_classes else len(self.networks)

    @property
    def updates(self) -> int | list[int]:
        """Updates that were made; of an ensemble those of each network."""
        updates = [network.updates for network in self.networks]
        return updates[0] if len(updates) == 1 else updates

    def predict(self, problem: Problem, samples: np.ndarray, linear_S: np.ndarray) -> np.ndarray:
        """Return ``(S,)`` classes or ``(S, K)`` values.

        Args:
            problem: of the recording.
            samples: ``(S,)`` indices.
            linear_S: predictions of the linear readout for them.
        """
        if not self.weighted:
            return linear_S
        out_SK = np.sum([weight * tuned.outputs(problem, samples) for tuned, weight in self.weighted], axis=0)
        if self.n_classes:
            return np.asarray(out_SK.argmax(axis=1))
        return np.asarray(out_SK if self.share == 1 else out_SK + (1 - self.share) * linear_S)


def finetune_on(
    learned: Sequence[Learned],
    model: EIT,
    settings: FinetuneSettings,
    seed: int,
    how: str = "full",
    one_head: bool = False,
) -> list[Finetuned]:
    """Finetune copies of a model on training samples, for as long as their first inner folds say.

    Args:
        learned: training samples of one recording, or of each of several that share a trunk.
        model: where finetuning starts; stays as it is.
        settings: of the finetuning.
        seed: of draws and dropout.
        how: which weights learn, see `finetune.heads.fitting.adapting.adapt`.
        one_head: whether all recordings are read by one head.

    Returns:
        For each recording its networks; the trunk of a network is one object for all recordings.

    Raises:
        ConfigError: if one head is asked for and the recordings differ in features or labels.
    """
    starts = [
        Start(one.problem, *one.problem.head_rows(one.features[-1].x_TF), settings.full, settings.seed)
        for one in learned
    ]
    training = _Training(
        learned, starts, _strengths(learned, starts, settings, one_head), model, settings, how, one_head
    )
    seeds = range(seed, seed + SEEDS_APART * settings.full.ensemble, SEEDS_APART)
    networks = [training.networks(each) for each in seeds]
    return [
        Finetuned(tuple(of_one), one.problem.labels.n_classes)
        for one, of_one in zip(learned, zip(*networks, strict=True), strict=True)
    ]


@dataclass(frozen=True)
class _Training:
    """What the networks of an ensemble have in common; arguments are those of `finetune_on`.

    Args:
        starts: of each recording's head.
        strengths: penalty of each first head; of one head a single one.
    """

    learned: Sequence[Learned]
    starts: Sequence[Start]
    strengths: Sequence[float]
    model: EIT
    settings: FinetuneSettings
    how: str
    one_head: bool

    def networks(self, seed: int) -> list[Network]:
        """Train one trunk as long as the search says, and return it with the head of each recording."""
        updates, shares = self.search(seed)
        if not updates:
            return [Network(None, 0, 0.0) for _ in self.learned]
        parts = self.parts([one.train for one in self.learned])
        train_together(parts, self.settings.full, updates, seed)
        parts[0].tuned.adaptation.merged()
        return [
            Network(part.tuned, updates, share) if share else Network(None, 0, 0.0)
            for part, share in zip(parts, shares, strict=True)
        ]

    def search(self, seed: int) -> tuple[int, list[float]]:
        """Train on the training samples of the first inner folds, and look at their test samples on the way.

        Returns:
            The number of updates with the best mean score over recordings, and the network's share of predictions after
            that many for each; 0 updates where linear readouts alone are best.
        """
        learned, full = self.learned, self.settings.full
        inner = [_first_inner(one, self.settings) for one in learned]
        means = [
            training_mean(one.problem.labels.y_S[fold.train], len(fold.test), one.problem.labels.n_classes)
            for one, fold in zip(learned, inner, strict=True)
        ]

        def score(k: int, predicted_S: np.ndarray) -> float:
            labels = learned[k].problem.labels
            return inner_score(labels.y_S[inner[k].test], predicted_S, means[k], labels.n_classes)

        linear = [score(k, one.held_S) for k, one in enumerate(learned)]
        patience = full.patience * updates_between_looks(full)
        search = LengthSearch(0, patience, best=float(np.mean(linear)), margin=1e-6)
        parts = self.parts([fold.train for fold in inner])
        shares_of = {0: [0.0] * len(learned)}

        def look(updates: int) -> bool:
            best = []
            for k, (one, part) in enumerate(zip(learned, parts, strict=True)):
                network_S = part.tuned.predict(part.problem, inner[k].test)
                shares = (1.0,) if part.problem.labels.n_classes else SHARES
                mixed = [(score(k, blend(network_S, one.held_S, share)), share) for share in shares]
                best.append(max([(linear[k], 0.0), *mixed], key=lambda pair: pair[0]))
            shares_of[updates] = [share for _, share in best]
            return search.ends(updates, float(np.mean([value for value, _ in best])))

        try:
            train_together(parts, full, full.steps, seed, look)
        except DivergedError as error:
            targets = ", ".join(one.problem.labels.target for one in learned)
            log.warning("%s: %s; what was best before counts", targets, error)
        return search.kept, shares_of[search.kept]

    def parts(self, samples: Sequence[np.ndarray]) -> list[Part]:
        """Return one copy of the model, and the heads that finetuning starts from, fitted to some samples of each."""
        adaptation = adaptation_of(self.model, self.settings.full, self.how)
        if self.one_head:
            joined, rows = _joined(self.starts, samples, self.settings)
            heads = [joined.head(rows, self.strengths[0])] * len(self.starts)
        else:
            given = zip(self.starts, samples, self.strengths, strict=True)
            heads = [start.head(rows, strength) for start, rows, strength in given]
        return [
            Part(start.problem, Tuned(adaptation, head, spread_K), rows)
            for start, (head, spread_K), rows in zip(self.starts, heads, samples, strict=True)
        ]


def blend(network_S: np.ndarray, linear_S: np.ndarray, share: float) -> np.ndarray:
    """Return predictions of a network and of a linear readout together."""
    return network_S if share == 1 else share * network_S + (1 - share) * linear_S


def _first_inner(one: Learned, settings: FinetuneSettings) -> Fold:
    """Return the first inner fold, with indices of the problem's samples."""
    fold = one.problem.inner(one.train, settings.seed)[0]
    return Fold(one.train[fold.train], one.train[fold.test])


def _strengths(
    learned: Sequence[Learned], starts: Sequence[Start], settings: FinetuneSettings, one_head: bool
) -> list[float]:
    """Return the penalty of each session's first head; of one head the one that is best for all of them together."""
    if not one_head:
        return [
            start.strength(one.train, one.problem.inner(one.train, settings.seed))
            for one, start in zip(learned, starts, strict=True)
        ]
    joined, rows = _joined(starts, [one.train for one in learned], settings)
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
    starts: Sequence[Start], samples: Sequence[np.ndarray], settings: FinetuneSettings
) -> tuple[Start, np.ndarray]:
    """Return the start of one head over the samples of all sessions, and the places of these among them."""
    first = starts[0].problem.labels
    for start in starts:
        labels = start.problem.labels
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
    before_S = np.cumsum([0, *(len(start.problem.labels.y_S) for start in starts)])[:-1]
    x_RF = np.concatenate([start.x_RF for start in starts])
    row_S = np.concatenate([start.row_S + first for start, first in zip(starts, before_R, strict=True)])
    y_S = np.concatenate([start.problem.labels.y_S for start in starts])
    together = Start(starts[0].problem.relabelled(y_S), x_RF, row_S, settings.full, settings.seed)
    return together, np.concatenate([rows + first for rows, first in zip(samples, before_S, strict=True)])
