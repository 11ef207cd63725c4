"""The table of the EIT paper on reaching trials (arXiv 2206.06131, table 1), and transfer between animals."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from finetune.reproduce.decoding import MODELS, Rule, fit, predict, represent, validate
from finetune.reproduce.frozen import FrozenHead, seen_through
from finetune.reproduce.kept import trained_eit, weights_folder
from finetune.reproduce.reaching import Cuts, Trials, cut, read_trials, split
from finetune.reproduce.readout import choose_strength, fit_linear
from finetune.reproduce.runs import RunResult, finished, key_of, run_once
from foundation.errors import ConfigError
from foundation.models.baselines import Decoder, EITPublished
from foundation.store.catalog import Catalog
from foundation.store.stored import StoredRecording

log = logging.getLogger(__name__)
FLOOR, TRANSFER = "linear", "transfer"
VERSION = 1


@dataclass(frozen=True)
class EITTable:
    """Which runs of the EIT table are made.

    Args:
        subject: the animal whose recording is decoded.
        bins: T, the bins of a window: 2 or 6 in the paper.
        models: rows: ``mlp``, ``gru``, ``ndt``, ``ndt-sup``, ``eit-t``, ``eit``; ``linear`` is the floor.
        seeds: of weights, batches and dropout; each makes a run of every row.
        transfer_from: another animal: its individual module is trained, frozen, and only a head trained on ``subject``;
            null: no such row.
        threads: of torch.
        weights: folder in which trained EITs are kept for transfers; null: ``foundation/weights`` in the user's cache
            folder.
        rule: how long a model trains.
        trace: the test figure after every fifth epoch, which the released script logs, is kept beside the row's own,
            the last; for models with labels. It shows what choosing an epoch on test trials would give.

    Raises:
        ConfigError: if a value is impossible.
    """

    subject: str = "Chewie"
    bins: int = 2
    models: list[str] = field(default_factory=lambda: [FLOOR, *MODELS])
    seeds: list[int] = field(default_factory=lambda: [15, 16, 17, 18, 19])
    transfer_from: str | None = None
    threads: int = 1
    weights: str | None = None
    rule: Rule = field(default_factory=Rule)
    trace: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.bins <= 8:
            raise ConfigError(f"bins is {self.bins}: from 1 to 8")
        unknown = sorted(set(self.models) - {FLOOR, *MODELS})
        if unknown:
            raise ConfigError(f"models has {unknown[0]!r}: one of {', '.join([FLOOR, *MODELS])}")
        if not self.seeds or min(self.seeds) < 0:
            raise ConfigError(f"seeds is {self.seeds}: one or more, each 0 or more")
        if self.threads < 1:
            raise ConfigError(f"threads is {self.threads}: at least 1")
        if self.bins == 1 and "ndt" in self.models:
            raise ConfigError("bins is 1 and models has 'ndt': it masks one bin of a window and reads the others")
        if self.transfer_from == self.subject:
            raise ConfigError(f"transfer_from is {self.transfer_from!r}: another animal than subject, or null")


def run_eit(settings: EITTable, catalog: Catalog, folder: Path) -> None:
    """Make the runs that are not there yet, seed after seed, and write a file each.

    Raises:
        ConfigError: if the store has no such recording.
        FoundationError: if a result of another configuration is in the way.
    """
    torch.set_num_threads(settings.threads)
    recording = find_recording(catalog, settings.subject)
    trials = read_trials(recording)
    train, test = split(trials)
    log.info("%d trials for training, %d for testing, %d units", len(train), len(test), train.rate_RNT.shape[1])
    digests = {settings.subject: source_digest(recording)}
    base = base_config(settings.subject, settings.bins)
    trained = partial(fit_eit, settings, folder.parent)

    def once(name: str, seed: int, config: dict, used: dict, made: Callable[[], tuple[Any, dict]]) -> None:
        def run() -> RunResult:
            began = time.perf_counter()
            predicted_WT, detail = made()
            right_R = right_by_trial(predicted_WT, cut(test, settings.bins))
            detail = {"seconds": round(time.perf_counter() - began, 1)} | detail
            detail |= {"train": len(train), "test": len(test)}
            log.info("%s, seed %d: %.4f (%s)", name, seed, np.mean(right_R), detail["seconds"])
            mean = float(np.mean(right_R))
            return RunResult(name, seed, key_of(config, used), config, used, mean, right_R.tolist(), detail)

        run_once(folder, name, seed, config, used, run)

    if FLOOR in settings.models:
        config = base | {"model": FLOOR}
        once(FLOOR, 0, config, digests, partial(floor, train, test, settings.bins))
    for seed in settings.seeds:
        for name in [m for m in MODELS if m in settings.models]:
            config = base | {"model": name, "seed": seed, "rule": settings.rule.config()}
            config |= {"trace": True} if settings.trace else {}
            eit = partial(trained, recording, train, seed)
            once(name, seed, config, digests, partial(model_run, name, train, test, settings, seed, eit))
        if settings.transfer_from is not None:
            source = find_recording(catalog, settings.transfer_from)
            config = base | {"model": TRANSFER, "from": settings.transfer_from, "seed": seed}
            config |= {"rule": settings.rule.config()}
            used = digests | {settings.transfer_from: source_digest(source)}
            name = f"{TRANSFER}-{settings.transfer_from}"
            once(name, seed, config, used, partial(transfer_run, source, train, test, settings, seed, trained))


def base_config(subject: str, bins: int) -> dict[str, Any]:
    """What every run on a recording has in its configuration."""
    return {"version": VERSION, "subject": subject, "bins": bins}


def find_recording(catalog: Catalog, subject: str) -> StoredRecording:
    """The one recording of an animal.

    Raises:
        ConfigError: if there is none, or more than one.
    """
    found = [recording for recording in catalog if recording.subject.id == subject]
    if len(found) != 1:
        raise ConfigError(f"the store has {len(found)} recordings of subject {subject!r}: one is needed")
    return found[0]


def source_digest(recording: StoredRecording) -> str:
    """Digest of the file that a recording was read from, which stays when the store's schema or a recipe does not."""
    return recording.record["source"]["digest"] or recording.record["digest"]


def right_by_trial(predicted_WT: np.ndarray, cuts: Cuts) -> np.ndarray:
    """``(R,)`` share of each trial's time steps that are told; every trial has as many."""
    right_W = (predicted_WT == cuts.label_W[:, None]).mean(axis=1)
    return np.bincount(cuts.trial_W, right_W) / np.bincount(cuts.trial_W)


def floor(train: Trials, test: Trials, n_bins: int) -> tuple[np.ndarray, dict]:
    """Logistic regression of the whole window, its penalty chosen on the last fifth of the training trials."""
    parts = [cut(part, n_bins) for part in (*_held_out(train), train, test)]
    learn, held, whole, tested = [(part.x_WNT.reshape(len(part), -1), part.label_W) for part in parts]
    strength = choose_strength(*learn, *held)
    predicted_W = fit_linear(*whole, strength).predict(tested[0])
    return np.repeat(predicted_W[:, None], n_bins, axis=1), {"strength": strength}


def fit_eit(
    settings: EITTable, tables: Path, recording: StoredRecording, train: Trials, seed: int
) -> tuple[EITPublished, dict]:
    """EIT trained on a recording's trials, or as an earlier run of the same configuration and data left it.

    Where the weights of such a run are gone but its result is still in one of the ``tables``, the result says how many
    epochs were best, and these alone are trained again.
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
    name: str, train: Trials, test: Trials, settings: EITTable, seed: int, eit: Callable[[], tuple[EITPublished, dict]]
) -> tuple[np.ndarray, dict]:
    """A model from its first weights to its predictions of the test windows; ``eit`` gives a trained EIT."""
    n_bins, n_units = settings.bins, train.rate_RNT.shape[1]
    model: Decoder
    tested, traced = cut(test, n_bins), {}

    def look(model: Decoder, epoch: int) -> None:
        if settings.trace and name != "ndt" and epoch % 5 == 0:
            traced[epoch] = round(validate(model, tested), 5)

    if name == "eit" and not settings.trace:
        model, detail = eit()
    else:
        model, detail = fit(lambda: MODELS[name](n_units, n_bins), train, n_bins, settings.rule, seed, look)
    detail |= {"traced": traced} if traced else {}
    if name != "ndt":
        return predict(model, tested), detail
    # What is learned without labels is read by a linear layer of the frozen features of every time step.
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
    """EIT trained on another animal; its individual module frozen, and a head trained on this one."""
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
