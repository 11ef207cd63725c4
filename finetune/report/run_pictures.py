"""Pictures comparing finetuning runs, as PNG bytes: one colour and marker a run, firing rates in grey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from finetune.result import Result, Score
from foundation.common.output.pictures import BLUES, COLOURS, GRID, INK, MARKERS, drawing
from foundation.evaluation.confidence_intervals import recall_intervals
from foundation.evaluation.metrics import CLASSES, TITLES, Predictions, sums

FLOOR = "#7A828C"
PALETTE = 96
FEWEST_SCORE = -0.25  # lower end of the score axis; lower scores are drawn there
MAX_SAMPLES = 160  # of a trace


@dataclass(frozen=True)
class Line:
    """One target of the overview.

    Args:
        title: of the target.
        kind: ``classes`` or ``values``.
        scores: run -> its score, by the place of the run.
        floor: of firing rates.
        control: of shuffled labels.
    """

    title: str
    kind: str
    scores: dict[int, Score]
    floor: Score | None
    control: Score | None


def overview(lines: Sequence[Line], names: Sequence[str]) -> bytes:
    """Draw the score of every run at every target, with firing rates and shuffled labels.

    Args:
        lines: targets.
        names: of the runs.
    """
    kinds = [kind for kind in (CLASSES, "values") if any(line.kind == kind for line in lines)]
    sizes = [sum(line.kind == kind for line in lines) for kind in kinds]
    height = 1.0 + 0.75 * len(kinds) + sum(sizes) * (0.26 + 0.1 * len(names))
    with drawing(8.4, height, palette=PALETTE) as sheet:
        panels = sheet.figure.subplots(len(kinds), 1, squeeze=False, height_ratios=[n + 0.6 for n in sizes])[:, 0]
        for axes, kind in zip(panels, kinds, strict=True):
            shown = [line for line in lines if line.kind == kind]
            _overview_panel(axes, shown, kind, names)
        handles, labels = panels[0].get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        sheet.figure.legend(unique.values(), unique, loc="outside upper left", ncols=4, frameon=False, fontsize=9)
    return sheet.content


def _overview_panel(axes: Axes, lines: Sequence[Line], kind: str, names: Sequence[str]) -> None:
    metric = "balanced_accuracy" if kind == CLASSES else "r2"
    low = 0.0 if kind == CLASSES else FEWEST_SCORE
    for k, line in enumerate(lines):
        if line.control is not None and line.control.low is not None and line.control.high is not None:
            left, right = max(line.control.low, low), max(line.control.high, low)
            label = "shuffled labels"
            axes.barh(k, right - left, left=left, height=0.8, color="#ECEEF1", label=label, zorder=0)
        if line.floor is not None:
            value = max(line.floor.metrics[metric], low)
            axes.plot([value, value], [k - 0.4, k + 0.4], color=FLOOR, lw=2.2, label="firing rates", zorder=1)
        for run, score in line.scores.items():
            at = k + 0.62 * ((run + 0.5) / len(names) - 0.5)
            value = score.metrics[metric]
            colour = COLOURS[run % 8]
            if score.low is not None and score.high is not None:
                ends = [max(score.low, low), max(score.high, low)]
                axes.plot(ends, [at, at], color=colour, lw=1.4, zorder=2, solid_capstyle="butt")
            marker = "<" if value < low else MARKERS[run % len(MARKERS)]
            axes.plot(max(value, low), at, marker, color=colour, ms=6, mec="white", mew=0.6, label=names[run], zorder=3)
    axes.set_yticks(range(len(lines)), [line.title for line in lines], fontsize=9)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlim(low, 1.0)
    axes.set_xlabel(TITLES[metric])
    axes.grid(axis="x", color=GRID, lw=0.5, zorder=-1)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def confusions(by_run: Mapping[str, Predictions], classes: Sequence[str]) -> bytes:
    """Draw a confusion matrix for each run: the share of each true class that was predicted as each.

    Args:
        by_run: run -> predictions.
        classes: names of the classes.
    """
    n_columns = min(len(by_run), 3 if len(classes) <= 8 else 2)
    n_rows = -(-len(by_run) // n_columns)
    size = min(4.2, (6.6 / n_columns), 1.1 + 0.26 * len(classes))
    with drawing(n_columns * size + 1.7, n_rows * (size + 0.25) + 0.55, palette=PALETTE) as sheet:
        every = sheet.figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
        for axes, (name, predictions) in zip(every.ravel(), by_run.items(), strict=False):
            counts_CC = sums(predictions).sum(axis=0)
            share_CC = counts_CC / np.maximum(counts_CC.sum(axis=1, keepdims=True), 1)
            shown = axes.imshow(share_CC, vmin=0, vmax=1, cmap=BLUES)
            for i, j in zip(*np.nonzero(counts_CC), strict=True):
                if len(classes) <= 10:
                    colour = "white" if share_CC[i, j] > 0.45 else INK
                    axes.text(j, i, f"{counts_CC[i, j]:,}", ha="center", va="center", color=colour, fontsize=7)
            axes.set_xticks(range(len(classes)), [_short(name) for name in classes], rotation=45, ha="right")
            axes.set_yticks(range(len(classes)), [_short(name) for name in classes])
            axes.set_title(name, fontsize=10, loc="left")
            axes.tick_params(length=0)
        for axes in every.ravel()[len(by_run) :]:
            axes.remove()
        for axes in every[:, 0]:
            axes.set_ylabel("true")
        for axes in every[-1]:
            axes.set_xlabel("predicted")
        bar = sheet.figure.colorbar(shown, ax=every, fraction=0.046, shrink=0.9, aspect=30)
        bar.set_label("share of the true class")
        bar.outline.set_visible(False)
    return sheet.content


def class_bars(by_run: Mapping[str, Predictions], classes: Sequence[str], floor: Predictions | None) -> bytes:
    """Draw the share of each class that each run predicts rightly, with 95 % intervals, beside firing rates.

    Args:
        by_run: run -> predictions.
        classes: names of the classes.
        floor: of firing rates, if available.
    """
    rows = ({"firing rates": floor} if floor is not None else {}) | dict(by_run)
    width = 0.8 / len(rows)
    names = list(by_run)
    with drawing(min(8.4, 2.4 + len(classes) * (0.35 + 0.2 * len(rows))), 2.9, palette=PALETTE) as sheet:
        axes = sheet.figure.add_subplot()
        for k, (name, predictions) in enumerate(rows.items()):
            recall_C, limits_C2 = recall_intervals(predictions, 1000, 0)
            at = np.arange(len(classes)) + width * (k - (len(rows) - 1) / 2)
            colour = COLOURS[names.index(name) % 8] if name in by_run else "#B4BAC2"
            axes.bar(at, np.nan_to_num(recall_C), 0.92 * width, color=colour, label=name)
            bars = np.nan_to_num(np.abs(limits_C2.T - recall_C))
            axes.errorbar(at, np.nan_to_num(recall_C), bars, fmt="none", ecolor=INK, elinewidth=0.9, capsize=0)
        axes.axhline(1 / len(classes), color=INK, lw=0.8, ls=":")
        axes.text(1.0, 1 / len(classes), " chance", fontsize=8, va="center", transform=axes.get_yaxis_transform())
        turned = len(classes) > 6
        looks: dict[str, Any] = {"rotation": 35, "ha": "right"} if turned else {}
        axes.set_xticks(range(len(classes)), [_short(name) for name in classes], **looks)
        axes.set_ylim(0, 1)
        axes.set_ylabel("share predicted correctly")
        axes.tick_params(axis="x", length=0)
        sheet.figure.legend(loc="outside upper left", ncols=4, frameon=False, fontsize=8)
    return sheet.content


def traces(by_run: Mapping[str, Predictions], value_names: Sequence[str], time_S: np.ndarray | None) -> bytes:
    """Draw true and decoded values over the first tested stretch of time, a panel a dimension.

    Args:
        by_run: run -> predictions of the same samples.
        value_names: of the dimensions, with their unit.
        time_S: seconds of each sample; None: samples are counted.
    """
    first = next(iter(by_run.values()))
    shown = np.flatnonzero(first.fold_S == first.fold_S[0])[:MAX_SAMPLES]
    if time_S is not None:
        shown = shown[np.argsort(time_S[shown], kind="stable")]
    x = np.arange(len(shown), dtype=float) if time_S is None else time_S[shown] - time_S[shown[0]]
    breaks = np.flatnonzero(np.diff(x) > 1.5 * np.median(np.diff(x))) + 1 if len(x) > 2 else np.empty(0, dtype=int)
    n_dims = first.y_S.shape[1]
    if time_S is not None and len(breaks):  # leave out untested time
        x = np.arange(len(x)) * float(np.median(np.diff(x)))
    with drawing(8.4, 0.5 + 1.7 * n_dims, palette=PALETTE) as sheet:
        panels = sheet.figure.subplots(n_dims, 1, squeeze=False, sharex=True)[:, 0]
        for k, axes in enumerate(panels):
            axes.plot(*_broken(x, first.y_S[shown, k], breaks), color=INK, lw=1.8, label="true")
            for run, (name, predictions) in enumerate(by_run.items()):
                style = {"color": COLOURS[run % 8], "lw": 1.2, "ls": ("-", "--", "-.", ":")[run % 4]}
                axes.plot(*_broken(x, predictions.predicted_S[shown, k], breaks), label=name, **style)
            for at in breaks:
                axes.axvline((x[at] + x[at - 1]) / 2, color=GRID, lw=0.7, zorder=0)
            axes.set_ylabel(value_names[k] if k < len(value_names) else f"dimension {k}", fontsize=9)
            axes.margins(x=0.01)
        unit = "time bin" if time_S is None else "tested time (s)"
        panels[-1].set_xlabel(f"{unit}; lines separate trials or gaps" if len(breaks) else unit)
        handles, labels = panels[0].get_legend_handles_labels()
        sheet.figure.legend(handles, labels, loc="outside upper left", ncols=5, frameon=False, fontsize=9)
    return sheet.content


def _broken(x: np.ndarray, y: np.ndarray, breaks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A line with gaps at breaks."""
    return np.insert(x, breaks, np.nan), np.insert(y.astype(float), breaks, np.nan)


def hypnogram(
    by_run: Mapping[str, Predictions], classes: Sequence[str], time_S: np.ndarray, seconds_S: np.ndarray
) -> bytes:
    """Draw the true states over time as steps, and below them a band of decoded states for each run.

    Args:
        by_run: run -> predictions of the same samples; a readout that is smoothed over time may be a run of
            its own.
        classes: names of the states.
        time_S, seconds_S: middle and length of each sample.
    """
    first = next(iter(by_run.values()))
    order = np.argsort(time_S, kind="stable")
    start_h, hours = (time_S - seconds_S / 2)[order] / 3600, seconds_S[order] / 3600
    span = float(start_h[-1] + hours[-1] - start_h[0])
    spread = hours.sum() < 0.6 * span  # for a longer session, leave out undecoded time
    if spread:
        start_h = np.cumsum(hours) - hours
    ranked = sorted(range(len(classes)), key=lambda c: _depth(classes[c]))
    level = np.empty(len(classes))
    level[ranked] = np.arange(len(classes))[::-1]
    colours = [COLOURS[k % 8] for k in range(len(classes))]
    with drawing(8.4, 1.5 + 0.3 * len(classes) + 0.42 * len(by_run), palette=PALETTE) as sheet:
        ratios = [0.8 + 0.3 * len(classes), *([0.42] * len(by_run))]
        panels = sheet.figure.subplots(len(by_run) + 1, 1, sharex=True, height_ratios=ratios)
        y = first.y_S[order]
        panels[0].plot(*_steps(start_h, hours, level[y]), color=FLOOR, lw=0.8, zorder=1)
        for c in range(len(classes)):
            here = y == c
            panels[0].hlines(level[y[here]], start_h[here], (start_h + hours)[here], color=colours[c], lw=5)
        panels[0].set_yticks(level, classes)
        panels[0].set_ylim(-0.6, len(classes) - 0.4)
        panels[0].set_title("true", fontsize=9, loc="left")
        for axes, (name, predictions) in zip(panels[1:], by_run.items(), strict=True):
            guessed = predictions.predicted_S[order]
            for c in range(len(classes)):
                here = guessed == c
                axes.broken_barh(list(zip(start_h[here], hours[here], strict=True)), (0, 1), color=colours[c], lw=0)
            right = float((guessed == y).mean())
            axes.set_yticks([])
            axes.set_ylim(0, 1)
            axes.spines["left"].set_visible(False)
            axes.set_title(f"{name}: {right:.0%} of time bins right", fontsize=9, loc="left")
        panels[-1].set_xlabel(f"hours decoded, spread over {span:.1f} hours" if spread else "hours of the session")
        panels[-1].margins(x=0.01)
    return sheet.content


def _depth(state: str) -> int:
    """Return the height of a state in a hypnogram: wake at the top, REM below it, deep sleep at the bottom."""
    name = state.lower()
    words = ("wake", "awake", "rem", "r", "n1", "n2", "nrem", "sws", "sleep", "n3")
    return words.index(name) if name in words else len(words)


def _steps(start: np.ndarray, length: np.ndarray, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps from sample to sample, broken where time is missing."""
    x, y = np.repeat(start, 2), np.repeat(level, 2)
    x[1::2] += length
    gaps = 2 * (np.flatnonzero(np.diff(start) > 1.5 * length[:-1]) + 1)
    return _broken(x, y, gaps)


def label_curves(results: Mapping[str, Result], floors: Mapping[str, Score], parts: float) -> bytes:
    """Draw each run's score over the share of labels, beside firing rates.

    Args:
        results: run -> its finetuned result, with a curve.
        floors: run -> the score of firing rates with all labels.
        parts: labelled trials of a fold when all are used.
    """
    metric = next(iter(results.values())).metric
    with drawing(5.6, 3.0, palette=PALETTE) as sheet:
        axes = sheet.figure.add_subplot()
        first = next(iter(results))
        rates = [*(point.scores["rate"] for point in results[first].curve), floors[first]]
        style = {"color": FLOOR, "marker": ".", "ls": "--", "lw": 1.2}
        _curve(axes, _shares(results[first], parts), rates, metric, label="firing rates", **style)
        for run, (name, result) in enumerate(results.items()):
            scores = [*(point.scores["full"] for point in result.curve), result.score]
            style = {"color": COLOURS[run % 8], "marker": MARKERS[run % 8], "lw": 1.6}
            beside = _shares(result, parts) * 1.02 ** (run + 1)
            _curve(axes, beside, scores, metric, label=name, **style)
        axes.set_xscale("log")
        ticks = sorted({round(100 * p.trials / parts, 3) for r in results.values() for p in r.curve} | {100.0})
        axes.set_xticks(ticks, [f"{tick:.0f} %" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("share of the labelled trials")
        axes.set_ylabel(TITLES[metric])
        axes.grid(color=GRID, lw=0.5)
        sheet.figure.legend(loc="outside upper left", ncols=4, frameon=False, fontsize=9)
    return sheet.content


def _shares(result: Result, parts: float) -> np.ndarray:
    """Percent of the labelled trials at each point of a curve; the last has all."""
    return np.array([*(100 * point.trials / parts for point in result.curve), 100.0])


def _curve(axes: Axes, x: np.ndarray, scores: Sequence[Score], metric: str, **style: Any) -> None:
    value = np.array([score.metrics[metric] for score in scores])
    low = np.array([value[k] if score.low is None else score.low for k, score in enumerate(scores)])
    high = np.array([value[k] if score.high is None else score.high for k, score in enumerate(scores)])
    bars = np.maximum(np.stack([value - low, high - value]), 0)
    axes.errorbar(x, value, bars, ms=6, capsize=0, elinewidth=1, **style)


def _short(name: str) -> str:
    return name if len(name) <= 14 else name[:13] + "…"
