"""Arrays to lay out in a store: simulated, and those of real recordings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foundation.store.format.spike_blocks import to_blocks
from foundation.store.format.spike_ticks import to_ticks
from foundation.store.recording import Spikes


@dataclass(frozen=True)
class Data:
    """Arrays to store, and the ranges of rows that a reader asks for: array, first row, last row."""

    name: str
    arrays: list[np.ndarray]
    parts: list[tuple[int, int, int]]
    item: str


def simulated_spikes(n_units: int = 163, seconds: float = 600.0, rate: float = 5.0) -> Iterator[Spikes]:
    """Return eight populations of Poisson units of log-normal rates with mean ``rate``, sampled at 30 kHz."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        rates = rng.lognormal(0, 1, n_units)
        rates *= rate / rates.mean()
        counts = rng.poisson(rates * seconds)
        yield Spikes.from_trains([np.sort(np.rint(rng.uniform(0, seconds, n) * 3e4)) / 3e4 for n in counts])


def spikes_data(name: str, recordings: list[Spikes]) -> Data:
    """Return ticks in stored form, if the times lie on a grid; a part is a block."""
    arrays, parts = [], []
    for i, spikes in enumerate(recordings):
        blocks = to_blocks(spikes)
        exact = to_ticks(blocks.times)
        arrays.append(blocks.times if exact is None else exact[0].astype(np.int32))
        parts += [(i, int(row[0]), int(row[-1])) for row in blocks.offsets if row[-1] > row[0]]
    return Data(f"{name} ({', '.join(sorted({str(a.dtype) for a in arrays}))})", arrays, parts, "spike")


def sampled_data(name: str, array: np.ndarray, rows: int) -> Data:
    """Return samples; a part has ``rows`` of them."""
    starts = np.linspace(0, max(len(array) - rows, 0), 500).astype(int)
    return Data(f"{name} {array.shape} {array.dtype}", [array], [(0, int(a), int(a) + rows) for a in starts], "value")


def calcium(n_units: int = 500, n_frames: int = 30_000) -> np.ndarray:
    """Return dF/F of units with events that decay within a second at 30 Hz, and noise: ``(T, N)`` float32."""
    from scipy.signal import lfilter

    rng = np.random.default_rng(0)
    events = rng.poisson(0.01, (n_frames, n_units)) * rng.exponential(0.5, (n_frames, n_units))
    return (lfilter([1], [1, -0.96], events, axis=0) + rng.normal(0, 0.05, events.shape)).astype(np.float32)


def real_data(folder: Path) -> Iterator[Data]:
    from ingest.nwb.read_nwb import read_nwb

    def read(name: str) -> list[Any]:
        return [r for p in sorted((folder / "nwb" / name).rglob("*.nwb")) if hasattr(r := read_nwb(str(p)), "units")]

    tracks = read("rat-track")
    yield spikes_data("rat-track", [r.spikes for r in tracks])
    yield spikes_data("optotagged, 8 files", [r.spikes for r in read("optotagged")[:8]])
    series = next(iter(tracks[-1].behavior.values()))
    yield sampled_data("rat-track position", np.ascontiguousarray(series.data), 600)
    yield sampled_data("rat-track position's timestamps", series.timestamps, 600)
    yield sampled_data("sleep counts", np.ascontiguousarray(read("sleep")[0].activity.data), 10)
