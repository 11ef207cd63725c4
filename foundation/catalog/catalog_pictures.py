"""Pictures of recordings for the catalog's page, as PNG bytes: small, and legible to colour-blind readers."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from foundation.store import Interval

# Okabe and Ito's colours, without yellow (too pale on white); grey is for units without a label.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#882255", "#44AA99")
PLAIN, INK, UNSEEN = "#3B4148", "#222222", "#E3E6EA"
MAP = LinearSegmentedColormap.from_list("activity", ["#FFFFFF", "#9CC7E3", "#0072B2", "#00263D"])
DPI, PALETTE = 132, 48


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Figure, io.BytesIO]]:
    """A figure of that many inches, and the buffer that holds its PNG afterwards."""
    figure, buffer = Figure(figsize=(width, height), layout="constrained", facecolor="white"), io.BytesIO()
    canvas = FigureCanvasAgg(figure)
    yield figure, buffer
    for axes in figure.axes:
        axes.tick_params(colors=INK, labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.set_dpi(DPI)
    canvas.draw()
    # A palette makes the file a third as large, and nobody sees it. Equal data give equal bytes.
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    picture.quantize(PALETTE, dither=Image.Dither.NONE).save(buffer, format="png", optimize=True)


def raster(
    times: np.ndarray, unit: np.ndarray, labels: np.ndarray, start: float, end: float, observed: Interval
) -> bytes:
    """Spikes of M units, coloured by label.

    Args:
        times: ``(S,)`` seconds from the session's start.
        unit: ``(S,)`` the row, 0 to M - 1, of each spike.
        labels: ``(M,)`` text of each row, ``''`` for none; rows with one label lie together.
        start, end: the stretch that is shown.
        observed: time outside it is shaded.
    """
    names = [name for name in dict.fromkeys(labels.tolist()) if name]
    colour = {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(names)} | {"": PLAIN}
    with _figure(7.4, float(np.clip(1.1 + 0.045 * len(labels), 1.7, 4.6))) as (figure, buffer):
        axes = figure.add_subplot()
        inside = observed.slice(start, end).union()
        edges = np.concatenate([[start], np.stack([inside.start, inside.end], axis=1).reshape(-1), [end]]).reshape(
            -1, 2
        )
        for low, high in edges[edges[:, 1] > edges[:, 0]]:
            axes.axvspan(low, high, color=UNSEEN, lw=0)
        half = 0.42 if len(labels) < 60 else 0.5
        shades = np.array([to_rgb(colour[name]) for name in labels.tolist()] or [to_rgb(PLAIN)])
        axes.vlines(times, unit - half, unit + half, colors=shades[unit], lw=0.9 if len(labels) < 100 else 0.6)
        axes.set_xlim(start, end)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_xlabel("seconds from the session's start", fontsize=8, color=INK)
        axes.set_ylabel("unit", fontsize=8, color=INK)
        _whole_ticks(axes, len(labels))
        for k, name in enumerate(names[:10]):
            shown = name if len(name) <= 14 else f"{name[:13]}…"
            place = (1.01, 1 - 0.16 * k) if len(labels) < 40 else (1.01, 1 - 0.085 * k)
            text = shown if k < 9 else f"and {len(names) - 9} more"
            axes.text(
                *place, text, transform=axes.transAxes, va="top", fontsize=8, parse_math=False,
                color=colour[name] if k < 9 else INK,
            )  # fmt: skip
    return buffer.getvalue()


def activity_map(x_TM: np.ndarray, start: float, rate: float, label: str) -> bytes:
    """Sampled activity of M units.

    Args:
        x_TM: ``(T, M)`` samples; NaN stay white.
        start: seconds of the first.
        rate: samples per second.
        label: what the samples are.
    """
    with _figure(7.4, float(np.clip(1.1 + 0.045 * x_TM.shape[1], 1.7, 4.6))) as (figure, buffer):
        axes = figure.add_subplot()
        low, high = _limits(x_TM)
        extent = (start, start + len(x_TM) / rate, x_TM.shape[1] - 0.5, -0.5)
        shown = axes.imshow(x_TM.T, aspect="auto", cmap=MAP, vmin=low, vmax=high, extent=extent, interpolation="none")
        axes.set_xlabel("seconds from the session's start", fontsize=8, color=INK)
        axes.set_ylabel("unit", fontsize=8, color=INK)
        _whole_ticks(axes, x_TM.shape[1])
        bar = figure.colorbar(shown, ax=axes, fraction=0.03, pad=0.01)
        bar.outline.set_visible(False)
        bar.set_label(label, fontsize=8, color=INK, parse_math=False)
    return buffer.getvalue()


def _limits(x: np.ndarray) -> tuple[float, float]:
    finite = x[np.isfinite(x)]
    if not len(finite):
        return 0.0, 1.0
    low, high = (float(p) for p in np.percentile(finite, (1, 99)))
    return min(low, 0.0), max(high, low + 1e-9)


def _whole_ticks(axes: object, n_units: int) -> None:
    ticks = np.unique(np.linspace(0, max(n_units - 1, 0), min(n_units, 5)).astype(int))
    axes.set_yticks(ticks, [str(tick + 1) for tick in ticks])  # type: ignore[attr-defined]


def rate_histogram(rates: np.ndarray) -> bytes:
    """How many units fire how fast, on a logarithmic axis; silent units are counted in the title.

    Args:
        rates: ``(N,)`` Hz; NaN are left out.
    """
    rates = rates[np.isfinite(rates)]
    firing = rates[rates > 0]
    with _figure(3.3, 2.3) as (figure, buffer):
        axes = figure.add_subplot()
        low = np.floor(np.log10(firing.min())) if len(firing) else -1
        high = np.ceil(np.log10(firing.max())) if len(firing) else 1
        low, high = (low, high) if high > low else (low - 1, high + 1)
        bins = np.logspace(low, high, int(np.clip((high - low) * 6, 8, 24)) + 1)
        axes.hist(firing, bins=bins.tolist(), color=COLOURS[0], edgecolor="white", linewidth=0.5)
        if len(firing):
            axes.axvline(float(np.median(firing)), color=COLOURS[1], lw=1.2, ls="--")
        axes.set_xscale("log")
        axes.set_xlabel("firing rate (Hz); dashed: median", fontsize=8, color=INK)
        axes.set_ylabel("units", fontsize=8, color=INK)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        if len(firing) < len(rates):
            axes.set_title(f"{len(rates) - len(firing)} silent", fontsize=8, color=INK, loc="right")
    return buffer.getvalue()
