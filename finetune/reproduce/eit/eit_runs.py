"""The EIT paper's table on reaching trials (arXiv 2206.06131, table 1), row by row, and transfer between animals."""

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
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from finetune.reproduce.common.run_results import RunResult, find_recording, finished, key_of, run_once, source_digest
from finetune.reproduce.common.weights_folder import weights_folder
from finetune.reproduce.eit.decoding import MODELS, FrozenHead, fit, predict, represent, seen_through, validate
from finetune.reproduce.eit.eit_settings import CONTROL, FLOOR, TRANSFER, EITTable
from finetune.reproduce.eit.kept_weights import trained_eit
from finetune.reproduce.eit.reaching_trials import Cuts, Trials, cut, read_trials, split
from finetune.reproduce.models import Decoder, EITPublished
from foundation.evaluation.linear_readout import first_best, fit_scaled
from foundation.store.catalog import Catalog
from foundation.store.stored import StoredRecording

VERSION = 1


def base_config(subject: str, bins: int) -> dict[str, Any]:
    """Return the configuration shared by all runs on a recording."""
    return {"version": VERSION, "subject": subject, "bins": bins}


def right_by_trial(predicted_WT: np.ndarray, cuts: Cuts) -> np.ndarray:
    """Return ``(R,)`` the share of correct time steps of each trial; all trials are equally long."""
    right_W = (predicted_WT == cuts.label_W[:, None]).mean(axis=1)
    return np.bincount(cuts.trial_W, right_W) / np.bincount(cuts.trial_W)


def floor(train: Trials, test: Trials, n_bins: int) -> tuple[np.ndarray, dict]:
    """Fit logistic regression of the whole window, with its penalty chosen on the last fifth of the training trials."""
    parts = [cut(part, n_bins) for part in (*_held_out(train), train, test)]
    learn, held, whole, tested = [(part.x_WNT.reshape(len(part), -1), part.label_W) for part in parts]
    strength = choose_strength(*learn, *held)
    predicted_W = fit_linear(*whole, strength).predict(tested[0])
    return np.repeat(predicted_W[:, None], n_bins, axis=1), {"strength": strength}


def fit_eit(
    settings: EITTable, tables: Path, recording: StoredRecording, train: Trials, seed: int
) -> tuple[EITPublished, dict]:
    """Return EIT trained on a recording's trials, or loaded from an earlier run of the same configuration and data.

    If only the result of such a run remains in one of the ``tables``, its best number of epochs is trained again
    without search.
    """
    n_bins, n_units = settings.bins, train.rate_RNT.shape[1]
    subject = recording.subject.id
    config = base_config(subject, n_bins) | {"model": "eit", "seed": seed, "rule": settings.rule.config()}
    digests = {subject: source_digest(recording)}

    def made() -> tuple[EITPublished, dict]:
        began = time.perf_counter()
        known = finished(tables, "eit", seed, key_of(config, digests))
        rule = replace(settings.rule, epochs=known.detail["epochs"]) if known else settings.rule
        model, detail = fit(lambda: MODELS["eit"](n_units, n_bins), train, n_bins, rule, seed)
        detail |= {"validation": known.detail["validation"]} if known else {}
        assert isinstance(model, EITPublished)
        return model, detail | {"seconds": round(time.perf_counter() - began, 1)}

    return trained_eit(weights_folder(settings.weights), config, digests, made)


def model_run(
    name: str,
    train: Trials,
    test: Trials,
    settings: EITTable,
    seed: int,
    kept: Callable[[Trials], tuple[EITPublished, dict]] | None = None,
) -> tuple[np.ndarray, dict]:
    """Train a model and predict the test windows; ``kept`` is an EIT trained before."""
    n_bins, n_units = settings.bins, train.rate_RNT.shape[1]
    model: Decoder
    tested, traced = cut(test, n_bins), {}

    def look(model: Decoder, epoch: int) -> None:
        if settings.trace and name != "ndt" and epoch % 5 == 0:
            traced[epoch] = round(validate(model, tested), 5)

    if name == "eit" and kept is not None and not settings.trace:
        model, detail = kept(train)
    else:
        model, detail = fit(lambda: MODELS[name](n_units, n_bins), train, n_bins, settings.rule, seed, look)
    detail |= {"traced": traced} if traced else {}
    if name != "ndt":
        return predict(model, tested), detail
    # Models without labels are read by a linear layer on the frozen features of every time step.
    parts = [cut(part, n_bins) for part in (*_held_out(train), train)]
    learn, held, whole = [_steps(represent(model, part), part) for part in parts]
    detail["strength"] = choose_strength(*learn, *held)
    features_WTD = represent(model, tested)
    predicted = fit_linear(*whole, detail["strength"]).predict(features_WTD.reshape(-1, features_WTD.shape[-1]))
    return predicted.reshape(features_WTD.shape[:2]), detail


def transfer_run(
    source: StoredRecording,
    train: Trials,
    test: Trials,
    settings: EITTable,
    seed: int,
    trained: Callable[[StoredRecording, Trials, int], tuple[EITPublished, dict]],
) -> tuple[np.ndarray, dict]:
    """Transfer EIT from another animal: freeze its individual module and train a head on this animal."""
    n_bins, n_units = settings.bins, train.rate_RNT.shape[1]
    theirs, _ = split(read_trials(source))
    there, first = trained(source, theirs, seed)
    see = partial(seen_through, there.transfer(n_units))
    model, detail = fit(lambda: FrozenHead(there.transfer(n_units)), train, n_bins, settings.rule, seed, see=see)
    return predict(model, see(cut(test, n_bins))), detail | {"source_epochs": first["epochs"]}


def _held_out(train: Trials) -> tuple[Trials, Trials]:
    n_held = max(len(train) // 5, 1)
    return train.where(slice(-n_held)), train.where(slice(-n_held, None))


def _steps(features_WTD: np.ndarray, cuts: Cuts) -> tuple[np.ndarray, np.ndarray]:
    n_steps = features_WTD.shape[1]
    return features_WTD.reshape(-1, features_WTD.shape[-1]), np.repeat(cuts.label_W, n_steps)


STRENGTHS = tuple(10.0**k for k in np.arange(-5, 1.5, 0.5))


def choose_strength(x_SF: np.ndarray, y_S: np.ndarray, held_SF: np.ndarray, held_S: np.ndarray) -> float:
    """Return the inverse penalty with the best accuracy on the held-out samples; the smallest on a tie."""
    scored = ((c, float((fit_linear(x_SF, y_S, c).predict(held_SF) == held_S).mean())) for c in STRENGTHS)
    return first_best(scored)[0]


def fit_linear(x_SF: np.ndarray, y_S: np.ndarray, strength: float) -> Pipeline:
    """Return a logistic regression of scaled features; ``strength`` is the inverse penalty."""
    return fit_scaled(LogisticRegression(C=strength, max_iter=2000), x_SF, y_S)


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """One run of a table; ``made`` maps training and test trials to predictions of the test windows."""

    name: str
    seed: int
    config: dict[str, Any]
    digests: dict[str, str]
    made: Callable[[Trials, Trials], tuple[np.ndarray, dict]]


def run_eit(settings: EITTable, catalog: Catalog, table: Path) -> None:
    """Make the missing runs, seed by seed with controls last, and add them to the table.

    Raises:
        ConfigError: if the store lacks the recording.
        FoundationError: if a result of another configuration exists.
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
    """Yield the runs of a table; ``control`` runs shuffle the directions of training trials and have other names."""
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
