"""The report: one HTML file that needs nothing beside it."""

from __future__ import annotations

import logging
from pathlib import Path

from finetune.current_results import digests, read_current
from finetune.finetune_settings import ReportSettings
from finetune.report.report_sections import (
    TASK_TITLES,
    Section,
    activity_sections,
    ingested_section,
    left_out_sections,
    maps_sections,
    pretraining_sections,
)
from finetune.report.result_pictures import target_figure
from finetune.report.score_table import COLUMNS, Row, cell, gain_text, rows, sample_text
from finetune.result import Result, read_predictions
from foundation.common.errors import CheckpointError, FoundationError
from foundation.common.files.locks import write_whole
from foundation.common.output.pages import html_template
from foundation.common.output.pictures import Picture
from foundation.common.output.progress import progress
from foundation.evaluation import CONTRACT_VERSION
from foundation.evaluation.metrics import TITLES
from foundation.hub.checkpoints import checkpoint_digest
from foundation.store import Catalog, Store
from foundation.version import __version__

log = logging.getLogger(__name__)


def report(settings: ReportSettings) -> Path:
    """Write the report of a store, a pretrained model and its results.

    Args:
        settings: where they are, and what to write.

    Returns:
        The HTML file.

    Raises:
        StoreError: if the store cannot be read.
        FoundationError: if there are no results of this checkpoint, or none that is current.
    """
    catalog = Catalog.open(Store(settings.store))
    checkpoint = _digest(settings.checkpoint)
    current = read_current(settings.results, checkpoint, digests(catalog))
    for place, reason in current.stale:
        log.warning("%s is left out: it is %s", place, reason)
    sections = [
        *left_out_sections(current),
        ingested_section(catalog),
        *activity_sections(catalog, settings.raster_seconds),
        *pretraining_sections(settings.checkpoint),
        *maps_sections(Path(settings.results), current.results),
    ]
    path = write_report(current.results, settings.output, sections, folder=settings.results, title=settings.title)
    log.info("report: %s", path)
    return path


def _digest(checkpoint: str) -> str | None:
    """The digest of a checkpoint; None with a warning if it cannot be read, and its results can still be shown."""
    try:
        return checkpoint_digest(checkpoint)
    except CheckpointError as error:
        log.warning("results are not compared with the checkpoint: %s", error)
        return None


def write_report(
    results: list[Result],
    path: str | Path,
    sections: list[Section] | None = None,
    *,
    folder: str | Path | None = None,
    title: str = "Neural population foundation model",
) -> Path:
    """Write scores, tasks and other sections as one HTML file, whole or not at all.

    Args:
        results: what to show.
        path: the file.
        sections: what comes before the scores.
        folder: of the results, for the pictures of their predictions.
        title: heading.

    Returns:
        The file.

    Raises:
        FoundationError: if the results are of several checkpoints.
    """
    checkpoints = {result.checkpoint[:12] for result in results}
    if len(checkpoints) > 1:
        raise FoundationError(f"results are of checkpoints {', '.join(sorted(checkpoints))}: a report is of one")
    made = rows(results)
    columns = [name for name in COLUMNS if any(name in row.scores for row in made)]
    text = html_template("finetune", "report.html.j2").render(
        title=title,
        summary=summary(made),
        sections=sections or [],
        columns=[COLUMNS[name] for name in columns],
        groups=_groups(made, columns),
        tasks=_tasks(made, Path(folder) if folder is not None else None),
        checkpoint=next(iter(checkpoints), ""),
        contract=CONTRACT_VERSION,
        version=__version__,
    )
    write_whole(Path(path), text)
    return Path(path)


def summary(made: list[Row]) -> str:
    """One sentence on where the model stands against plain firing rates.

    The finetuned model counts where there is one, otherwise the probe: not whichever happened to do better.
    """
    counts = {"better": 0, "equal": 0, "worse": 0}
    for row in made:
        counts[(row.results.get("full") or row.first).verdict] += 1
    judged = "the finetuned model" if any("full" in row.results for row in made) else "the probe of the frozen model"
    return (
        f"Of {len(made)} decoding target{'s' if len(made) != 1 else ''}, {judged} is better than plain firing rates on "
        f"{counts['better']} and worse on {counts['worse']}; on {counts['equal']} the difference is not clear "
        "(95 % intervals)."
    )


def _groups(made: list[Row], columns: list[str]) -> list[dict]:
    groups: dict[str, list[dict]] = {}
    for row in made:
        first = row.first
        cells = [
            {"text": cell(row.scores[n], first.metric) if n in row.scores else "-", "best": n == row.best}
            for n in columns
        ]
        line = {"title": first.title, "metric": TITLES[first.metric], "samples": sample_text(first), "cells": cells}
        groups.setdefault(first.task, []).append(line)
    return [{"title": TASK_TITLES.get(task, task), "rows": lines} for task, lines in groups.items()]


def _tasks(made: list[Row], folder: Path | None) -> list[dict]:
    tasks: dict[str, list[dict]] = {}
    for row in progress(made, "drawing", unit="picture"):
        shown = row.results.get("full") or row.first
        notes = list(shown.notes)
        if row.scores["rate"].detail:
            notes.append(f"firing rates: {row.scores['rate'].detail}")
        target = {
            "title": shown.title,
            "gains": [(COLUMNS[mode], result.verdict, gain_text(result)) for mode, result in row.results.items()],
            "facts": _facts(shown),
            "notes": notes,
            "picture": _picture(shown, folder, notes),
        }
        tasks.setdefault(shown.task, []).append(target)
    return [{"title": TASK_TITLES.get(task, task), "targets": targets} for task, targets in tasks.items()]


def _facts(result: Result) -> list[tuple[str, str]]:
    others = ", ".join(
        f"{TITLES[name]} {value:.2f}"
        for name, value in result.score.metrics.items()
        if name in TITLES and name != result.metric
    )
    facts = [
        ("samples", f"{sample_text(result)}, {result.subjects} animal{'s' if result.subjects != 1 else ''}"),
        ("split", result.split),
        ("interval", result.interval),
        ("readout", result.readout),
        ("shuffled labels", result.references["shuffled"].detail),
    ]
    if result.classes:
        facts.insert(1, ("classes", ", ".join(f"{name} {n:,}" for name, n in result.classes.items())))
    else:
        facts.insert(1, ("values", ", ".join(result.value_names)))
    if others:
        facts.append((f"other metrics, {COLUMNS[result.mode]}", others))
    facts.append(("time", f"{result.seconds:.0f} s"))
    return facts


def _picture(result: Result, folder: Path | None, notes: list[str]) -> Picture | None:
    """The picture of a result; none, with a note, if it cannot be drawn."""
    if folder is None:
        return None
    predictions = read_predictions(folder / result.task / result.target / f"{result.mode}.npz", result.key)
    if predictions is None:
        return None
    try:
        png = target_figure(result, predictions)
    except Exception as error:  # the report is more than one picture
        log.warning("no picture of %s %s: %s: %s", result.target, result.mode, type(error).__name__, error)
        notes.append(f"no picture: {type(error).__name__}")
        return None
    score = cell(result.score, result.metric)
    what = "Confusion matrix" if result.classes else "Predicted against true values"
    alt = f"{what} of {result.title}, {COLUMNS[result.mode]}: {TITLES[result.metric]} {score}."
    return Picture(png, alt, f"{what}, {COLUMNS[result.mode]}: {score}")
