"""The table of the EIT paper on reaching trials (arXiv 2206.06131, table 1), and transfer between animals."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from finetune.reproduce.common.find_recording import find_recording, source_digest
from finetune.reproduce.common.run_results import RunResult, key_of, run_once
from finetune.reproduce.eit.decoding import MODELS
from finetune.reproduce.eit.eit_rows import base_config, fit_eit, floor, model_run, right_by_trial, transfer_run
from finetune.reproduce.eit.eit_settings import CONTROL, FLOOR, TRANSFER, EITTable
from finetune.reproduce.eit.reaching_trials import Trials, cut, read_trials, split
from foundation.store.catalog import Catalog

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """One run that a table asks for: ``made`` gives, of training and test trials, what is said of the test windows."""

    name: str
    seed: int
    config: dict[str, Any]
    digests: dict[str, str]
    made: Callable[[Trials, Trials], tuple[np.ndarray, dict]]


def run_eit(settings: EITTable, catalog: Catalog, table: Path) -> None:
    """Make the runs that are not there yet, seed after seed and controls last, and add them to the table.

    Raises:
        ConfigError: if the store has no such recording.
        FoundationError: if a result of another configuration is in the way.
    """
    torch.set_num_threads(settings.threads)
    train, test = split(read_trials(find_recording(catalog, settings.subject)))
    log.info("%d trials for training, %d for testing, %d units", len(train), len(test), train.rate_RNT.shape[1])
    for run in planned(settings, catalog, table.parent):
        _make(run, train, test, settings.bins, table)
    if settings.controls:
        fewer = replace(settings, seeds=settings.seeds[: settings.controls], trace=False)
        for run in planned(fewer, catalog, table.parent, control=True):
            _make(run, train.dealt(run.seed), test, settings.bins, table)


def planned(settings: EITTable, catalog: Catalog, tables: Path, *, control: bool = False) -> Iterator[Run]:
    """The runs of a table; ``control``: under other names, for training trials whose directions are dealt anew."""
    recording = find_recording(catalog, settings.subject)
    source = None if settings.transfer_from is None else find_recording(catalog, settings.transfer_from)
    base = base_config(settings.subject, settings.bins) | ({"directions": "dealt anew"} if control else {})
    digests = {settings.subject: source_digest(recording)}
    end = CONTROL if control else ""
    trained = partial(fit_eit, settings, tables)

    if FLOOR in settings.models:
        yield Run(FLOOR + end, 0, base | {"model": FLOOR}, digests, partial(floor, n_bins=settings.bins))
    for seed in settings.seeds:
        rule = {"seed": seed, "rule": settings.rule.config()}
        for name in [m for m in MODELS if m in settings.models]:
            config = base | {"model": name} | rule | ({"trace": True} if settings.trace else {})
            kept = None if control else partial(trained, recording, seed=seed)
            made = partial(model_run, name, settings=settings, seed=seed, kept=kept)
            yield Run(name + end, seed, config, digests, made)
        if source is not None:
            config = base | {"model": TRANSFER, "from": settings.transfer_from} | rule
            used = digests | {source.subject.id: source_digest(source)}
            made = partial(transfer_run, source, settings=settings, seed=seed, trained=trained)
            yield Run(f"{TRANSFER}-{settings.transfer_from}{end}", seed, config, used, made)


def _make(run: Run, train: Trials, test: Trials, n_bins: int, table: Path) -> None:
    def made() -> RunResult:
        began = time.perf_counter()
        predicted_WT, detail = run.made(train, test)
        right_R = right_by_trial(predicted_WT, cut(test, n_bins))
        detail = {"seconds": round(time.perf_counter() - began, 1)} | detail
        detail |= {"train": len(train), "test": len(test)}
        mean, key = float(np.mean(right_R)), key_of(run.config, run.digests)
        log.info("%s, seed %d: %.4f (%s)", run.name, run.seed, mean, detail["seconds"])
        return RunResult(run.name, run.seed, key, run.config, run.digests, mean, right_R.tolist(), detail)

    run_once(table, run.name, run.seed, run.config, run.digests, made)
