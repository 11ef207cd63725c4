"""One target: probes, finetuning, baselines and controls, each as a result file, and its head."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from finetune.current_results import settings_digest
from finetune.finetune_settings import FINETUNED, FinetuneSettings
from finetune.heads.fitting.any_population import Averages, kept_average, read_averages
from finetune.heads.fitting.fit_head import Evaluated, Scored
from finetune.heads.fitting.full_finetuning import Starts, full
from finetune.heads.fitting.head_probe import Fitted, Probes
from finetune.heads.fitting.label_curve import FewLabels, label_curve
from finetune.heads.fitting.mlp_probe import mlp_probe
from finetune.heads.fitting.new_rows import with_new_rows
from finetune.heads.head import ANY_POPULATION
from finetune.heads.references.reference_rows import References, Row, from_scratch, probe_and_references
from finetune.heads.references.trial_profile import beyond_profile
from finetune.keep_head import KeptHead, keep_any_population
from finetune.report.neurons import FILE, write_neurons
from finetune.report.sample_places import write_samples
from finetune.report.score_table import TITLES_OF
from finetune.result import (
    CurvePoint,
    Gain,
    Result,
    Score,
    from_json,
    read_json,
    read_predictions,
    to_json,
    write_json,
    write_predictions,
)
from finetune.shared_sessions import SharedSessions
from finetune.tasks.problems.decoding_task import Problem
from finetune.tasks.problems.label_metrics import label_metrics
from finetune.tasks.problems.unit_task import UnitProblem
from finetune.tasks.problems.window_task import WindowProblem
from foundation.common.digests import json_digest
from foundation.evaluation import CONTRACT_VERSION
from foundation.evaluation.confidence_intervals import control_interval, control_level, gain, interval
from foundation.evaluation.coverage import CoveragePoint, coverage_curve
from foundation.evaluation.metrics import PRIMARY, Predictions, score, sums
from foundation.evaluation.readings import Features
from foundation.evaluation.splits import Split
from foundation.models import EIT
from foundation.models.parts.population_stream import population_places
from foundation.models.saved.preprocessing import Preprocessing

log = logging.getLogger(__name__)
STATISTICS = ("rate", "statistics", "both", "statistics_both")  # rows with a curve of coverage
UNTRAINED = "pretraining did not train the unit stream, which embeds units: the probe reads random weights"
SPIKE_STATISTICS = 1  # version of the row of spike statistics, which results of units have beside contract 4
NEW_ROWS = "the population is new to the model: its units got rows from all of the recording's activity, without labels"


@dataclass
class _BesideFull:
    """What stands beside a finetuned model."""

    scores: dict[str, Score] = field(default_factory=dict)
    over_scratch: Gain | None = None
    curve: list[CurvePoint] = field(default_factory=list)


@dataclass
class Evaluator:
    """Evaluates targets one after another, and writes their results and heads.

    Args:
        settings: what to do.
        model: the pretrained model.
        checkpoint: its digest.
        named: its name and digest.
        grown: recording and seconds of a token -> the model with rows for a population that is new to it.
        shared: target -> the recordings that are finetuned with it.
    """

    settings: FinetuneSettings
    model: EIT
    checkpoint: str
    named: dict[str, str]
    grown: dict[tuple[str, float], EIT] = field(default_factory=dict)
    shared: dict[str, SharedSessions] = field(default_factory=dict)

    def target(self, problem: Problem) -> Iterator[Result]:
        """Yield the results of one target, those that are there as they are."""
        labels = problem.labels
        folder = Path(self.settings.output) / labels.task / labels.target
        keys = {mode: self._key(problem, mode) for mode in self.settings.modes_of_run}
        known = {mode: read_json(folder / f"{mode}.json", keys[mode]) for mode in self.settings.modes_of_run}
        heads = KeptHead(problem, self.settings, keys)
        if all(known.values()) and heads.is_kept:
            log.info("%s %s: results of an earlier run are used", labels.task, labels.target)
            yield from (from_json(value) for value in known.values() if value is not None)
            return
        split = problem.split(self.settings.folds, self.settings.seed)
        problem.check(split)
        for fold in split.folds:  # too little for the inner folds is known before anything is embedded
            problem.inner(fold.train, self.settings.seed)
        begun = time.perf_counter()
        model = self._knowing(problem)
        features = problem.features(model)
        x_TF = features[-1].x_TF
        embedding = time.perf_counter() - begun
        begun = time.perf_counter()
        probes, references = probe_and_references(problem, model, features, split, self.settings)
        averages = self._averages(problem, references, split)
        probing = time.perf_counter() - begun
        scores = self._references(problem, references, folder)
        if isinstance(problem, UnitProblem):
            write_neurons(folder / FILE, problem, x_TF, self.checkpoint)
        write_samples(folder, problem, split)
        made = {"rate": references.rows["rate"].predictions, "both": references.rows["both"].predictions}
        made["probe"] = probes.model.predictions
        scratch = cache(lambda: self._scratch(problem, model, probes, split))  # once for all modes
        for mode in self.settings.modes_of_run:
            value = known[mode]
            if value is not None and (mode == "probe" or read_predictions(folder / f"{mode}.npz", keys[mode])):
                if mode != "probe":
                    made[mode] = _known(folder / f"{mode}.npz", keys[mode])
                yield from_json(value)
                continue
            begun, fitted, more = time.perf_counter(), probes.model, _BesideFull()
            if mode == "mlp":
                fitted = mlp_probe(problem, features, split, self.settings)
            elif mode == "scratch":
                fitted = scratch()[1]
            elif mode in FINETUNED:
                if (group := self.shared.get(labels.target)) is not None:
                    fitted = group.fitted(problem, mode)
                else:
                    fitted = full(problem, lambda _: (model, features), probes.both, split, self.settings, mode)
                given = (problem, model, features, fitted, references, split, folder, scratch)
                more = self._beside_full(*given, keys.get("scratch", keys[mode]), mode)
            seconds = (probing if mode == "probe" else time.perf_counter() - begun) + embedding
            all_scores, n_features = scores | more.scores, x_TF.shape[1]
            result = self._result(problem, mode, fitted, references, all_scores, split, n_features, seconds, keys[mode])
            if isinstance(problem, UnitProblem):
                result = self._beside_statistics(result, fitted.predictions, references)
            notes = [*result.notes, *([] if model is self.model else [NEW_ROWS])]
            if mode in FINETUNED and labels.target in self.shared:
                notes.append(self.shared[labels.target].note)
            if isinstance(problem, UnitProblem) and not Preprocessing.of(model.config).units_trained:
                notes.append(UNTRAINED)
            result = replace(result, gain_scratch=more.over_scratch, curve=more.curve, notes=notes)
            made[mode] = fitted.predictions
            write_predictions(folder / f"{mode}.npz", fitted.predictions, keys[mode])
            write_json(folder / f"{mode}.json", to_json(result))
            yield result
        if not heads.is_kept:
            scored = {name: Scored(fitted, self._score(fitted, "", references)) for name, fitted in made.items()}
            about = (split.description, self._interval(problem))
            if averages is not None and isinstance(problem, WindowProblem):
                read = {name: Scored(p, self._score(p, "", references)) for name, p in averages.predictions.items()}
                key = json_digest([heads.key, ANY_POPULATION])
                of_any = Evaluated(self.model, averages.ours, averages.rates, read, *about, self.named, key)
                keep_any_population(problem, of_any, self.settings)
            group = self.shared.get(labels.target)
            network = None if group is None else partial(group.final, problem)
            evaluated = Evaluated(model, features, references.rates, scored, *about, self.named, heads.key, network)
            heads.keep(evaluated, None if model is self.model else model)

    def _averages(self, problem: Problem, references: References, split: Split) -> Averages | None:
        """Read a state from averages over units too, and add the better readout to the references."""
        if not (problem.is_state and isinstance(problem, WindowProblem)) or problem.causal:
            return None
        averages = read_averages(problem, self.model, split, self.settings)
        scored = {name: Scored(p, self._score(p, "", references)) for name, p in averages.predictions.items()}
        kept = kept_average(scored, problem.labels.kind, self.settings.keep)
        detail = f"averages over units, {TITLES_OF[kept]}; its head reads any population"
        references.rows[ANY_POPULATION] = Row(averages.predictions[kept], detail)
        return averages

    def _knowing(self, problem: Problem) -> EIT:
        """The model; where it has a population stream, with rows for a new population."""
        config = self.model.config
        if not isinstance(problem, WindowProblem) or not config.population_layers:
            return self.model
        recording, token = problem.recording, problem.token_seconds
        if recording.id in population_places(config):
            return self.model
        if (recording.id, token) not in self.grown:
            log.info("%s is new to the model: it gets rows from its activity, without labels", recording.record.path)
            tokens = int(problem.windows.tokens_W.max())
            self.grown[recording.id, token] = with_new_rows(
                self.model, recording, token_seconds=token, tokens=tokens, seed=self.settings.seed
            )
        return self.grown[recording.id, token]

    def _interval(self, problem: Problem) -> str:
        parts = len(np.unique(problem.cluster_S))
        enough = "" if parts >= 2 else " (none: there is only one)"
        return f"95 % bootstrap over {parts} {problem.cluster_name}, {self.settings.bootstrap} resamples{enough}"

    def _scratch(self, problem: Problem, model: EIT, probes: Probes, split: Split) -> tuple[Starts, Fitted]:
        """Train a model of the same architecture from random weights, with the same budget."""
        starts = from_scratch(problem, model, self.settings.seed)
        return starts, full(problem, starts, probes.rate, split, self.settings)

    def _beside_full(
        self,
        problem: Problem,
        model: EIT,
        features: Sequence[Features],
        fitted: Fitted,
        references: References,
        split: Split,
        folder: Path,
        scratch: Callable[[], tuple[Starts, Fitted]],
        key: str,
        how: str,
    ) -> _BesideFull:
        """The same training from random weights, and with few labels."""
        settings, found = self.settings, _BesideFull()
        starts: Starts | None = None
        if settings.full.from_scratch:
            starts, untrained = scratch()
            detail = f"seed {settings.seed}; " + _kept(untrained)
            found.scores["scratch"] = self._score(untrained.predictions, detail, references)
            found.over_scratch = self._gain(fitted.predictions, untrained.predictions)
            write_predictions(folder / "scratch.npz", untrained.predictions, key)
        if settings.full.label_curve and isinstance(problem, WindowProblem) and problem.cluster_name == "trials":
            for few in label_curve(problem, lambda _: (model, features), starts, split, settings, how):
                found.curve.append(self._point(few, references))
        return found

    def _beside_statistics(self, result: Result, ours: Predictions, references: References) -> Result:
        """Add what a target of units has beside the others: the gain over spike statistics, and curves of coverage."""
        rows = {name: references.rows[name].predictions for name in STATISTICS if name in references.rows}
        curves = {name: self._coverage(p) for name, p in {**rows, result.mode: ours}.items()}
        over = self._gain(ours, rows["statistics"]) if "statistics" in rows else None
        return replace(result, gain_statistics=over, coverage={name: curve for name, curve in curves.items() if curve})

    def _coverage(self, predictions: Predictions) -> list[CoveragePoint]:
        return coverage_curve(predictions, self.settings.bootstrap, self.settings.seed)

    def _point(self, few: FewLabels, references: References) -> CurvePoint:
        scores = {name: self._score(fitted, "", references) for name, fitted in few.rows.items()}
        scratch = few.rows.get("scratch")
        return CurvePoint(
            few.trials,
            scores,
            self._gain(few.rows["full"], few.rows["rate"]),
            None if scratch is None else self._gain(few.rows["full"], scratch),
        )

    def _gain(self, ours: Predictions, theirs: Predictions) -> Gain:
        value, bounds = gain(ours, theirs, self.settings.bootstrap, self.settings.seed)
        return Gain(value, *(bounds or (None, None)))

    def _references(self, problem: Problem, references: References, folder: Path) -> dict[str, Score]:
        """Score all references, and write their predictions."""
        key = self._key(problem, "references")
        scores = {}
        for name, row in references.rows.items():
            scores[name] = self._score(row.predictions, row.detail, references)
            write_predictions(folder / f"{name}.npz", row.predictions, key)
        low, high = control_interval(references.control)
        mean = {PRIMARY[problem.labels.kind]: float(np.mean(references.control))}
        scores["shuffled"] = Score(mean, low, high, _control(references.control, references.dealt))
        return scores

    def _score(self, predictions: Predictions, detail: str, references: References) -> Score:
        metrics = {k: float(value) for k, value in score(sums(predictions).sum(axis=0), predictions.kind).items()}
        if (oracle := references.rows.get("oracle")) is not None:
            metrics["beyond_profile"] = beyond_profile(predictions, oracle.predictions)
        if references.labels is not None:
            metrics |= label_metrics(references.labels, predictions)
        low, high = interval(predictions, self.settings.bootstrap, self.settings.seed) or (None, None)
        return Score(metrics, low, high, detail)

    def _result(
        self,
        problem: Problem,
        mode: str,
        fitted: Fitted,
        references: References,
        scores: dict[str, Score],
        split: Split,
        n_features: int,
        seconds: float,
        key: str,
    ) -> Result:
        labels, settings = problem.labels, self.settings
        parts = len(np.unique(problem.cluster_S))
        rate, both = (references.rows[name].predictions for name in ("rate", "both"))
        better, bounds = gain(fitted.predictions, rate, settings.bootstrap, settings.seed)
        together, their_bounds = gain(both, rate, settings.bootstrap, settings.seed)
        counts = np.bincount(labels.y_S, minlength=labels.n_classes) if labels.n_classes else np.empty(0)
        return Result(
            task=labels.task,
            target=labels.target,
            title=labels.title,
            mode=mode,
            kind=labels.kind,
            score=self._score(fitted.predictions, "", references),
            references=scores,
            gain=better,
            gain_low=bounds[0] if bounds else None,
            gain_high=bounds[1] if bounds else None,
            gain_both=together,
            gain_both_low=their_bounds[0] if their_bounds else None,
            gain_both_high=their_bounds[1] if their_bounds else None,
            samples=len(labels.y_S),
            subjects=problem.subjects,
            parts=parts,
            part_name=problem.cluster_name,
            classes={name: int(n) for name, n in zip(labels.classes, counts, strict=True)},
            value_names=list(labels.value_names),
            split=split.description,
            interval=self._interval(problem),
            notes=labels.notes,
            choices=fitted.choices,
            seconds=round(seconds, 2),
            contract=CONTRACT_VERSION,
            checkpoint=self.checkpoint,
            settings=settings_digest(settings, mode),
            recordings=dict(problem.recordings),
            readout=f"the model's readout sees all {n_features:,} features{problem.view}",
            key=key,
        )

    def _key(self, problem: Problem, mode: str) -> str:
        labels = problem.labels
        about: dict[str, Any] = {
            "contract": CONTRACT_VERSION,
            "checkpoint": self.checkpoint,
            "recordings": problem.recordings,
            "target": [labels.task, labels.target, mode],
            "settings": self.settings.identity(mode),
        }
        if mode in FINETUNED and labels.target in self.shared:
            about["sessions"] = self.shared[labels.target].recordings
        if isinstance(problem, UnitProblem):
            about["spike_statistics"] = SPIKE_STATISTICS
        if labels.defined_by:
            about["task"] = labels.defined_by
        return json_digest(about)


def _known(path: Path, key: str) -> Predictions:
    found = read_predictions(path, key)
    assert found is not None  # it was read a moment ago
    return found


def _kept(fitted: Fitted) -> str:
    """What inner validation kept of a network, in words.

    Example:
        >>> _kept(Fitted(None, {"updates": [10, 0], "share": [0.5, 0.0]}))
        'updates by fold 10, 0; share of the network 0.5, 0'
    """
    updates, shares = fitted.choices["updates"], fitted.choices["share"]
    return f"updates by fold {', '.join(map(str, updates))}; share of the network {', '.join(f'{s:g}' for s in shares)}"


def _control(values: list[float], how: str) -> str:
    level = control_level(len(values))
    fewer = "" if level >= 0.95 else f" (so few that their interval is one of {level:.0%})"
    return f"labels shuffled {len(values)} times {how}{fewer}"
