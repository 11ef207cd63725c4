"""One picture of a model and its results: a decoded course, a map of units, and scores beside firing rates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from finetune.report.result_pictures import draw_unit_map, read_embeddings
from finetune.report.score_table import Row
from finetune.result import Result, Score, read_predictions
from foundation.common.output.pictures import COLOURS, GRID, INK, Picture, drawing
from foundation.evaluation.metrics import VALUES, Predictions

BINS, TARGETS, PALETTE = 120, 9, 64
FLOOR = "#8C95A0"


def glance_picture(rows: Sequence[Row], folder: Path) -> Picture | None:
    """Draw up to three panels side by side.

    The first shows true and decoded values of the series that is decoded best, over the first tested time bins. The
    second shows units on two principal components of their frozen embeddings, by cell type or else by area. The third
    shows scores of frozen models beside firing rates, with 95 % intervals.

    Args:
        rows: targets with their results.
        folder: of the results, with predictions and embeddings beside them.

    Returns:
        The picture; None where there is nothing to draw.
    """
    course, units = _course(rows, folder), _units(rows, folder)
    scored = _chosen([row for row in rows if "rate" in row.scores and "probe" in row.scores])
    panels = [bool(course), bool(units), bool(scored)]
    if not any(panels):
        return None
    captions = []
    with drawing(3.7 * sum(panels), 3.1, dpi=120, text_size=9, tick_size=8, palette=PALETTE) as sheet:
        widths = [width for width, shown in zip((1.25, 1, 1), panels, strict=True) if shown]
        every = iter(sheet.figure.subplots(1, sum(panels), squeeze=False, width_ratios=widths)[0])
        if course:
            captions.append(_draw_course(next(every), *course))
        if units:
            z_SD, label_S, title = units
            axes = next(every)
            share = sum(draw_unit_map(axes, z_SD, label_S, size=14))
            axes.set_title(f"{len(z_SD)} units by {title}", fontsize=9, loc="left")
            axes.set_xlabel("principal components of embeddings")
            below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.09), "ncols": 3}
            axes.legend(frameon=False, fontsize=7, handletextpad=0.1, columnspacing=0.8, **below)
            axes.set_xticks([])
            axes.set_yticks([])
            captions.append(f"{len(z_SD)} units by {title} on two principal components ({share:.0%} of the variance)")
        if scored:
            _draw_scores(next(every), scored)
            captions.append(f"scores of {len(scored)} targets from firing rates and from the frozen model")
    return Picture(sheet.content, f"Panels: {'; '.join(captions)}.")


def _chosen(rows: Sequence[Row]) -> list[Row]:
    """Some of the targets: the first of each label, then the second of each, and so on, in their order."""
    seen: dict[tuple[str, str], int] = {}
    turn = []
    for row in rows:
        label = (row.first.task, row.first.target.split("-")[0])
        seen[label] = seen.get(label, -1) + 1
        turn.append(seen[label])
    taken = sorted(np.argsort(turn, kind="stable")[:TARGETS].tolist())
    return [rows[k] for k in taken]


def _course(rows: Sequence[Row], folder: Path) -> tuple[Result, Predictions] | None:
    """The series that a model decodes best, and its predictions."""
    results = [result for row in rows for result in row.results.values() if result.kind == VALUES]
    for result in sorted(results, key=lambda result: -result.score.metrics[result.metric]):
        found = read_predictions(folder / result.task / result.target / f"{result.mode}.npz", result.key)
        if found is not None:
            return result, found
    return None


def _units(rows: Sequence[Row], folder: Path) -> tuple[np.ndarray, np.ndarray, str] | None:
    """Embeddings of units with their labels, and what the labels are."""
    for task, title in (("cell_type", "cell type"), ("location", "area")):
        checkpoints = {row.first.checkpoint for row in rows if row.first.task == task}
        found = read_embeddings(folder, task, checkpoints.pop()) if checkpoints else None
        if found is not None:
            return *found, title
    return None


def _draw_course(axes: Axes, result: Result, predictions: Predictions) -> str:
    shown = np.flatnonzero(predictions.fold_S == predictions.fold_S[0])[:BINS]
    axes.plot(predictions.y_S[shown, 0], color=INK, lw=1.2, label="measured")
    axes.plot(predictions.predicted_S[shown, 0], color=COLOURS[1], lw=1.2, label="decoded")
    name = result.value_names[0] if result.value_names else result.title
    axes.set_title(result.title, fontsize=9, loc="left")
    axes.set_ylabel(name)
    axes.set_xlabel("time bin")
    axes.grid(color=GRID, lw=0.5)
    axes.legend(frameon=False, fontsize=7, ncols=2, loc="upper right")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.15 * (high - low))
    return f"{result.title} as measured and as decoded"


def _draw_scores(axes: Axes, rows: Sequence[Row]) -> None:
    for name, colour, marker, shift in (("rate", FLOOR, "s", -0.15), ("probe", COLOURS[0], "o", 0.15)):
        places = np.arange(len(rows)) + shift
        scores = [row.scores[name] for row in rows]
        values = np.array([score.metrics[row.first.metric] for score, row in zip(scores, rows, strict=True)])
        ends = np.array([_ends(score, value) for score, value in zip(scores, values, strict=True)]).T
        label = "firing rates" if name == "rate" else "frozen model"
        axes.errorbar(
            np.maximum(values, 0), places, xerr=np.abs(np.maximum(ends, 0) - np.maximum(values, 0)), fmt=marker,
            color=colour, ms=4, lw=1.2, label=label,
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [row.first.title for row in rows], fontsize=7)
    axes.set_ylim(len(rows) - 0.4, -1.3)
    axes.set_xlim(0, 1.02)
    axes.set_title("scores with 95 % intervals", fontsize=9, loc="left")
    axes.set_xlabel("R² or balanced accuracy")
    axes.grid(axis="x", color=GRID, lw=0.5)
    axes.legend(frameon=False, fontsize=7, ncols=2, loc="upper left", handletextpad=0.1)


def _ends(score: Score, value: float) -> tuple[float, float]:
    return (value if score.low is None else score.low, value if score.high is None else score.high)
