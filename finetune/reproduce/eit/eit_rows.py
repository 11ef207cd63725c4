"""The rows of the EIT table: each from trials for training to what it says of the windows for testing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from finetune.reproduce.common.find_recording import source_digest
from finetune.reproduce.common.run_results import finished, key_of
from finetune.reproduce.eit.decoding import MODELS, FrozenHead, fit, predict, represent, seen_through, validate
from finetune.reproduce.eit.eit_settings import EITTable
from finetune.reproduce.eit.kept_weights import trained_eit, weights_folder
from finetune.reproduce.eit.reaching_trials import Cuts, Trials, cut, read_trials, split
from finetune.reproduce.models import Decoder, EITPublished
from foundation.evaluation.linear_readout import first_best, fit_scaled
from foundation.store.stored import StoredRecording

VERSION = 1


def base_config(subject: str, bins: int) -> dict[str, Any]:
    """What every run on a recording has in its configuration."""
    return {"version": VERSION, "subject": subject, "bins": bins}


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
    name: str,
    train: Trials,
    test: Trials,
    settings: EITTable,
    seed: int,
    kept: Callable[[Trials], tuple[EITPublished, dict]] | None = None,
) -> tuple[np.ndarray, dict]:
    """A model from its first weights to what it says of the test windows; ``kept`` takes an EIT trained before."""
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


STRENGTHS = tuple(10.0**k for k in np.arange(-5, 1.5, 0.5))


def choose_strength(x_SF: np.ndarray, y_S: np.ndarray, held_SF: np.ndarray, held_S: np.ndarray) -> float:
    """Return the inverse penalty with the best accuracy on the held-out samples; the smallest of equals."""
    scored = ((c, float((fit_linear(x_SF, y_S, c).predict(held_SF) == held_S).mean())) for c in STRENGTHS)
    return first_best(scored)[0]


def fit_linear(x_SF: np.ndarray, y_S: np.ndarray, strength: float) -> Pipeline:
    """Return a logistic regression of scaled features; ``strength`` is the inverse penalty."""
    return fit_scaled(LogisticRegression(C=strength, max_iter=2000), x_SF, y_S)
