"""Several recordings with the same label, which finetuning with a shared trunk takes together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from finetune.finetune_settings import FinetuneSettings
from finetune.heads.fitting.full_finetuning import Session, full_together
from finetune.heads.fitting.head_probe import Fitted, best_readout, predict_test, probe_with_rates
from finetune.heads.fitting.new_rows import with_new_rows
from finetune.heads.fitting.shared_trunk import Finetuned, Learned, finetune_on
from finetune.tasks.problems.decoding_task import Problem
from finetune.tasks.problems.window_task import WindowProblem
from finetune.tasks.task import recording_name
from foundation.evaluation.block_readout import choose_weight
from foundation.evaluation.splits import Fold
from foundation.models import EIT
from foundation.models.parts.population_stream import population_places


def family(problem: Problem) -> tuple[str, str, str] | None:
    """Return what problems of several recordings have in common if a trunk can learn from all of them.

    Returns:
        Task, label and kind; None where a problem is of units, which has all recordings already.
    """
    if not isinstance(problem, WindowProblem):
        return None
    labels, name = problem.labels, recording_name(problem.recording)
    label = labels.target.partition(name)[0] if name in labels.target else labels.target
    return labels.task, label, labels.kind


@dataclass
class SharedSessions:
    """The problems of one label, and what was finetuned on all of them.

    Args:
        problems: one for each recording.
        checkpoint: the frozen model.
        settings: of the evaluation.
    """

    problems: Sequence[WindowProblem]
    checkpoint: EIT
    settings: FinetuneSettings
    _model: EIT | None = None
    _sessions: list[Session] = field(default_factory=list)
    _fitted: dict[str, list[Fitted]] = field(default_factory=dict)
    _final: dict[str, list[Finetuned]] = field(default_factory=dict)

    @property
    def note(self) -> str:
        """What a result says of it."""
        heads = "one head" if self.settings.full.sessions == "head" else "a head each"
        return f"finetuned on {len(self.problems)} recordings at once: one trunk, {heads}"

    @property
    def recordings(self) -> list[tuple[str, str]]:
        """Return id and digest of each recording, sorted."""
        return sorted(pair for problem in self.problems for pair in problem.recordings)

    def fitted(self, problem: Problem, mode: str) -> Fitted:
        """Return the predictions for one of the problems in cross-validation."""
        if mode not in self._fitted:
            self._fitted[mode] = full_together(self.sessions, self.model, self.settings, mode, self._one_head)
        return self._fitted[mode][self._place(problem)]

    def final(self, problem: Problem, mode: str) -> Finetuned:
        """Return what was finetuned on all labelled samples of all recordings, as one of the problems reads it."""
        if mode not in self._final:
            learned = [self._everything(session) for session in self.sessions]
            seed = self.settings.seed
            self._final[mode] = finetune_on(learned, self.model, self.settings, seed, mode, self._one_head)
        return self._final[mode][self._place(problem)]

    @property
    def model(self) -> EIT:
        """The checkpoint; where it has a population stream, with rows for all recordings that are new to it."""
        if self._model is None:
            self._model = self.checkpoint
            for problem in self.problems if self.checkpoint.config.population_layers else ():
                if problem.recording.id not in population_places(self._model.config):
                    tokens = int(problem.windows.tokens_W.max())
                    self._model = with_new_rows(
                        self._model,
                        problem.recording,
                        token_seconds=problem.token_seconds,
                        tokens=tokens,
                        seed=self.settings.seed,
                    )
        return self._model

    @property
    def sessions(self) -> list[Session]:
        """The recordings with their linear readouts, which are made once."""
        if not self._sessions:
            for problem in self.problems:
                split = problem.split(self.settings.folds, self.settings.seed)
                features = problem.features(self.model)
                rates = problem.rate_features()
                probes = probe_with_rates(problem, rates, features, split, self.settings, shuffled=False)
                self._sessions.append(Session(problem, features, probes.both, split))
        return self._sessions

    @property
    def _one_head(self) -> bool:
        return self.settings.full.sessions == "head"

    def _place(self, problem: Problem) -> int:
        return next(k for k, one in enumerate(self.problems) if one.labels.target == problem.labels.target)

    def _everything(self, session: Session) -> Learned:
        """Return all labelled samples of a recording, with the linear readout of rates and model inside them."""
        problem, seed = session.problem, self.settings.seed
        everyone = np.arange(len(problem.labels.y_S))
        fold, inner = Fold(everyone, everyone[:0]), problem.inner(everyone, seed)
        rate = best_readout(problem, problem.rate_features(), fold, inner)
        ours = best_readout(problem, session.features, fold, inner)
        labels = problem.labels
        both = choose_weight(rate.triple, ours.triple, labels.y_S, everyone, inner, labels.n_classes)
        first = Fold(everyone[inner[0].train], everyone[inner[0].test])
        held_S = predict_test(problem, both.readout, first, both.choice)
        return Learned(problem, session.features, everyone, held_S)


def shared_sessions(
    problems: Sequence[Problem], checkpoint: EIT, settings: FinetuneSettings
) -> dict[str, SharedSessions]:
    """Return the groups of problems that are finetuned together, by the target of each problem.

    Args:
        problems: of one task.
        checkpoint: the frozen model.
        settings: of the evaluation.

    Returns:
        Target -> its group; targets that are finetuned apart, or whose label no other recording has, are missing.
    """
    if settings.full.sessions == "apart":
        return {}
    groups: dict[tuple[str, str, str], list[WindowProblem]] = {}
    for problem in problems:
        key = family(problem)
        if key is not None and isinstance(problem, WindowProblem):
            groups.setdefault(key, []).append(problem)
    made = [SharedSessions(group, checkpoint, settings) for group in groups.values() if len(group) > 1]
    return {problem.labels.target: group for group in made for problem in group.problems}
