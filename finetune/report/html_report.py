"""The report: one self-contained HTML file.

Sections on ingested data, activity and pretraining come first, then the scores.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from finetune.current_results import Current, digests, read_current
from finetune.finetune_settings import ReportSettings
from finetune.report.glance_picture import glance_picture
from finetune.report.result_pictures import (
    activity_map,
    raster,
    read_embeddings,
    read_metrics,
    training_curves,
    unit_map,
)
from finetune.report.score_table import (
    COLUMNS,
    CONTROLS,
    TITLES_OF,
    Row,
    cell,
    gain_of_both_text,
    gain_text,
    names_in,
    rows,
    sample_text,
)
from finetune.report.target_details import coverage_picture, curve_picture, readout_lines, result_picture, target_facts
from finetune.report.task_titles import task_title
from finetune.result import Result
from foundation.common.errors import CheckpointError, ConfigError, FoundationError
from foundation.common.files.locks import write_whole
from foundation.common.output.pages import html_template
from foundation.common.output.pictures import Picture
from foundation.common.output.progress import progress
from foundation.data.reading.reader import ActivityReader
from foundation.evaluation import CONTRACT_VERSION
from foundation.evaluation.metrics import TITLES
from foundation.hub.checkpoints import checkpoint_digest, read_beside
from foundation.store import Catalog, Store
from foundation.version import __version__

log = logging.getLogger(__name__)
TITLE = "Neural population foundation model"


@dataclass(frozen=True)
class Section:
    """A part of the report: words, a table, pictures.

    Args:
        title: its heading.
        text: paragraphs.
        head, table: header cells and rows of cells.
        pictures: shown below.
        folded: the table is collapsed at first.
    """

    title: str
    text: list[str] = field(default_factory=list)
    head: list[str] = field(default_factory=list)
    table: list[list[str]] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    folded: bool = False


def left_out_sections(current: Current) -> list[Section]:
    """Return a table of omissions: failed targets, and results of other checkpoints or settings."""
    lines = [[place, f"stale: {reason}"] for place, reason in current.stale]
    lines += [
        [f"{e.task} {e.target}".strip(), f"{'failed' if e.failed else 'left out'}: {e.reason}"]
        for e in current.left_out
    ]
    if not lines:
        return []
    text = f"{len(lines)} result{'s' if len(lines) != 1 else ''} or targets that this report does not show."
    return [Section("Not shown", [text], ["what", "why"], lines)]


def ingested_section(catalog: Catalog) -> Section:
    """Return a table of the recordings."""
    records = catalog.records
    head = ["animal", "session", "kind", "units", "spikes", "hours", "labels", "file"]
    lines = [
        [
            r.subject,
            r.session,
            r.kind,
            f"{r.n_units:,}",
            f"{r.n_spikes:,}",
            f"{r.duration / 3600:.2f}",
            ", ".join(label for label in r.labels if not label.startswith("trials.") or label == "trials.direction"),
            r.path,
        ]
        for r in records
    ]
    units, spikes = sum(r.n_units for r in records), sum(r.n_spikes for r in records)
    hours = sum(r.duration for r in records) / 3600
    animals = len({r.subject for r in records})
    text = (
        f"{len(records)} recordings of {animals} animals: {units:,} units, {spikes:,} spikes, "
        f"{hours:,.1f} hours of observed time."
    )
    return Section("What was ingested", [text], head, lines, folded=len(lines) > 8)


def activity_sections(catalog: Catalog, seconds: float) -> list[Section]:
    """Return a raster of the recording with most units, from the middle of its longest observed stretch."""
    spiking = [r for r in catalog if r.kind == "spikes"]
    candidates = spiking or list(catalog)
    if not candidates:
        return []
    recording = max(candidates, key=lambda r: (r.n_units, r.id))
    domain = recording.domain.union()
    longest = int(np.argmax(domain.end - domain.start))
    name = f"{recording.record.subject} {recording.session}".strip()
    start, end = float(domain.start[longest]), float(domain.end[longest])
    if spiking:
        # Show several fragments if trials are close together.
        first = max(start, (start + end - seconds) / 2)
        spikes = recording.load().spikes
        assert spikes is not None  # recording of kind spikes
        trains = [spikes.train(n) for n in range(spikes.n_units)]
        times = [t[(t >= first) & (t < first + seconds)] for t in trains]
        count = sum(len(t) for t in times)
        alt = f"Raster of {len(times)} units over {seconds:g} s of {name}: {count:,} spikes, a row per unit."
        picture = Picture(raster(times, first, seconds), alt, f"{name}: {len(times)} units, {count:,} spikes")
    else:
        n_bins = min(600, int((end - start) / recording.resolution))
        reader = ActivityReader(recording)
        x_NT = reader.read(reader.table([start], n_bins, recording.resolution), dtype=torch.float32).x_BNT[0].numpy()
        alt = f"Activity of {len(x_NT)} units of {name} over {n_bins * recording.resolution:g} s, a row per unit."
        picture = Picture(activity_map(x_NT, recording.resolution, recording.kind), alt, name)
    return [
        Section(
            "A look at the activity", ["Each row is a unit, each tick a spike."] * bool(spiking), pictures=[picture]
        )
    ]


def pretraining_sections(checkpoint: str) -> list[Section]:
    """Return curves from the metrics.jsonl beside the model; none without that file."""
    try:
        text = read_beside(checkpoint, "metrics.jsonl")
    except CheckpointError as error:
        log.warning("no pretraining curves: %s", error)
        return []
    if text is None:
        return []
    columns = read_metrics(text)
    if "loss" not in columns:
        return []
    (first, begin), (last, end) = columns["loss"][0], columns["loss"][-1]
    text = f"Loss {begin:.3g} at step {first:.0f}, {end:.3g} at step {last:.0f}."
    rank = columns.get("rankme")
    if rank is not None:
        text += (
            f" The embeddings use about {rank[-1, 1]:.1f} effective dimensions (RankMe); "
            "a value near 1 would mean that they had collapsed."
        )
    alt = f"Line plots over training steps: the loss, and its terms and diagnostics, a plot per scale. {text}"
    return [Section("Pretraining", [text], pictures=[Picture(training_curves(columns), alt)])]


def maps_sections(folder: Path, results: list[Result]) -> list[Section]:
    """Return maps of units in the frozen model's embedding, coloured by label."""
    pictures = []
    shown = {result.task: result.checkpoint for result in results}
    for task in ("cell_type", "location"):
        found = read_embeddings(folder, task, shown[task]) if task in shown else None
        if found is None:
            continue
        z_SD, label_S = found
        png, share = unit_map(z_SD, label_S, task_title(task))
        alt = (
            f"Scatter plot of {len(z_SD)} units on two principal components of their embeddings, "
            f"coloured by {task_title(task).lower()}; the two components hold {share:.0%} of the variance."
        )
        pictures.append(Picture(png, alt))
    if not pictures:
        return []
    text = (
        "Each point is a unit, placed by the pretrained model without any labels. "
        "Units close together are similar to the model. Two dimensions hide most of the structure: "
        "rely on the scores below."
    )
    return [Section("A map of the units", [text], pictures=pictures)]


def report(settings: ReportSettings) -> Path:
    """Write the report of a store, a pretrained model and its results, or of several finetuning runs side by side.

    Args:
        settings: input folders and output; with ``runs``, see `finetune.report.runs_page`.

    Returns:
        The HTML file.

    Raises:
        StoreError: if the store cannot be read.
        FoundationError: if there are no current results of this checkpoint.
    """
    if settings.runs:
        from finetune.report.runs_page import runs_page

        return runs_page(settings)
    assert settings.store is not None  # as the settings check
    assert settings.checkpoint is not None
    assert settings.results is not None
    catalog = Catalog.open(Store(settings.store))
    checkpoint = _digest(settings.checkpoint)
    current = read_current(settings.results, checkpoint, digests(catalog))
    for place, reason in current.stale:
        log.warning("%s is left out: it is %s", place, reason)
    glance = glance_picture(rows(current.results), Path(settings.results))
    if settings.picture is not None:
        if glance is None:
            raise ConfigError(f"picture is {settings.picture!r} and no result in {settings.results} can be drawn")
        write_whole(Path(settings.picture), glance.png)
    sections = [
        *([Section("At a glance", pictures=[glance])] if glance is not None else []),
        *left_out_sections(current),
        ingested_section(catalog),
        *activity_sections(catalog, settings.raster_seconds),
        *pretraining_sections(settings.checkpoint),
        *maps_sections(Path(settings.results), current.results),
    ]
    path = write_report(
        current.results, settings.output, sections, folder=settings.results, title=settings.title or TITLE
    )
    log.info("report: %s", path)
    return path


def _digest(checkpoint: str) -> str | None:
    """Return the digest of a checkpoint; warn and return None if it is unreadable, so that results are still shown."""
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
    title: str = TITLE,
) -> Path:
    """Write scores, tasks and other sections as one HTML file, atomically.

    Args:
        results: the results to show.
        path: the file.
        sections: sections before the scores.
        folder: of the results, for the pictures of their predictions.
        title: heading.

    Returns:
        The file.

    Raises:
        FoundationError: if the results come from several checkpoints.
    """
    checkpoints = {result.checkpoint[:12] for result in results}
    if len(checkpoints) > 1:
        raise FoundationError(f"results come from checkpoints {', '.join(sorted(checkpoints))}: expected one")
    made = rows(results)
    tables = [(names, _groups(made, names)) for names in (names_in(made, COLUMNS), names_in(made, CONTROLS))]
    text = html_template("finetune", "report.html.j2").render(
        title=title,
        summary=summary(made),
        sections=sections or [],
        tables=[{"columns": [TITLES_OF[name] for name in names], "groups": groups} for names, groups in tables],
        tasks=_tasks(made, Path(folder) if folder is not None else None),
        checkpoint=next(iter(checkpoints), ""),
        contract=CONTRACT_VERSION,
        version=__version__,
    )
    write_whole(Path(path), text)
    return Path(path)


def summary(made: list[Row]) -> str:
    """Return one sentence comparing the model with plain firing rates.

    The finetuned model is compared if there is one, otherwise the probe; not the better of the two.
    """
    counts = {"better": 0, "equal": 0, "worse": 0}
    for row in made:
        counts[row.headline.verdict] += 1
    judged = (
        "the finetuned model" if any(row.finetuned is not None for row in made) else "the probe of the frozen model"
    )
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
    return [{"title": task_title(task), "rows": lines} for task, lines in groups.items()]


def _tasks(made: list[Row], folder: Path | None) -> list[dict]:
    tasks: dict[str, list[dict]] = {}
    for row in progress(made, "drawing", unit="picture"):
        shown = row.headline
        notes = list(shown.notes)
        target = {
            "title": shown.title,
            "gains": [
                *((TITLES_OF[mode], result.verdict, gain_text(result)) for mode, result in row.results.items()),
                (TITLES_OF["both"], shown.verdict_both, gain_of_both_text(shown)),
            ],
            "readouts": readout_lines(row),
            "facts": target_facts(shown),
            "notes": notes,
            "pictures": [
                p
                for p in (result_picture(shown, folder, notes), curve_picture(row), coverage_picture(row))
                if p is not None
            ],
        }
        tasks.setdefault(shown.task, []).append(target)
    return [{"title": task_title(task), "targets": targets} for task, targets in tasks.items()]
