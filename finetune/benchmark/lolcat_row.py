"""LOLCAT as a row of a benchmark of cell types: trained on each fold's training units, from their intervals alone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from finetune.finetune_settings import FinetuneSettings
from finetune.heads.fitting.head_probe import gather
from finetune.reproduce.common.stored_sums import pack_sums
from finetune.reproduce.models.lolcat import LOLCAT, LOLCATConfig
from finetune.reproduce.models.snippets import Timescale, interval_histograms
from finetune.tasks import Sources
from finetune.tasks.problems.unit_task import UnitProblem
from finetune.tasks.task_names import load_tasks
from finetune.training_loop import run_updates
from foundation.data.reading.reader import ReaderCache
from foundation.evaluation.confidence_intervals import interval
from foundation.evaluation.coverage import coverage_curve
from foundation.evaluation.metrics import Predictions, primary
from foundation.store import Catalog, Store, StoredRecording

log = logging.getLogger(__name__)
SCALE = Timescale()  # snippets of 3 s with 90 bins, as published
SNIPPETS, SHOWN = 256, 32  # of a unit, and of these in an update; all of them where a unit is classified
STEPS, EVERY, PATIENCE = 400, 50, 3  # updates at most, between looks at held-out units, and looks without gain
BATCH, RATE, DECAY = 64, 1e-3, 0.01
LOLCAT_VERSION = 2  # goes up when the row's figures change


def lolcat_row(settings: FinetuneSettings) -> dict[str, dict[str, Any]]:
    """Return LOLCAT's score on each target whose samples are units with spikes, on the folds of `finetune`.

    Args:
        settings: those of `finetune`.

    Returns:
        ``task/target`` -> ``{"lolcat": row}``, as a run's result holds it.
    """
    catalog = Catalog.open(Store(settings.store))
    sources = Sources(catalog, ReaderCache(catalog), settings.windows, 1, 1, settings.folds, settings.seed)
    found = {}
    for find in load_tasks(settings.tasks).values():
        for problem in find(sources).problems:
            if isinstance(problem, UnitProblem) and problem.labels.n_classes:
                found[f"{problem.labels.task}/{problem.labels.target}"] = {"lolcat": _row(problem, settings)}
    return found


def _row(problem: UnitProblem, settings: FinetuneSettings) -> dict[str, Any]:
    x_SWF, mask_SW = unit_snippets(problem)
    y_S, n_classes = torch.from_numpy(problem.labels.y_S), problem.labels.n_classes
    split = problem.split(settings.folds, settings.seed)
    predicted, confidence, updates = [], [], list[int]()
    for fold in split.folds:
        inner = problem.inner(fold.train, settings.seed)[0]
        learn, held = fold.train[inner.train], fold.train[inner.test]
        updates.append(_best_updates(x_SWF, mask_SW, y_S, learn, held, n_classes, settings.seed))
        model = fit_lolcat(x_SWF, mask_SW, y_S, fold.train, n_classes, settings.seed, updates[-1])
        logits_BC = _logits(model, x_SWF[fold.test], mask_SW[fold.test])
        predicted.append(logits_BC.argmax(-1).numpy())
        confidence.append(logits_BC.softmax(-1).amax(-1).numpy())
    predictions = gather(problem, split, predicted, confidence)
    low, high = interval(predictions, settings.bootstrap, settings.seed) or (None, None)
    detail = f"{SNIPPETS} snippets of {SCALE.seconds:g} s a unit; updates by fold {', '.join(map(str, updates))}"
    row = {"value": round(primary(predictions), 6), "low": low, "high": high, "detail": detail}
    curve = [asdict(point) for point in coverage_curve(predictions, settings.bootstrap, settings.seed)]
    return row | {"sums": pack_sums(predictions), "coverage": curve}


def unit_snippets(problem: UnitProblem) -> tuple[torch.Tensor, torch.Tensor]:
    """Return histograms of the intervals of each unit in snippets that are spread over its recording.

    Args:
        problem: labelled units of recordings with spikes.

    Returns:
        ``(S, W, F)`` counts, and ``(S, W)`` bool: which snippets hold a spike, or the busiest one.
    """
    x_SWF = np.zeros((len(problem.unit_S), SNIPPETS, SCALE.bins), dtype=np.float32)
    mask_SW = np.zeros((len(problem.unit_S), SNIPPETS), dtype=bool)
    for k, recording in enumerate(problem.stored):
        blocks = recording.spike_blocks
        if blocks is None:
            raise ValueError(f"{recording.record.path} holds no spike times: LOLCAT reads intervals between spikes")
        spikes, starts_W = blocks.to_spikes(), _starts(recording)
        for sample in np.flatnonzero(problem.recording_S == k):
            times = np.asarray(spikes.train(int(problem.unit_S[sample])))
            x_SWF[sample] = interval_histograms(times, starts_W, SCALE)
            events_W = np.diff(np.searchsorted(times, np.stack([starts_W, starts_W + SCALE.seconds])), axis=0)[0]
            mask_SW[sample] = (events_W > 0) | (events_W == events_W.max())
    return torch.from_numpy(x_SWF), torch.from_numpy(mask_SW)


def _starts(recording: StoredRecording) -> np.ndarray:
    """``(W,)`` starts of snippets, evenly over the snippets that fit the observed time."""
    domain = recording.domain
    fitting = np.concatenate([SCALE.starts(a, b) for a, b in zip(domain.start, domain.end, strict=True)])
    if not len(fitting):
        raise ValueError(f"{recording.record.path}: no snippet of {SCALE.seconds:g} s fits the observed time")
    chosen: np.ndarray = fitting[np.linspace(0, len(fitting) - 1, SNIPPETS).round().astype(int)]
    return chosen


def _best_updates(
    x_SWF: torch.Tensor,
    mask_SW: torch.Tensor,
    y_S: torch.Tensor,
    learn: np.ndarray,
    held: np.ndarray,
    n_classes: int,
    seed: int,
) -> int:
    """Return the number of updates after which units that were held out are classified best."""
    best, number = -1.0, EVERY

    def look(done: int, model: LOLCAT) -> bool:
        nonlocal best, number
        predicted_S = _logits(model.eval(), x_SWF[held], mask_SW[held]).argmax(-1).numpy()
        model.train()
        value = primary(Predictions.of_classes(y_S[held].numpy(), predicted_S, n_classes))
        if value > best:
            best, number = value, done
        return done - number >= PATIENCE * EVERY

    fit_lolcat(x_SWF, mask_SW, y_S, learn, n_classes, seed, STEPS, look)
    return number


def _logits(model: LOLCAT, x_SWF: torch.Tensor, mask_SW: torch.Tensor) -> torch.Tensor:
    """Return ``(S, C)`` logits from all snippets of some units."""
    with torch.no_grad():
        logits_SC: torch.Tensor = model([x_SWF], [mask_SW]).logits_BC
    return logits_SC


def fit_lolcat(
    x_SWF: torch.Tensor,
    mask_SW: torch.Tensor,
    y_S: torch.Tensor,
    train: np.ndarray,
    n_classes: int,
    seed: int,
    updates: int,
    look: Callable[[int, LOLCAT], bool] | None = None,
) -> LOLCAT:
    """Return LOLCAT trained on some units, each class drawn as often, in evaluation mode.

    An update shows 32 snippets of each unit, drawn again every time; up to half of them are then left out.

    Args:
        x_SWF: ``(S, W, F)`` histograms of all units.
        mask_SW: ``(S, W)`` which snippets count.
        y_S: ``(S,)`` classes.
        train: units to learn from.
        n_classes: how many classes there are.
        seed: of weights, draws and dropout.
        updates: how many.
        look: called every 50 updates with their number and the model; training ends when it returns True.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LOLCAT(LOLCATConfig(n_features=[SCALE.bins], n_classes=n_classes))
        x_SWF, mask_SW, y_S = x_SWF[train], mask_SW[train], y_S[train]
        model.fit_scale([x_SWF], [mask_SW])
        weight_S = 1.0 / torch.bincount(y_S, minlength=n_classes).clamp(min=1)[y_S]
        drawn = (torch.multinomial(weight_S, min(BATCH, len(y_S))) for _ in range(updates))

        def loss(rows: torch.Tensor) -> torch.Tensor:
            order_BW = torch.rand(len(rows), SNIPPETS).masked_fill(~mask_SW[rows], -1.0).argsort(1, descending=True)
            shown_BW = order_BW[:, :SHOWN]
            x_BWF, mask_BW = x_SWF[rows[:, None], shown_BW], mask_SW[rows[:, None], shown_BW]
            found: torch.Tensor = model([x_BWF], [mask_BW], y_S[rows]).loss
            return found

        def after(done: int) -> bool:
            return look is not None and done % EVERY == 0 and look(done, model)

        optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
        run_updates(drawn, loss, optimizer, after=after)
        return model.eval()
