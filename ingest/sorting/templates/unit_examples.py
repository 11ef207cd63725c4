"""Examples of each unit's spikes, and its mean waveform on all channels, from stretches spread over the recording."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ingest.sorting.sorted_units import Sorting
from ingest.sorting.spikes.filtering import CleanVoltage
from ingest.sorting.spikes.neighbourhoods import neighbours_of
from ingest.sorting.spikes.spike_windows import WindowCutter
from ingest.sorting.templates.unit_templates import robust_mean

STRETCHES, SECONDS = 60, 1.0  # maximum number of stretches, and their length
SHOWN = 200  # windows of a unit that are kept
FEW = 20  # windows below which a unit's own spikes are read one by one
QUARTER_SIXTEENTHS = 4
WIDE = 64  # nearest channels of a template


def add_examples(clean: CleanVoltage, cutter: WindowCutter, sorting: Sorting) -> Sorting:
    """Return a sorting with templates of the voltage that is not whitened, and windows for pictures.

    On probes of many channels, templates are measured on the nearest 64 of a group and are 0 elsewhere.
    """
    rate, n_samples = clean.voltage.sampling_rate, clean.voltage.n_samples
    place_N = np.round((sorting.time_N - clean.voltage.start) * rate * QUARTER_SIXTEENTHS).astype(np.int64)
    sample_N = place_N // QUARTER_SIXTEENTHS
    windows: list[list[np.ndarray]] = [[] for _ in range(sorting.n_units)]
    length = int(SECONDS * rate)
    starts = np.unique(np.linspace(0, max(n_samples - length, 0), min(STRETCHES, n_samples // length + 1)).astype(int))
    spans = [(int(start), min(int(start) + length, n_samples)) for start in starts]
    everyone = np.ones(clean.voltage.n_channels, dtype=bool)
    near = neighbours_of(clean.voltage.channels, everyone, np.inf, WIDE)
    wide = [np.sort(near[int(channel)]) for channel in sorting.channel_U]
    _take(clean, cutter, sorting, sample_N, place_N, spans, windows, wide)
    for unit in range(sorting.n_units):
        if sum(map(len, windows[unit])) < FEW:
            mine = sample_N[sorting.unit_N == unit]
            some = mine[np.unique(np.linspace(0, len(mine) - 1, FEW).astype(int))]
            _take(clean, cutter, sorting, sample_N, place_N, [(int(s), int(s) + 1) for s in some], windows, wide, unit)
    templates = sorting.templates_UCT.copy()
    shown = {}
    for unit, parts in enumerate(windows):
        if not parts:
            continue
        cut_NCL = np.concatenate(parts)
        templates[unit, wide[unit]] = robust_mean(cut_NCL)
        shown[unit] = cut_NCL[:: max(1, len(cut_NCL) // SHOWN)][:SHOWN]
    made = replace(sorting, templates_UCT=templates)
    rows = {unit: np.searchsorted(wide[unit], made.near(unit)) for unit in shown}
    return replace(made, waveforms={unit: cut_NCL[:, rows[unit]] for unit, cut_NCL in shown.items()})


def _take(
    clean: CleanVoltage,
    cutter: WindowCutter,
    sorting: Sorting,
    sample_N: np.ndarray,
    place_N: np.ndarray,
    spans: list[tuple[int, int]],
    windows: list[list[np.ndarray]],
    wide: list[np.ndarray],
    only: int | None = None,
) -> None:
    reach = cutter.reach
    for start, stop in spans:
        mine = np.flatnonzero((sample_N >= start) & (sample_N < stop))
        mine = mine[[_wanted(windows[u], only, int(u)) for u in sorting.unit_N[mine]]] if len(mine) else mine
        if not len(mine):
            continue
        x_TC, _ = clean.read(start - reach, stop + reach, whiten=False)
        for unit in np.unique(sorting.unit_N[mine]):
            rows = mine[sorting.unit_N[mine] == unit][:SHOWN]
            windows[unit].append(
                cutter.cut(
                    x_TC,
                    sample_N[rows] - start + reach,
                    place_N[rows] % QUARTER_SIXTEENTHS * QUARTER_SIXTEENTHS,
                    wide[unit],
                )
            )


def _wanted(taken: list[np.ndarray], only: int | None, unit: int) -> bool:
    return (only is None or unit == only) and sum(map(len, taken)) < 2 * SHOWN
