"""The picture of a sweep, as PNG bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from foundation.common.output.pictures import COLOURS, MARKERS, drawing
from foundation.sweep.power_law import Fit
from foundation.sweep.sweep_trial import Measured

# From dark to light, so that they differ without colour; markers differ as well.
SHADES = ("#000000", *COLOURS[:6])


def picture(measured: Sequence[Measured], fit: Fit | None) -> bytes:
    """Draw loss against data, a line per size, and against size, a line per amount; lines show the law."""
    with drawing(9.0, 3.6, dpi=132, tick_size=8, formulas=True) as sheet:
        left, right = sheet.figure.subplots(1, 2, sharey=True)
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
        losses = [m.loss for m in measured]
        left.set_yticks(np.geomspace(min(losses), max(losses), 5))
        left.set_ylabel("loss on held-out recordings")
    return sheet.content


def _between(values: list[int]) -> np.ndarray:
    return np.geomspace(values[0], values[-1], 60)


def _draw(axes: object, k: int, points: list, at: np.ndarray, line: list[float] | None, label: str) -> None:
    colour = SHADES[k % len(SHADES)]
    axes.plot(*zip(*points, strict=True), MARKERS[k % len(SHADES)], color=colour, ms=5, label=label)  # type: ignore[attr-defined]
    if line is not None:
        axes.plot(at, line, color=colour, lw=1.0)  # type: ignore[attr-defined]
