"""Page comparing finetuning runs: scores, pictures of predictions, and a map of neurons."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from finetune.current_results import digests
from finetune.finetune_settings import ReportSettings
from finetune.report import run_pictures as draw
from finetune.report.finetune_runs import Run, Target, difference, read_runs, targets_of
from finetune.report.neurons import FILE, read_neurons
from finetune.report.result_pictures import coverage_figure
from finetune.report.score_table import TITLES_OF, cell, sample_text
from finetune.report.task_titles import task_title
from finetune.result import Gain, Result
from foundation.common.files.locks import write_whole
from foundation.common.output.neuron_map import MapParts, neuron_map
from foundation.common.output.pages import html_template
from foundation.common.output.pictures import Picture
from foundation.common.output.printable import count
from foundation.common.output.progress import progress
from foundation.embedding.unit_map import Placed, neuron_table
from foundation.evaluation import CONTRACT_VERSION
from foundation.evaluation.coverage import CoveragePoint
from foundation.evaluation.metrics import CLASSES, TITLES, Predictions
from foundation.store import Catalog, Store
from foundation.version import __version__

log = logging.getLogger(__name__)


@dataclass
class TargetPart:
    """The part of the page on one target.

    Args:
        title, task: its name.
        head, table: readouts and controls, one column per run.
        pictures: of predictions.
        facts, notes: samples and split; warnings for readers.
    """

    title: str
    task: str
    head: list[str]
    table: list[list[str]]
    pictures: list[Picture] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def runs_page(settings: ReportSettings) -> Path:
    """Write one page comparing finetuning runs.

    Args:
        settings: the runs' folders, and the output; with a store, results of recordings no longer in it are left out.

    Returns:
        The HTML file.

    Raises:
        FoundationError: if a folder holds no current results.
        StoreError: if the store cannot be read.
    """
    recordings = digests(Catalog.open(Store(settings.store))) if settings.store else None
    runs = read_runs(settings.runs, recordings)
    targets = targets_of(runs)
    table, details = score_lines(runs, targets), []
    for target in progress(targets, "drawing", unit="target"):
        details.append(target_part(runs, target))
    text = html_template("finetune", "runs.html.j2").render(
        title=settings.title or heading(runs),
        summary=summary(runs, targets),
        runs=[run_facts(run) for run in runs],
        overview=overview_picture(runs, targets),
        head=score_head(runs),
        table=table,
        map=map_of(runs),
        tasks=[
            (task, [part for part in details if part.task == task]) for task in dict.fromkeys(p.task for p in details)
        ],
        left_out=[line for run in runs for line in left_out_lines(run)],
        contract=CONTRACT_VERSION,
        version=__version__,
    )
    write_whole(Path(settings.output), text)
    log.info("report: %s", settings.output)
    return Path(settings.output)


def heading(runs: Sequence[Run]) -> str:
    """Return the default heading of a page."""
    names = [run.name for run in runs]
    if len(names) > 3:
        return f"{len(names)} finetuning runs side by side"
    return f"Finetuning: {' and '.join(names)}" if len(names) < 3 else f"Finetuning: {', '.join(names)}"


def summary(runs: Sequence[Run], targets: Sequence[Target]) -> str:
    """Return sentences comparing each run with firing rates, and with the first run if there are several."""
    sentences = []
    for run in runs:
        results = [result for target in targets if (result := run.headline(target)) is not None]
        verdicts = [result.verdict for result in results]
        text = f"is better than plain firing rates on {verdicts.count('better')} of {count(len(results), 'target')}"
        sentences.append(f"{run.name} {text} and worse on {verdicts.count('worse')}")
    lines = ["; ".join(sentences) + "."]
    for run in runs[1:]:
        found = [difference(run, runs[0], target) for target in targets]
        gains = [gain for gain in found if isinstance(gain, Gain)]
        if gains:
            better, worse = (sum(gain.verdict == verdict for gain in gains) for verdict in ("better", "worse"))
            text = f"{run.name} beats {runs[0].name} on {better} of {count(len(gains), 'target')}"
            lines.append(f"{text} that both have and loses on {worse}.")
    return " ".join([*lines, "A difference counts where its 95 % interval excludes 0."])


def run_facts(run: Run) -> list[str]:
    """Return a run's line in the table of runs: name, folder, checkpoint, modes, targets, time."""
    results = run.current.results
    modes = ", ".join(dict.fromkeys(TITLES_OF[result.mode] for result in results))
    seconds = sum(result.seconds for result in results)
    recordings = len({identity for result in results for identity in result.recordings})
    shown = [run.checkpoint[:12], modes, str(len(run.by_target)), f"{recordings}", f"{seconds / 60:.1f} min"]
    return [run.name, *shown]


def left_out_lines(run: Run) -> list[list[str]]:
    """Return targets without results and results left out, each with its reason."""
    lines = [[run.name, f"{e.task} {e.target}".strip(), f"{'failed' if e.failed else 'left out'}: {e.reason}"]
             for e in run.current.left_out]  # fmt: skip
    return lines + [[run.name, place, f"stale: {reason}"] for place, reason in run.current.stale]


def score_head(runs: Sequence[Run]) -> list[str]:
    """Return the heading of the table of scores."""
    against = [f"{run.name} minus {runs[0].name}" for run in runs[1:]]
    return ["what is predicted", "metric", "firing rates", *(run.name for run in runs), *against]


def score_lines(runs: Sequence[Run], targets: Sequence[Target]) -> list[dict[str, Any]]:
    """Return the table of scores, task by task: the headline of each run, and paired differences to the first run."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for target in targets:
        results = [run.headline(target) for run in runs]
        first = next(result for result in results if result is not None)
        floors = [result.references["rate"] for result in results if result is not None]
        same = len({floor.metrics[first.metric] for floor in floors}) == 1
        cells = [{"text": cell(floors[0], first.metric) if same else "differ", "verdict": ""}]
        for result in results:
            text = "-" if result is None else f"{cell(result.score, result.metric)}"
            cells.append({"text": text, "verdict": "" if result is None else result.verdict})
        for run in runs[1:]:
            found = difference(run, runs[0], target)
            words = _gain_text(found) if isinstance(found, Gain) else "-"
            verdict, why = (found.verdict, "") if isinstance(found, Gain) else ("", found)
            cells.append({"text": words, "verdict": verdict, "why": why})
        line = {"title": first.title, "metric": TITLES[first.metric], "cells": cells}
        groups.setdefault(target[0], []).append(line)
    return [{"title": task_title(task), "rows": lines} for task, lines in groups.items()]


def _gain_text(gain: Gain) -> str:
    if gain.low is None or gain.high is None:
        return f"{gain.value:+.2f}, no interval"
    return f"{gain.value:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}]"


def overview_picture(runs: Sequence[Run], targets: Sequence[Target]) -> Picture:
    """Draw the score of each run at each target."""
    lines = []
    for target in targets:
        results = {k: result for k, run in enumerate(runs) if (result := run.headline(target)) is not None}
        first = next(iter(results.values()))
        scores = {k: result.score for k, result in results.items()}
        lines.append(
            draw.Line(first.title, first.kind, scores, first.references.get("rate"), first.references.get("shuffled"))
        )
    png = draw.overview(lines, [run.name for run in runs])
    alt = (
        f"Scores of {count(len(runs), 'run')} at {count(len(lines), 'target')} with 95 % intervals, beside firing "
        "rates and shuffled labels; the table below holds the numbers."
    )
    caption = "Points: the finetuned model, or the probe where nothing was finetuned, with 95 % intervals."
    return Picture(png, alt, caption)


def target_part(runs: Sequence[Run], target: Target) -> TargetPart:
    """Return the page part of one target: every readout of every run, and pictures of the headlines' predictions."""
    having = [run for run in runs if target in run.by_target]
    results = {run.name: run.headline(target) for run in having}
    first = next(result for result in results.values() if result is not None)
    facts = [("samples", sample_text(first)), ("metric", TITLES[first.metric]), ("split", first.split)]
    names = [name for name in TITLES_OF if any(name in run.by_target[target].scores for run in having)]
    table = []
    for name in names:
        scores = [run.by_target[target].scores.get(name) for run in having]
        table.append([TITLES_OF[name], *("-" if s is None else cell(s, first.metric) for s in scores)])
    for run in having:
        metrics = results[run.name].score.metrics  # type: ignore[union-attr]
        for name in ("degrees", "parent_accuracy"):
            if name in metrics:
                facts.append((f"{TITLES[name]}, {run.name}", f"{metrics[name]:.2f}"))
    notes = list(dict.fromkeys(note for result in results.values() if result is not None for note in result.notes))
    if len({tuple(sorted(result.recordings.items())) for result in results.values() if result is not None}) > 1:
        notes.insert(0, "the runs were scored on different recordings: their scores are not comparable")
    part = TargetPart(
        first.title,
        task_title(first.task),
        ["readout", *(run.name for run in having)],
        table,
        facts=facts,
        notes=notes,
    )
    try:
        part.pictures = pictures_of(having, target, first)
    except Exception as error:  # one failing picture must not stop the page
        log.warning("no picture of %s: %s: %s", first.target, type(error).__name__, error)
        part.notes.append(f"no picture: {type(error).__name__}")
    return part


def pictures_of(runs: Sequence[Run], target: Target, first: Result) -> list[Picture]:
    """Draw the predictions of the runs that have them: classes as matrices and bars, values as traces."""
    by_run = {run.name: p for run in runs if (p := run.predictions(target)) is not None}
    comparable = _same_samples(by_run)
    pictures = []
    if comparable and first.kind == CLASSES:
        pictures += _class_pictures(runs, target, first, comparable)
    elif comparable:
        samples = runs[0].samples(target, next(iter(comparable.values())))
        png = draw.traces(comparable, first.value_names, samples.get("time_S"))
        alt = f"True and decoded {first.title} over the first tested stretch, for {', '.join(comparable)}."
        pictures.append(Picture(png, alt, "True and decoded values over the first stretch of tested time"))
    pictures += _coverage_pictures(runs, target, first)
    curves = {run.name: r for run in runs if (r := run.by_target[target].finetuned) is not None and r.curve}
    if curves:
        floors = {name: result.references["rate"] for name, result in curves.items()}
        png = draw.label_curves(curves, floors, _training_parts(comparable, first))
        alt = f"{first.title}: score over the share of labelled trials, for {', '.join(curves)} and firing rates."
        pictures.append(Picture(png, alt, "With a share of the labelled trials; bars are 95 % intervals"))
    return pictures


def _coverage_pictures(runs: Sequence[Run], target: Target, first: Result) -> list[Picture]:
    """Draw accuracy over the share of units that are classified: of each run's model, and of the floors."""
    shown: dict[str, Sequence[CoveragePoint]] = {}
    for run in runs:
        for result in run.by_target[target].results.values():
            if result.mode in result.coverage:
                shown[f"{run.name}, {TITLES_OF[result.mode]}"] = result.coverage[result.mode]
            for name in ("rate", "statistics"):
                if name in result.coverage:
                    shown.setdefault(TITLES_OF[name], result.coverage[name])
    if not shown:
        return []
    alt = f"{first.title}: accuracy over the share of units classified, for {', '.join(shown)}."
    caption = "Accuracy of the units that a readout is most confident of; bands are 95 % intervals"
    return [Picture(coverage_figure(shown, first.title), alt, caption)]


def _class_pictures(
    runs: Sequence[Run], target: Target, first: Result, by_run: dict[str, Predictions]
) -> list[Picture]:
    classes = list(first.classes)
    pictures = []
    samples = next(run.samples(target, by_run[run.name]) for run in runs if run.name in by_run)
    if "time_S" in samples and first.part_name == "time blocks":
        shown = dict(by_run)
        for run in runs:  # scored beside the unsmoothed
            smoothed = run.predictions(target, "smoothed")
            if smoothed is not None and run.name in by_run and len(smoothed.y_S) == len(by_run[run.name].y_S):
                shown[f"{run.name}, smoothed"] = smoothed
        png = draw.hypnogram(shown, classes, samples["time_S"], samples["seconds_S"])
        alt = f"Hypnogram of {first.title}: true states over time, and those decoded by {', '.join(shown)}."
        pictures.append(Picture(png, alt, "Hypnogram: true states, and the states that each run decodes"))
    png = draw.confusions(by_run, classes)
    alt = f"Confusion matrices of {first.title} for {', '.join(by_run)}."
    pictures.append(Picture(png, alt, "Confusion matrices: counts of samples"))
    floor = next((p for run in runs if (p := run.predictions(target, "rate")) is not None), None)
    png = draw.class_bars(by_run, classes, floor)
    alt = f"Share of each class of {first.title} predicted correctly by {', '.join(by_run)}, beside firing rates."
    pictures.append(Picture(png, alt, "Share of each class predicted correctly; lines are 95 % intervals"))
    return pictures


def _same_samples(by_run: dict[str, Predictions]) -> dict[str, Predictions]:
    """Return predictions of the same samples as the first run's."""
    first = next(iter(by_run.values()), None)
    if first is None:
        return {}
    return {name: p for name, p in by_run.items() if np.array_equal(p.y_S, first.y_S)}


def _training_parts(by_run: dict[str, Predictions], first: Result) -> float:
    """Return the mean number of labelled parts (trials) in the training samples of a fold."""
    predictions = next(iter(by_run.values()), None)
    folds = 3 if predictions is None else len(np.unique(predictions.fold_S))
    return first.parts * (folds - 1) / folds


def map_of(runs: Sequence[Run]) -> MapParts | None:
    """Return the map of all labelled units of the runs; None without labelled units."""
    placed = []
    for run in runs:
        for target in run.by_target:
            folder = run.folder / target[0] / target[1]
            facts = read_neurons(folder / FILE, run.checkpoint)
            if facts is not None:
                placed.append(Placed(run.name, facts, _predicted(run, target, facts)))
    table = neuron_table(placed)
    return None if table is None else neuron_map(table)


def _predicted(run: Run, target: Target, facts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the run's headline prediction of each unit, by class name."""
    result, predictions = run.headline(target), run.predictions(target)
    if result is None or predictions is None or result.kind != CLASSES:
        return {}
    samples = run.samples(target, predictions)
    if "unit_S" not in samples:
        return {}
    classes = np.array(list(result.classes))
    predicted = dict(zip(zip(samples["recording_S"].tolist(), samples["unit_S"].tolist(), strict=True),
                         classes[predictions.predicted_S], strict=True))  # fmt: skip
    keys = zip(facts["recording_S"].tolist(), facts["unit_S"].tolist(), strict=True)
    return {task_title(target[0]).lower(): np.array([predicted.get(key, "") for key in keys], dtype=object)}
