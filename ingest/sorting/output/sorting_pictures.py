"""Pictures of sorted units: waveforms, correlograms, intervals, amplitudes over time, a map of spikes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from foundation.common.output.pictures import COLOURS, GRID, INK, MARKERS, drawing
from ingest.sorting.sorted_units import REFRACTORY, Sorting

LAGS = np.arange(-0.05, 0.0501, 0.001)  # seconds, bins of correlograms
CHANNELS = 4  # whose waveforms are drawn
DRAWN = 4000  # points of a picture, at most
PARTS = 20  # of the recording, for presence
PAIRS = 1_000_000  # pairs of spikes whose lags are in memory at a time, about


def unit_picture(sorting: Sorting, unit: int) -> bytes:
    """Draw a unit: waveforms with their spread, autocorrelogram, intervals, and amplitude over time."""
    colour = COLOURS[unit % len(COLOURS)]
    with drawing(11.0, 2.1, palette=64, text_size=8.5, tick_size=7.5) as sheet:
        grid = sheet.figure.add_gridspec(1, 4, width_ratios=(1.5, 1, 1, 2.2))
        _waveforms(sheet.figure.add_subplot(grid[0]), sorting, unit, colour)
        train = sorting.train(unit)
        axes = sheet.figure.add_subplot(grid[1])
        axes.bar(1e3 * LAGS[:-1], correlogram(train, train, same=True), 1.0, align="edge", color=colour)
        axes.set_xlabel("lag (ms)")
        axes.set_ylabel("spikes")
        axes.set_title("autocorrelogram", fontsize=8.5, loc="left")
        _intervals(sheet.figure.add_subplot(grid[2]), train, colour)
        _amplitudes(sheet.figure.add_subplot(grid[3]), sorting, unit, colour)
    return sheet.content


def _waveforms(axes: Axes, sorting: Sorting, unit: int, colour: str) -> None:
    near = sorting.near(unit)
    windows_NCL = sorting.waveforms.get(unit)
    if windows_NCL is None:
        axes.set_axis_off()
        return
    size_C = np.abs(sorting.templates_UCT[unit][near]).max(axis=1)
    shown = np.sort(np.argsort(-size_C)[:CHANNELS])
    milliseconds = 1e3 * (np.arange(windows_NCL.shape[2]) - sorting.peak) / sorting.sampling_rate
    step = 1.15 * (milliseconds[-1] - milliseconds[0])
    for place, k in enumerate(shown):
        low, middle, high = np.percentile(windows_NCL[:, k], [10, 50, 90], axis=0)
        axes.fill_between(milliseconds + place * step, low, high, color=colour, alpha=0.25, lw=0)
        axes.plot(milliseconds + place * step, middle, color=colour, lw=1.2)
    axes.set_xticks(
        [place * step for place in range(len(shown))], [str(sorting.channels.names[near[k]]) for k in shown]
    )
    axes.set_xlabel(f"channel; {milliseconds[-1] - milliseconds[0]:.1f} ms each")
    axes.set_ylabel("µV")
    axes.axhline(0, color=GRID, lw=0.6, zorder=0)
    axes.set_title("waveform", fontsize=8.5, loc="left")


def _intervals(axes: Axes, train: np.ndarray, colour: str) -> None:
    gaps = 1e3 * np.diff(train)
    bins = np.arange(0, 50.5, 0.5)
    axes.hist(gaps[gaps < 50], bins.tolist(), color=colour)
    axes.axvspan(0, 1e3 * REFRACTORY, color=COLOURS[1], alpha=0.25, lw=0)
    axes.set_xlabel("interval (ms)")
    share = float((gaps < 1e3 * REFRACTORY).mean()) if len(gaps) else 0.0
    axes.set_title(f"{share:.1%} below 1.5 ms", fontsize=8.5, loc="left")


def _amplitudes(axes: Axes, sorting: Sorting, unit: int, colour: str) -> None:
    mine = np.flatnonzero(sorting.unit_N == unit)
    some = mine[np.linspace(0, len(mine) - 1, min(len(mine), DRAWN)).astype(int)]
    amplitude_N = sorting.amplitude_N[some]
    axes.plot(sorting.time_N[some], amplitude_N, ".", ms=5.0, color=colour, alpha=0.6, mec="none")
    axes.set_xlim(sorting.start, sorting.stop)
    top = float(np.percentile(amplitude_N, 99.5)) * 1.15
    axes.set_ylim(-0.08 * top, top)
    parts = np.linspace(sorting.start, sorting.stop, PARTS + 1)
    present = np.histogram(sorting.time_N[mine], parts)[0] > 0
    width = parts[1] - parts[0]
    axes.bar(parts[:-1][present], 0.04 * top, width, bottom=-0.07 * top, align="edge", color=colour, ec="white", lw=0.5)
    axes.set_xlabel("time (s)")
    axes.set_ylabel("µV")
    axes.set_title("amplitude, and where the unit is present", fontsize=8.5, loc="left")


def correlogram(time_N: np.ndarray, other_N: np.ndarray, same: bool = False) -> np.ndarray:
    """Return how many spikes of the other unit lie in each bin of lag around those of one.

    Args:
        time_N, other_N: seconds, rising.
        same: of one unit with itself: a spike's lag to itself does not count.

    Example:
        >>> int(correlogram(np.array([1.0]), np.array([1.0025, 1.2])).sum())
        1
    """
    low = np.searchsorted(other_N, time_N + LAGS[0])
    counts = np.searchsorted(other_N, time_N + LAGS[-1]) - low
    found = np.zeros(len(LAGS) - 1, dtype=np.int64)
    parts = np.searchsorted(np.cumsum(counts), np.arange(PAIRS, counts.sum(), PAIRS))
    for mine in np.split(np.arange(len(time_N)), parts):
        n = counts[mine]
        first = np.repeat(low[mine] - np.cumsum(n) + n, n)
        lags = other_N[first + np.arange(n.sum())] - np.repeat(time_N[mine], n)
        found += np.histogram(lags[lags != 0] if same else lags, LAGS)[0]
    return found


def cross_picture(sorting: Sorting, units: np.ndarray) -> bytes:
    """Draw the cross-correlograms of units, a row and a column for each."""
    n = len(units)
    size = min(10.5, 1.6 + 1.25 * n)
    trains = [sorting.train(int(unit)) for unit in units]
    with drawing(size, 0.82 * size, palette=64, text_size=8.0, tick_size=6.5) as sheet:
        grid = sheet.figure.subplots(n, n, squeeze=False, sharex=True)
        for row in range(n):
            for column in range(n):
                axes = grid[row, column]
                counts = correlogram(trains[row], trains[column], same=row == column)
                colour = COLOURS[int(units[row]) % len(COLOURS)] if row == column else "#8A949E"
                axes.bar(1e3 * LAGS[:-1], counts, 1.0, align="edge", color=colour)
                axes.set_yticks([])
                axes.spines["left"].set_visible(False)
                if row == 0:
                    axes.set_title(str(units[column]), fontsize=8)
                if column == 0:
                    axes.set_ylabel(str(units[row]), rotation=0, labelpad=10)
        sheet.figure.supxlabel("lag (ms)", fontsize=8)
    return sheet.content


def map_picture(sorting: Sorting) -> tuple[bytes, float]:
    """Draw spikes by the two first principal components of their waveforms, coloured by unit.

    Returns:
        The picture, and the share of the variance that the two components hold.
    """
    units = sorted(sorting.waveforms)
    noise_C = np.where(sorting.noise_C > 0, sorting.noise_C, 1.0)
    parts = [sorting.waveforms[unit] / noise_C[sorting.near(unit)][None, :, None] for unit in units]
    flat_ND = np.concatenate(parts).reshape(sum(map(len, parts)), -1)
    centred_ND = flat_ND - flat_ND.mean(axis=0)
    values, vectors = np.linalg.eigh(centred_ND.T @ centred_ND)
    z_N2 = centred_ND @ vectors[:, [-1, -2]]
    unit_N = np.repeat(units, [len(part) for part in parts])
    with drawing(6.4, 4.6, palette=128) as sheet:
        axes = sheet.figure.add_subplot()
        for unit in units:
            mine = unit_N == unit
            colour, marker = COLOURS[unit % len(COLOURS)], MARKERS[unit // len(COLOURS) % len(MARKERS)]
            axes.plot(*z_N2[mine].T, marker, ms=3.2, alpha=0.55, mec="none", label=str(unit), color=colour)
        axes.set_xlabel("first component (noise levels)")
        axes.set_ylabel("second component")
        axes.legend(frameon=False, fontsize=8, title="unit", markerscale=2, loc="center left", bbox_to_anchor=(1, 0.5))
    return sheet.content, float(values[-2:].sum() / max(values.sum(), 1e-12))


def place_picture(sorting: Sorting) -> bytes:
    """Draw spikes of a probe by time and place along it, coloured by unit."""
    depth_U = np.nan_to_num(sorting.channels.positions_C2[sorting.channel_U, 1])
    order = np.random.default_rng(0).permutation(len(sorting))[: 5 * DRAWN]
    with drawing(10.5, 5.5, palette=128) as sheet:
        axes = sheet.figure.add_subplot()
        colours = np.array(COLOURS)[sorting.unit_N[order] % len(COLOURS)]
        jitter = np.random.default_rng(1).normal(0, 2.0, len(order))
        axes.scatter(sorting.time_N[order], depth_U[sorting.unit_N[order]] + jitter, s=2, c=colours, alpha=0.5, lw=0)
        axes.set_xlabel("time (s)")
        axes.set_ylabel("place along the probe (µm)")
        axes.tick_params(colors=INK)
    return sheet.content
