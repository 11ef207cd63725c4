"""The report's parts that come before the scores: what was ingested, what it looks like, how pretraining went."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from finetune.current_results import Current
from finetune.report.result_pictures import activity_map, raster, read_metrics, training_curves, unit_map
from finetune.result import Result
from foundation.common.errors import CheckpointError
from foundation.common.output.pictures import Picture
from foundation.data.reading.reader import ActivityReader
from foundation.hub.checkpoints import read_beside
from foundation.store import Catalog

log = logging.getLogger(__name__)
TASK_TITLES = {
    "behavior": "Behaviour",
    "cell_type": "Cell type",
    "location": "Brain region",
    "sleep_state": "Sleep and wake",
}


@dataclass(frozen=True)
class Section:
    """A part of the report: words, a table, pictures.

    Args:
        title: its heading.
        text: paragraphs.
        head, table: header cells and rows of cells.
        pictures: shown below.
        folded: the table is hidden until it is asked for.
    """

    title: str
    text: list[str] = field(default_factory=list)
    head: list[str] = field(default_factory=list)
    table: list[list[str]] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    folded: bool = False


def left_out_sections(current: Current) -> list[Section]:
    """A table of what the report does not show: targets that failed, and results of other checkpoints or settings."""
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
    """A table of the recordings."""
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
    """A raster of the recording with most units, from the middle of its longest observed stretch."""
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
        # Fragments lie close together where trials do: show several rather than one alone.
        first = max(start, (start + end - seconds) / 2)
        spikes = recording.load().spikes
        assert spikes is not None  # of kind spikes
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
    """Curves from the metrics.jsonl beside the model; none for a model that comes without."""
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
            f" The embeddings use about {rank[-1, 1]:.1f} dimensions in effect (RankMe); "
            "a value near 1 would mean that they had collapsed."
        )
    alt = f"Line plots over training steps: the loss, and its terms and diagnostics, a plot per scale. {text}"
    return [Section("Pretraining", [text], pictures=[Picture(training_curves(columns), alt)])]


def maps_sections(folder: Path, results: list[Result]) -> list[Section]:
    """Where the frozen model puts units, coloured by their labels; of targets that have results."""
    pictures = []
    shown = {result.task: result.checkpoint for result in results}
    for task in ("cell_type", "location"):
        path = folder / task / "all" / "embeddings.npz"
        if task not in shown or not path.is_file():
            continue
        with np.load(path, allow_pickle=False) as stored:
            if "checkpoint" not in stored or str(stored["checkpoint"]) != shown[task]:
                continue
            z_SD, label_S = stored["z_SD"], stored["label_S"]
        png, share = unit_map(z_SD, label_S, TASK_TITLES[task])
        alt = (
            f"Scatter plot of {len(z_SD)} units on two principal components of their embeddings, "
            f"coloured by {TASK_TITLES[task].lower()}; the two components hold {share:.0%} of the variance."
        )
        pictures.append(Picture(png, alt))
    if not pictures:
        return []
    text = (
        "Each point is a unit, placed by the pretrained model without having seen a label. "
        "What lies close together is alike to the model. A flat picture of many dimensions hides more than it shows: "
        "the scores below are what counts."
    )
    return [Section("A map of the units", [text], pictures=pictures)]
