"""The tables of the MYOW paper (arXiv 2102.10106) on neural recordings: monkeys' reaches, a mouse's 12 hours."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score
from sklearn.pipeline import Pipeline

from finetune.reproduce.common.run_results import RunResult, find_recording, key_of, read_all, run_once, source_digest
from finetune.reproduce.myow.bins_settings import FLOOR, LEARNED, SHUFFLED, MYOWTable, Training
from finetune.reproduce.myow.bins_training import Encoder, train
from finetune.reproduce.myow.labelled_bins import TRAIN_SHARE, Bins, Parts, read_reaches, read_sleep
from finetune.reproduce.myow.state_map import draw_map
from foundation.common.settings.renamed_settings import former_names
from foundation.evaluation.disentanglement import parting
from foundation.evaluation.linear_readout import first_best, fit_scaled
from foundation.store.catalog import Catalog

log = logging.getLogger(__name__)
TASKS = {"reach": read_reaches, "sleep": read_sleep}
VERSION = 1


def run_myow(settings: MYOWTable, catalog: Catalog, table: Path, pictures: Path | None = None) -> None:
    """Make the missing runs, seed by seed, and add them to the table.

    Args:
        settings: of the table.
        catalog: the store's recordings.
        table: the JSON Lines file of results.
        pictures: folder of the maps of states; None: no maps.

    Raises:
        ConfigError: if the store lacks the recording.
        FoundationError: if a result of another configuration exists.
    """
    torch.set_num_threads(settings.threads)
    recording = find_recording(catalog, settings.subject)
    parts = TASKS[settings.task](recording)
    digests = {settings.subject: source_digest(recording)}
    base = {"version": VERSION, "subject": settings.subject, "task": settings.task}
    if FLOOR in settings.models:
        _once(table, pictures, FLOOR, 0, base | {"model": FLOOR}, digests, parts, settings)
    for seed in settings.seeds:
        if SHUFFLED in settings.models:
            _once(table, pictures, SHUFFLED, seed, base | {"model": SHUFFLED, "seed": seed}, digests, parts, settings)
        for name in [m for m in LEARNED if m in settings.models]:
            config = base | {"model": name, "seed": seed, "training": _training_facts(name, settings.training)}
            _once(table, pictures, name, seed, config, digests, parts, settings)


def _training_facts(name: str, training: Training) -> dict[str, Any]:
    """Return the training settings for the results file, without newer settings at their defaults."""
    values = former_names(Training, asdict(training))
    if name not in ("myow", "byol") or training.optimizer != "lars" or not training.adapt_scales:
        del values["adapt_scales"]
    return values


def _once(
    table: Path,
    pictures: Path | None,
    name: str,
    seed: int,
    config: dict,
    digests: dict[str, str],
    parts: Parts,
    settings: MYOWTable,
) -> None:
    def run() -> RunResult:
        began = time.perf_counter()
        encode, setting, detail = _learned(name, parts, settings, seed)
        used = _shuffled(parts.train, seed) if name == SHUFFLED else parts.train
        predicted_M = read_labels(settings.task, encode, setting, used, parts.test)
        figures = _figures(settings.task, predicted_M, parts.test)
        if settings.task == "sleep" and name in LEARNED:
            # The page shows the map of the row's first seed, whatever seeds the command has.
            first = all(seed < other.seed for other in read_all(table).get(name, []))
            picture = pictures / f"{name}-map.svg" if pictures is not None and first else None
            detail |= draw_map(encode(parts.whole), parts.whole, picture, seed)
        if settings.task == "reach" and name == "swap_vae":
            detail["parting"] = _parting(encode(parts.whole), parts.whole, settings.training.swap_vae.content)
        detail |= figures | {"setting": setting, "seconds": round(time.perf_counter() - began, 1)}
        detail |= {"units": parts.train.count_MN.shape[1]}
        detail |= {"train": int(parts.train.scored_M.sum()), "test": int(parts.test.scored_M.sum())}
        accuracy, right_R = detail.pop("score"), detail.pop("right_R")
        log.info("%s, seed %d: %.4f (%s s)", name, seed, accuracy, detail["seconds"])
        return RunResult(name, seed, key_of(config, digests), config, digests, accuracy, right_R, detail)

    run_once(table, name, seed, config, digests, run)


def _learned(name: str, parts: Parts, settings: MYOWTable, seed: int) -> tuple[Encoder, float, dict[str, Any]]:
    """Return an encoder, the readout's setting, and their history, without using the test part."""
    if name in (FLOOR, SHUFFLED):
        learn = _shuffled(parts.learn, seed) if name == SHUFFLED else parts.learn
        return _events, choose(settings.task, _events, learn, parts.held)[1], {}
    t, figures = settings.training, []
    steps = t.steps
    if steps is None:
        for done, encode in train(name, parts.learn, settings.task, t, seed, t.max_steps):
            figures.append((choose(settings.task, encode, parts.learn, parts.held), done))
        steps = max(figures, key=lambda pair: (pair[0][0], -pair[1]))[1]
    *_, (_, encode) = train(name, parts.train, settings.task, replace(t, every=steps), seed, steps)
    chosen = [found for found, done in figures if done == steps]
    setting = (chosen[0] if chosen else choose(settings.task, encode, parts.learn, parts.held))[1]
    return encode, setting, {"steps": steps, "validation": [[done, round(f[0], 5)] for f, done in figures]}


def _events(bins: Bins) -> np.ndarray:
    """Return the events themselves, as the floor."""
    return bins.count_MN


def choose(task: str, encode: Encoder, learn: Bins, held: Bins) -> tuple[float, float]:
    """Return the best figure on the held-out bins and its readout setting; the largest on a tie."""
    scored = held.scored_M
    x_LF, x_HF = encode(learn)[learn.scored_M], encode(held)[scored]
    found = []
    for setting in reversed(settings_of(task)):
        model = fit_readout(task, x_LF, learn.label_M[learn.scored_M], setting)
        found.append((setting, score(task, predict(task, model, x_HF), held.label_M[scored])))
    setting, value = first_best(found)
    return value, setting


def read_labels(task: str, encode: Encoder, setting: float, train: Bins, test: Bins) -> np.ndarray:
    """Predict the scored test bins with a linear layer fitted to the training bins."""
    model = fit_readout(task, encode(train)[train.scored_M], train.label_M[train.scored_M], setting)
    return predict(task, model, encode(test)[test.scored_M])


def _parting(y_MD: np.ndarray, bins: Bins, content: int) -> dict[str, float]:
    """Score direction and time since the trial's first bin, from content and from style."""
    _, direction_M = np.unique(bins.label_M.round(6), return_inverse=True)
    first_M = np.searchsorted(bins.group_M, bins.group_M)  # bins are in order of trials
    since_M1 = (bins.start_M - bins.start_M[first_M])[:, None]
    found = parting(y_MD[:, :content], y_MD[:, content:], direction_M, since_M1, bins.group_M, train_share=TRAIN_SHARE)
    return {key: round(value, 5) for key, value in found.items()}


def _shuffled(bins: Bins, seed: int) -> Bins:
    """Return bins with labels of other trials (or blocks) in random order."""
    groups = np.random.default_rng(seed).permutation(np.unique(bins.group_M))
    return replace(bins, label_M=np.concatenate([bins.label_M[bins.group_M == g] for g in groups]))


def _figures(task: str, predicted_M: np.ndarray, test: Bins) -> dict[str, Any]:
    """Return figures of the test part, and per-trial (or per-block) values for intervals."""
    label_M, group_M = test.label_M[test.scored_M], test.group_M[test.scored_M]
    groups = np.unique(group_M)
    value = score(task, predicted_M, label_M)
    if task == "reach":
        error_M = error_of(predicted_M, label_M)
        right_R = [score(task, predicted_M[group_M == g], label_M[group_M == g]) for g in groups]
        bins_R = [int((group_M == g).sum()) for g in groups]
        return {"score": value, "right_R": right_R, "bins_R": bins_R, "wider": float((error_M < WIDER).mean())}
    tables = [
        np.histogram2d(label_M[group_M == g], predicted_M[group_M == g], bins=3, range=[[-0.5, 2.5]] * 2)[0].astype(int)
        for g in groups
    ]
    right_R = [float(np.trace(t) / t.sum()) for t in tables]
    return {"score": value, "right_R": right_R, "tables_R": [t.tolist() for t in tables]}


PENALTIES = tuple(10.0**k for k in range(-1, 5))
STRENGTHS = tuple(10.0**k for k in range(-4, 1))
NEAR, WIDER = np.pi / 8, 3 * np.pi / 16


def settings_of(task: str) -> tuple[float, ...]:
    """Return penalties of ridge regression for reaches; inverse penalties of logistic regression for sleep."""
    return PENALTIES if task == "reach" else STRENGTHS


def fit_readout(task: str, x_MF: np.ndarray, label_M: np.ndarray, setting: float) -> Pipeline:
    """Fit ridge regression to cosine and sine, or class-balanced logistic regression, of scaled features."""
    if task == "reach":
        return fit_scaled(Ridge(setting), x_MF, _circle(label_M))
    return fit_scaled(LogisticRegression(C=setting, class_weight="balanced", max_iter=300), x_MF, label_M)


def predict(task: str, model: Pipeline, x_MF: np.ndarray) -> np.ndarray:
    """Predict directions in radians, or numbers of states."""
    predicted = model.predict(x_MF)
    return np.arctan2(predicted[:, 1], predicted[:, 0]) if task == "reach" else predicted


def score(task: str, predicted_M: np.ndarray, label_M: np.ndarray) -> float:
    """Share of bins within pi/8 of the direction, or F1 weighted by the frequency of each state.

    Example:
        >>> score("reach", np.array([0.1, 6.2, 3.0]), np.array([0.0, 0.0, 0.0])) == 2 / 3
        True
    """
    if task == "reach":
        return float((error_of(predicted_M, label_M) < NEAR).mean())
    return float(f1_score(label_M, predicted_M, average="weighted"))


def error_of(predicted_M: np.ndarray, label_M: np.ndarray) -> np.ndarray:
    """Return the angle between prediction and truth, 0 to pi."""
    return np.abs(np.angle(np.exp(1j * (predicted_M - label_M))))


def _circle(label_M: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(label_M), np.sin(label_M)], axis=1)
