"""`foundation finetune`: every task that the store has labels for, scored with a pretrained model."""

from __future__ import annotations

import logging
from dataclasses import replace

from finetune.current_results import digests, read_current, write_note
from finetune.evaluate_target import Evaluator
from finetune.finetune_settings import FinetuneSettings
from finetune.finetune_tracking import PATIENCE, log_task
from finetune.keep_head import lasting_name
from finetune.result import (
    Evaluation,
    LeftOut,
    Result,
)
from finetune.shared_sessions import shared_sessions
from finetune.tasks import Found, Sources
from finetune.tasks.task_names import load_tasks
from foundation.common.errors import ConfigError, StoreError
from foundation.common.output.progress import Progress
from foundation.data.reading.reader import ReaderCache
from foundation.embedding.feature_cache import FeatureCache
from foundation.evaluation.splits import TooLittleError
from foundation.hub.checkpoint_resolver import resolve
from foundation.hub.checkpoints import load_model
from foundation.store import Catalog, Store
from foundation.store.input_store import ingested
from foundation.store.result_cache import ResultCache

log = logging.getLogger(__name__)


def finetune(settings: FinetuneSettings) -> Evaluation:
    """Evaluate every labelled task in the store with a pretrained model and write the results.

    Results are ``<output>/<task>/<target>/<mode>.json`` with the predictions beside them. A result that is there and
    was made with the same settings, checkpoint and recordings is used as it is. A target that fails or has too
    little data is reported with its reason, and the others are finished.

    Args:
        settings: what to do.

    Returns:
        One result per task, target and mode, and the targets without.

    Raises:
        CheckpointError: if the checkpoint cannot be loaded.
        StoreError: if the store cannot be read, holds no labels, or has too little of every one.
        ConfigError: if a task was asked for by name and the store has no labels for it.
    """
    tasks = load_tasks(settings.tasks)
    checkpoint = resolve(settings.checkpoint)
    model = load_model(checkpoint)
    if settings.input is not None:
        settings = replace(settings, store=ingested(settings.input), input=None)
    sources = Sources(
        catalog := Catalog.open(Store(settings.store)),
        ReaderCache(catalog),
        settings.windows,
        model.config.patch_length,
        model.config.population_patch,
        settings.folds,
        settings.seed,
    )
    names = list(tasks)
    left_out: list[LeftOut] = []
    found: dict[str, Found] = {}
    for name in names:
        try:
            found[name] = tasks[name](sources)
        except Exception as error:  # the other tasks are done
            left_out.append(LeftOut.failure(name, "", error))
            continue
        left_out += found[name].failed
        for line in found[name].skipped:
            log.info("%s", line)
        if settings.tasks is not None and not found[name].problems and not found[name].failed:
            why = "; ".join(found[name].skipped) or "no recording has such labels"
            raise ConfigError(f"tasks has {name!r}, which {catalog.store.name!r} cannot give: {why}")
    problems = [p for task in found.values() for p in task.problems]
    if not problems and not left_out:
        why = "; ".join(line for task in found.values() for line in task.skipped) or "no recording has any"
        raise StoreError(f"{catalog.store.name!r} has no decodable labels ({why})")
    named = {"name": lasting_name(settings.checkpoint), "digest": checkpoint.digest}
    kept = FeatureCache(model, checkpoint.digest, ResultCache(catalog.store, settings.cache_size))
    for problem in problems:
        problem.cache = kept
    evaluator = Evaluator(settings, model, named["digest"], named)
    results: list[Result] = []
    waiting: list[str] = []
    with Progress(len(problems) * len(settings.modes_of_run), "finetuning", "result") as shown:
        for name, task in found.items():
            done: list[Result] = []
            evaluator.shared = shared_sessions(task.problems, model, settings)
            for problem in task.problems:
                left = len(settings.modes_of_run)
                try:
                    for result in evaluator.target(problem):
                        done.append(result)
                        shown.step(note=f"{result.target} {result.mode} {result.value:.3f}")
                        left -= 1
                except TooLittleError as error:
                    log.warning("%s %s is left out: %s", name, problem.labels.target, error)
                    left_out.append(LeftOut(name, problem.labels.target, str(error), failed=False))
                except Exception as error:  # the other targets are done
                    left_out.append(LeftOut.failure(name, problem.labels.target, error))
                shown.step(left)
            if done:
                sent = log_task(settings, name, done, patience=0.0 if waiting else PATIENCE)
                waiting += [] if sent is None else [sent]
            results += done
    write_note(settings, evaluator.checkpoint, names, left_out)
    if not results and not any(entry.failed for entry in left_out):
        why = "; ".join(f"{entry.task} {entry.target}: {entry.reason}" for entry in left_out)
        raise StoreError(f"{catalog.store.name!r} has too few samples of every label ({why})")
    if results:
        for place, reason in read_current(settings.output, evaluator.checkpoint, digests(catalog)).stale:
            log.info("%s in %s is not part of this: it is %s", place, settings.output, reason)
    return Evaluation(results, left_out, waiting)
