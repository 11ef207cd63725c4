"""The runs of the table of decoded behaviour: which there are, which are missing, and their results."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from finetune.finetune_settings import FinetuneSettings
from finetune.reproduce.common.run_results import RunResult, find_recording, key_of, read_all, source_digest
from finetune.reproduce.common.stored_sums import BITS
from finetune.reproduce.common.weights_folder import weights_folder
from finetune.reproduce.decoding.decoding_rows import Made, Target, planned_work
from finetune.reproduce.decoding.decoding_settings import FIXED, DecodingTable
from finetune.reproduce.decoding.pretrained_models import PretrainedModels
from finetune.tasks import Sources
from finetune.tasks.labels import behavior
from finetune.tasks.problems.window_task import WindowProblem
from finetune.tasks.task import recording_name
from foundation.common.errors import ConfigError, FoundationError
from foundation.common.files.jsonl_results import put_result
from foundation.common.output.progress import Progress
from foundation.data.reading.reader import ReaderCache
from foundation.evaluation import CONTRACT_VERSION
from foundation.store import Catalog, StoredRecording

log = logging.getLogger(__name__)
VERSION = 1
HIDDEN = "hidden_units"


@dataclass(frozen=True)
class Run:
    """One piece of work for one target and one seed; its rows are lines of the table.

    Args:
        target: what is decoded.
        work: a name of `WORK`.
        seed: of everything drawn.
        config: what decides the figures of its rows.
        digests: of the data.
    """

    target: Target
    work: str
    seed: int
    config: dict[str, Any]
    digests: dict[str, str]

    @property
    def main(self) -> str:
        """The row that is written last: where it is there, all are."""
        return f"{self.target.name}/{'rate' if self.work == 'rates' else self.work}"


def run_decoding(settings: DecodingTable, catalog: Catalog, table: Path) -> None:
    """Make the runs that are not there yet, seed after seed, and add their rows to the table.

    Raises:
        ConfigError: if the store lacks the recording of an animal, or one has none of the labels.
        FoundationError: if a result of another configuration is in the way, or a model does not train.
    """
    torch.set_num_threads(settings.threads)
    chosen = catalog.select([find_named(catalog, subject).id for subject in settings.subjects])
    models = PretrainedModels(settings.pretrain, chosen, catalog, weights_folder(settings.models), [])
    targets = find_targets(settings, chosen, models.settings(0).model.config().population_patch)
    models = replace(models, held_out=held_out_blocks(targets, settings.folds))
    runs = list(planned(settings, targets, models))
    known = read_all(table)
    left = [run for run in runs if not _is_there(run, known, table)]
    with Progress(len(runs), "decoding", "run", start=len(runs) - len(left)) as shown:
        for run in left:
            value = _make(run, models, settings, table)
            shown.step(note=f"{run.main}, seed {run.seed}: {value:.3f}")


def find_named(catalog: Catalog, name: str) -> StoredRecording:
    """Return the recording of an animal and session, joined by a hyphen, or the only one of an animal.

    Raises:
        ConfigError: if no recording matches, or an animal has several.
    """
    found = [recording for recording in catalog if recording_name(recording) == name]
    return found[0] if len(found) == 1 else find_recording(catalog, name)


def find_targets(settings: DecodingTable, catalog: Catalog, bins_per_token: int) -> list[Target]:
    """Return the targets, label after label.

    Raises:
        ConfigError: if an animal has none of the labels.
        FoundationError: if labels cannot be read.
    """
    bins = bins_per_token, bins_per_token
    sources = Sources(catalog, ReaderCache(catalog), settings.windows, *bins, settings.folds, 0)
    found = behavior.find(sources)
    if found.failed:
        raise FoundationError(f"{found.failed[0].target}: {found.failed[0].reason}")
    for line in found.skipped:
        log.warning("%s", line)
    subjects = {find_named(catalog, subject).id: subject for subject in settings.subjects}
    targets = []
    for label in settings.labels:
        known: set[str] = set()
        for problem in found.problems:
            assert isinstance(problem, WindowProblem)
            subject = subjects[problem.recording.id]
            # Units are hidden in the bins in which a series is decoded, the first that the recording has.
            fits = problem.token_S is not None if label == HIDDEN else problem.labels.target.startswith(f"{label}-")
            if fits and subject not in known:
                known.add(subject)
                targets.append(Target(label, subject, problem, problem.split(settings.folds, 0)))
    targets = [replace(one, others=_same_label(one, targets)) for one in targets]
    for subject in settings.subjects:
        if not any(target.subject == subject for target in targets):
            why = "; ".join(found.skipped) or "its recording has none"
            raise ConfigError(f"decoding.labels is {settings.labels}: {subject} has none of them ({why})")
    return targets


def _same_label(one: Target, targets: list[Target]) -> tuple[WindowProblem, ...]:
    """Return the problems of other animals with the label of a target."""
    return tuple(other.problem for other in targets if other.label == one.label and other.subject != one.subject)


def held_out_blocks(targets: list[Target], folds: int) -> list[dict[str, list[list[float]]]]:
    """Return for each test block the time of each recording that pretraining without the block leaves out.

    Blocks of different targets of a recording can differ by a few trials; what any of them tests is left out.
    """
    blocks: list[dict[str, list[list[float]]]] = []
    for k in range(folds):
        spans: dict[str, list[list[float]]] = {}
        for target in targets:
            problem = target.problem
            tested_W = np.unique(problem.window_S[target.split.folds[k].test])
            first, last = float(problem.windows.start_W[tested_W].min()), float(problem.end_W[tested_W].max())
            ((known_first, known_last),) = spans.get(problem.recording.id, [[first, last]])
            spans[problem.recording.id] = [[min(first, known_first), max(last, known_last)]]
        blocks.append(spans)
    return blocks


def planned(settings: DecodingTable, targets: list[Target], models: PretrainedModels) -> Iterator[Run]:
    """The runs of a table: all of the first seed, then all of the next."""
    blocks = {"all": (None,), "apart": tuple(range(settings.folds))}
    digests = {subject: source_digest(find_named(models.catalog, subject)) for subject in settings.subjects}
    windows, gru = asdict(settings.windows), {k: v for k, v in asdict(settings.gru).items() if k != "run"}
    full = {k: v for k, v in asdict(settings.full).items() if k not in ("from_scratch", "label_curve")}
    for place, seed in enumerate(settings.seeds):
        for name, work in planned_work(settings).items():
            if name in FIXED and place:
                continue
            own: dict[str, Any] = {} if name in FIXED else {"seed": seed}
            if work.uses in blocks:
                own["pretraining"] = replace(models, changes=work.changes).about(seed, *blocks[work.uses])
            if name.startswith("frozen"):
                own["control_repeats"] = settings.control_repeats
            if name.startswith("gru"):
                own["gru"] = gru
            if name in ("finetuned", "scratch") or name.startswith(("few_", "transfer_")):
                own["full"] = full
            for target in targets:
                if target.label not in work.labels:
                    continue
                config = {
                    "version": VERSION,
                    "contract": CONTRACT_VERSION,
                    "target": target.label,
                    "subject": target.subject,
                    "folds": settings.folds,
                    "windows": windows,
                    **own,
                }
                if work.uses == "others":
                    others = replace(models, changes=work.changes).without(target.problem.recording.id)
                    config["pretraining"] = others.about(seed, None)
                used = digests if work.uses else {target.subject: digests[target.subject]}
                yield Run(target, name, 0 if name in FIXED else seed, config, used)


def _is_there(run: Run, known: dict[str, list[RunResult]], table: Path) -> bool:
    """Return True if all rows of a run are in the table.

    Raises:
        FoundationError: if its row there is of another configuration or other data.
    """
    found = next((result for result in known.get(run.main, []) if result.seed == run.seed), None)
    if found is None:
        return False
    if found.key != _key(run, run.main):
        raise FoundationError(
            f"{run.main}, seed {run.seed}, of {table} is of another configuration or other data: move the file away, "
            "or give another output"
        )
    return True


def _key(run: Run, name: str) -> str:
    return key_of(run.config | {"row": name.rpartition("/")[2]}, run.digests)


def _make(run: Run, models: PretrainedModels, settings: DecodingTable, table: Path) -> float:
    """Make the rows of a run and add them to the table, the main one last; return its figure."""
    began = time.perf_counter()
    evaluation = FinetuneSettings(
        checkpoint="none",
        store="none",
        output="none",
        folds=settings.folds,
        seed=run.seed,
        control_repeats=settings.control_repeats,
        windows=settings.windows,
        gru=settings.gru,
        full=settings.full,
    )
    rows = planned_work(settings)[run.work].make(run.target, models, evaluation)
    seconds = round(time.perf_counter() - began, 1)
    results = [_result(run, row, made, seconds) for row, made in rows.items()]
    for result in reversed(results):
        put_result(table, asdict(result), key=("name", "seed"))
    return results[0].accuracy


def _result(run: Run, row: str, made: Made, seconds: float) -> RunResult:
    name = f"{run.target.name}/{row}"
    problem = run.target.problem
    detail = {
        "kind": BITS if run.target.label == HIDDEN else problem.labels.kind,
        "samples": len(problem.labels.y_S),
        "parts": len(np.unique(problem.cluster_S)),
        "part_name": problem.cluster_name,
        "split": run.target.split.description,
        "seconds": seconds,
        **made.detail,
    }
    config = run.config | {"row": row}
    return RunResult(name, run.seed, _key(run, name), config, run.digests, round(made.figure, 6), [], detail)
