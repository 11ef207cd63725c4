"""Pictures of results, as PNG bytes: legible in print, in the dark, and to colour-blind readers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from finetune.result import Result, Score
from foundation.common.output.pictures import BLUES, COLOURS, GRID, INK, MARKERS, drawing
from foundation.evaluation.coverage import CoveragePoint
from foundation.evaluation.metrics import CLASSES, TITLES, Predictions, sums


def target_figure(result: Result, predictions: Predictions) -> bytes:
    """Draw the picture of a result: a confusion matrix, or predicted against true."""
    if predictions.kind == CLASSES:
        return confusion(predictions, list(result.classes), result.title)
    return predicted_against_true(predictions, result.value_names, result.title)


def confusion(predictions: Predictions, classes: list[str], title: str) -> bytes:
    """Draw the share of each true class predicted as each class, with counts."""
    counts_CC = sums(predictions).sum(axis=0)
    share_CC = counts_CC / np.maximum(counts_CC.sum(axis=1, keepdims=True), 1)
    size = min(7.5, 2.6 + 0.55 * len(classes))
    with drawing(size + 0.6, size) as sheet:
        axes = sheet.figure.add_subplot()
        shown = axes.imshow(share_CC, vmin=0, vmax=1, cmap=BLUES)
        for i in range(len(classes)):
            for j in range(len(classes)):
                if counts_CC[i, j]:
                    colour = "white" if share_CC[i, j] > 0.45 else INK
                    axes.text(j, i, f"{counts_CC[i, j]:,}", ha="center", va="center", color=colour, fontsize=8)
        axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
        axes.set_yticks(range(len(classes)), classes)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.set_title(title, fontsize=10, loc="left")
        bar = sheet.figure.colorbar(shown, ax=axes, fraction=0.046)
        bar.set_label("share of the true class")
        bar.outline.set_visible(False)
    return sheet.content


def predicted_against_true(predictions: Predictions, names: list[str], title: str) -> bytes:
    """Draw true and predicted values over a stretch of tested time, and against each other, per dimension."""
    n_dims = predictions.y_S.shape[1]
    first_fold = np.flatnonzero(predictions.fold_S == predictions.fold_S[0])[:150]
    with drawing(8.4, 2.5 * n_dims + 0.3) as sheet:
        grid = sheet.figure.add_gridspec(n_dims, 2, width_ratios=(2.4, 1))
        for k in range(n_dims):
            true, predicted = predictions.y_S[:, k], predictions.predicted_S[:, k]
            course = sheet.figure.add_subplot(grid[k, 0])
            course.plot(true[first_fold], color=INK, lw=1.4, label="true")
            course.plot(predicted[first_fold], color=COLOURS[1], lw=1.2, ls="--", label="predicted")
            course.set_ylabel(names[k] if k < len(names) else f"dimension {k}")
            course.grid(color=GRID, lw=0.5)
            if k == 0:
                course.set_title(f"{title}: first tested time bins", fontsize=10, loc="left")
                course.legend(frameon=False, fontsize=8, ncols=2, loc="upper right")
            if k == n_dims - 1:
                course.set_xlabel("time bin")
            cloud = sheet.figure.add_subplot(grid[k, 1])
            cloud.scatter(true, predicted, s=4, alpha=0.25, color=COLOURS[0], edgecolors="none", rasterized=True)
            low, high = np.percentile(true, (0.5, 99.5))
            cloud.plot([low, high], [low, high], color=INK, lw=1)
            margin = 0.15 * max(high - low, 1e-9)
            cloud.set_xlim(low - margin, high + margin)
            cloud.set_ylim(low - margin, high + margin)
            cloud.set_xlabel("true")
            cloud.set_ylabel("predicted")
    return sheet.content


def label_curve_figure(result: Result, whole: dict[str, Score], names: dict[str, str]) -> bytes:
    """Draw the primary metric over the number of labelled trials, a line per readout; the last point has all trials.

    Args:
        result: of ``full``, with a curve.
        whole: readout -> its score with all trials.
        names: readout -> its title, in the order of the lines; readouts without points are left out.
    """
    scores = [*(point.scores for point in result.curve), whole]
    places = np.arange(len(scores))
    with drawing(6.4, 3.6) as sheet:
        axes = sheet.figure.add_subplot()
        shown = [name for name in names if any(name in some for some in scores[:-1])]
        for k, name in enumerate(shown):
            here = np.array([place for place in places if name in scores[place]])
            found = [scores[place][name] for place in here]
            value = np.array([score.metrics[result.metric] for score in found])
            low, high = (
                np.array([value[i] if end is None else end for i, end in enumerate(ends)], dtype=float)
                for ends in ([score.low for score in found], [score.high for score in found])
            )
            at = here + 0.06 * (k - (len(shown) - 1) / 2)
            bars = np.maximum(np.stack([value - low, high - value]), 0)
            colour, marker = COLOURS[k % 8], MARKERS[k % len(MARKERS)]
            axes.errorbar(at, value, bars, label=names[name], color=colour, marker=marker, ms=5, lw=1.4, capsize=2)
        axes.set_xticks(places, [*(str(point.trials) for point in result.curve), "all"])
        axes.set_xlabel("labelled trials of a fold")
        axes.set_ylabel(TITLES[result.metric])
        axes.set_title(result.title, fontsize=10, loc="left")
        axes.grid(color=GRID, lw=0.5)
        axes.legend(frameon=False, fontsize=8)
    return sheet.content


def coverage_figure(curves: Mapping[str, Sequence[CoveragePoint]], title: str) -> bytes:
    """Draw the accuracy over the share of samples that are classified, a line per readout with its 95 % interval.

    Args:
        curves: title of the readout -> its curve.
        title: of the target.
    """
    with drawing(6.4, 3.6) as sheet:
        axes = sheet.figure.add_subplot()
        for k, (name, points) in enumerate(curves.items()):
            share = 100 * np.array([point.share for point in points])
            colour, marker = COLOURS[k % 8], MARKERS[k % len(MARKERS)]
            axes.plot(share, [p.accuracy for p in points], label=name, color=colour, marker=marker, ms=4, lw=1.4)
            limits = np.array([(p.low, p.high) if p.low is not None else (np.nan, np.nan) for p in points], dtype=float)
            axes.fill_between(share, *limits.T, color=colour, alpha=0.12, lw=0)
        axes.set_xlabel("share of units classified, the most confident first (%)")
        axes.set_ylabel("accuracy")
        axes.set_ylim(top=1.02)
        axes.set_title(title, fontsize=10, loc="left")
        axes.grid(color=GRID, lw=0.5)
        axes.legend(frameon=False, fontsize=8)
    return sheet.content


def raster(times: list[np.ndarray], start: float, seconds: float) -> bytes:
    """Draw the spikes of all units.

    Args:
        times: per unit, seconds from the session's start.
        start, seconds: the stretch to show.
    """
    with drawing(8.4, min(5.5, 1.6 + 0.05 * len(times))) as sheet:
        axes = sheet.figure.add_subplot()
        length = 0.9 if len(times) < 100 else 1.2
        axes.eventplot([t - start for t in times], colors=INK, lineoffsets=1.0, linelengths=length, linewidths=0.6)
        axes.set_xlim(0, seconds)
        axes.set_ylim(-0.7, len(times) - 0.3)
        axes.set_xlabel(f"time from {start:.1f} s of the session (s)")
        axes.set_ylabel("unit")
    return sheet.content


def activity_map(x_NT: np.ndarray, bin_width: float, unit: str) -> bytes:
    """Draw the sampled activity of all units.

    Args:
        x_NT: ``(N, T)`` samples.
        bin_width: seconds of a sample.
        unit: unit of the samples.
    """
    with drawing(8.4, min(5.5, 1.8 + 0.05 * len(x_NT))) as sheet:
        axes = sheet.figure.add_subplot()
        top = max(float(np.nanpercentile(x_NT, 99)), 1e-9)
        extent = (0.0, x_NT.shape[1] * bin_width, len(x_NT) - 0.5, -0.5)
        shown = axes.imshow(x_NT, aspect="auto", cmap="cividis", vmin=0, vmax=top, extent=extent, interpolation="none")
        axes.set_xlabel("time (s)")
        axes.set_ylabel("unit")
        sheet.figure.colorbar(shown, ax=axes, fraction=0.03).set_label(unit or "activity")
    return sheet.content


def read_metrics(text: str) -> dict[str, np.ndarray]:
    """Return the columns of a metrics.jsonl: name -> ``(L, 2)`` steps and values; invalid lines are skipped."""
    columns: dict[str, list[tuple[float, float]]] = {}
    for line in text.splitlines():
        try:
            row = json.loads(line)
            step = float(row.pop("step"))
        except (ValueError, KeyError, AttributeError):
            continue
        for name, value in row.items():
            if isinstance(value, int | float):
                columns.setdefault(name, []).append((step, float(value)))
    return {name: np.array(rows) for name, rows in columns.items()}


ASIDE = {"learning_rate", "seconds", "data_wait", "windows_per_second", "gradient_norm", "loss", "units", "rankme"}


def scales(columns: dict[str, np.ndarray], widest: float = 30.0) -> list[list[str]]:
    """Group names of terms whose typical sizes lie within a factor of ``widest``; smallest first.

    Example:
        >>> near, far = np.array([[0, 0.9], [1, 1.1]]), np.array([[0, 500.0], [1, 500.0]])
        >>> scales({"loss": near, "reconstruction": near, "rows": far, "contrast": 2 * near})
        [['reconstruction', 'contrast'], ['rows']]
    """
    size = {}
    for name, rows in columns.items():
        values = np.abs(rows[:, 1][np.isfinite(rows[:, 1])])
        if name not in ASIDE and len(values):
            size[name] = float(np.median(values)) or float(values.max())
    groups: list[list[str]] = []
    for name in sorted(size, key=lambda name: size[name]):
        smallest = next((size[other] for other in groups[-1] if size[other]), size[name]) if groups else -1.0
        if size[name] <= widest * smallest:
            groups[-1].append(name)
        else:
            groups.append([name])
    return groups


def training_curves(columns: dict[str, np.ndarray]) -> bytes:
    """Draw the loss, its terms and diagnostics over steps, a panel for each scale."""
    panels = [["loss"], *scales(columns)]
    n_rows = -(-len(panels) // 2)
    with drawing(8.4, 3.0 * n_rows) as sheet:
        every = sheet.figure.subplots(n_rows, 2, squeeze=False).ravel()
        for axes, names in zip(every, panels, strict=False):
            for k, name in enumerate(names):
                style = {"color": COLOURS[k % 8], "ls": ("-", "--", ":", "-.")[k // 4 % 4], "lw": 1.4}
                axes.plot(*columns[name].T, label=name.replace("_", " "), **style)
            if len(names) == 1:
                axes.set_ylabel(names[0].replace("_", " "))
            else:
                axes.legend(frameon=False, fontsize=7)
            axes.set_xlabel("step")
            axes.grid(color=GRID, lw=0.5)
        for axes in every[len(panels) :]:
            axes.remove()
    return sheet.content


def read_embeddings(folder: Path, task: str, checkpoint: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return ``(S, D)`` frozen embeddings of labelled units and their labels; None if they are not of a checkpoint."""
    path = folder / task / "all" / "embeddings.npz"
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        if "checkpoint" not in stored or str(stored["checkpoint"]) != checkpoint:
            return None
        return stored["z_SD"], stored["label_S"]


def unit_map(z_SD: np.ndarray, label_S: np.ndarray, title: str) -> tuple[bytes, float]:
    """Draw embeddings of units on their first two principal components, coloured and marked by label.

    Returns:
        The picture, and the share of variance that the two components hold.
    """
    with drawing(7.4, 4.6) as sheet:
        axes = sheet.figure.add_subplot()
        first, second = draw_unit_map(axes, z_SD, label_S)
        axes.set_xlabel(f"principal component 1 ({first:.0%} of variance)")
        axes.set_ylabel(f"principal component 2 ({second:.0%})")
        axes.set_title(title, fontsize=10, loc="left")
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return sheet.content, first + second


def draw_unit_map(axes: Axes, z_SD: np.ndarray, label_S: np.ndarray, *, size: float = 26) -> tuple[float, float]:
    """Draw the points of `unit_map`, and return the share of variance of each component.

    Args:
        axes: to draw on.
        z_SD: ``(S, D)`` embeddings.
        label_S: ``(S,)`` labels.
        size: of a point, in square points.
    """
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    with np.errstate(invalid="ignore"):
        pca = PCA(2, svd_solver="full").fit(scaled := StandardScaler().fit_transform(z_SD))
    xy = pca.transform(scaled)
    names, counts = np.unique(label_S, return_counts=True)
    for k, name in enumerate(names[np.argsort(-counts, kind="stable")]):
        here = label_S == name
        axes.scatter(
            xy[here, 0],
            xy[here, 1],
            s=size,
            alpha=0.8,
            linewidths=0.3,
            edgecolors="white",
            color=COLOURS[k % 8],
            marker=MARKERS[(k + k // 8) % 8],
            label=f"{name} ({here.sum()})",
        )
    first, second = np.nan_to_num(pca.explained_variance_ratio_).tolist()  # no variance at all: no share of it
    return first, second
