"""Pictures of recordings for the catalog's page, as PNG bytes: small, and legible to colour-blind readers."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.ticker import MaxNLocator

from foundation.common.output.pictures import BLUES, COLOURS, INK, drawing
from foundation.store import Interval

PLAIN, UNSEEN = "#3B4148", "#E3E6EA"  # units without a label, time that was not observed
small_drawing = partial(drawing, dpi=132, tick_size=8.0, palette=48)


def raster(
    times: np.ndarray, unit: np.ndarray, labels: np.ndarray, start: float, end: float, observed: Interval
) -> bytes:
    """Draw spikes of M units, coloured by label.

    Args:
        times: ``(S,)`` seconds from the session's start.
        unit: ``(S,)`` the row, 0 to M - 1, of each spike.
        labels: ``(M,)`` text of each row, ``''`` for none; rows with one label lie together.
        start, end: the shown stretch.
        observed: time outside it is shaded.
    """
    names = [name for name in dict.fromkeys(labels.tolist()) if name]
    colour = {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(names)} | {"": PLAIN}
    with small_drawing(7.4, float(np.clip(1.1 + 0.045 * len(labels), 1.7, 4.6))) as sheet:
        axes = sheet.figure.add_subplot()
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
                *place, text, transform=axes.transAxes, va="top", fontsize=8,
                color=colour[name] if k < 9 else INK,
            )  # fmt: skip
    return sheet.content


def activity_map(x_TM: np.ndarray, start: float, rate: float, label: str) -> bytes:
    """Draw sampled activity of M units.

    Args:
        x_TM: ``(T, M)`` samples; NaN stay white.
        start: seconds of the first.
        rate: samples per second.
        label: description of the samples.
    """
    with small_drawing(7.4, float(np.clip(1.1 + 0.045 * x_TM.shape[1], 1.7, 4.6))) as sheet:
        axes = sheet.figure.add_subplot()
        low, high = _limits(x_TM)
        extent = (start, start + len(x_TM) / rate, x_TM.shape[1] - 0.5, -0.5)
        shown = axes.imshow(x_TM.T, aspect="auto", cmap=BLUES, vmin=low, vmax=high, extent=extent, interpolation="none")
        axes.set_xlabel("seconds from the session's start", fontsize=8, color=INK)
        axes.set_ylabel("unit", fontsize=8, color=INK)
        _whole_ticks(axes, x_TM.shape[1])
        bar = sheet.figure.colorbar(shown, ax=axes, fraction=0.03, pad=0.01)
        bar.outline.set_visible(False)
        bar.set_label(label, fontsize=8, color=INK)
    return sheet.content


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
    """Draw a histogram of firing rates on a logarithmic axis; the title counts silent units.

    Args:
        rates: ``(N,)`` Hz; NaN are left out.
    """
    rates = rates[np.isfinite(rates)]
    firing = rates[rates > 0]
    with small_drawing(3.3, 2.3, formulas=True) as sheet:
        axes = sheet.figure.add_subplot()
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
    return sheet.content
