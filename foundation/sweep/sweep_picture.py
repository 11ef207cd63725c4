"""The picture of a sweep, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from foundation.sweep.power_law import Fit
from foundation.sweep.sweep_trial import Measured

# From dark to light, told apart without colour; marks differ besides.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKS, INK = "osD^vPX", "#222222"


def picture(measured: Sequence[Measured], fit: Fit | None) -> bytes:
    """Loss against data, a line for each size, and against size, a line for each amount; lines are the law's."""
    figure, buffer = Figure(figsize=(9.0, 3.6), layout="constrained", facecolor="white"), io.BytesIO()
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    sizes, amounts = sorted({m.parameters for m in measured}), sorted({m.tokens for m in measured})
    for k, size in enumerate(sizes):
        points = [(m.tokens, m.loss) for m in measured if m.parameters == size]
        line = None if fit is None else [fit.law(size, d) for d in _between(amounts)]
        _draw(left, k, points, _between(amounts), line, f"{size:,}")
    for k, amount in enumerate(amounts):
        points = [(m.parameters, m.loss) for m in measured if m.tokens == amount]
        line = None if fit is None else [fit.law(n, amount) for n in _between(sizes)]
        _draw(right, k, points, _between(sizes), line, f"{amount:,}")
    for axes, x, legend in ((left, "neuron-tokens", "parameters"), (right, "parameters", "neuron-tokens")):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(x)
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:.3f}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.legend(title=legend, fontsize=7, title_fontsize=7, frameon=False)
        axes.tick_params(colors=INK, labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    losses = [m.loss for m in measured]
    left.set_yticks(np.geomspace(min(losses), max(losses), 5))
    left.set_ylabel("loss on held-out recordings")
    # No date or version in the file: the same data give the same bytes.
    figure.savefig(buffer, format="png", dpi=132, metadata={"Software": None})
    return buffer.getvalue()


def _between(values: list[int]) -> np.ndarray:
    return np.geomspace(values[0], values[-1], 60)


def _draw(axes: object, k: int, points: list, at: np.ndarray, line: list[float] | None, label: str) -> None:
    colour = COLOURS[k % len(COLOURS)]
    axes.plot(*zip(*points, strict=True), MARKS[k % len(MARKS)], color=colour, ms=5, label=label)  # type: ignore[attr-defined]
    if line is not None:
        axes.plot(at, line, color=colour, lw=1.0)  # type: ignore[attr-defined]
