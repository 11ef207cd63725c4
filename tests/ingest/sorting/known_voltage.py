"""Voltage with known spikes, and measures of how many were found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ingest.sorting.voltage.voltage import ArrayVoltage, Channels, Scale


@dataclass(frozen=True)
class Made:
    """Voltage in µV, and the samples at which each unit's peak lies."""

    x_TC: np.ndarray
    rate: float
    trains: list[np.ndarray]
    positions_C2: np.ndarray | None = None

    @property
    def channels(self) -> Channels:
        n = self.x_TC.shape[1]
        if self.positions_C2 is None:
            return Channels.unknown(n)
        return Channels(np.arange(n).astype(str), self.positions_C2, np.full(n, "0"))

    @property
    def voltage(self) -> ArrayVoltage:
        return ArrayVoltage(self.x_TC, self.rate, self.channels)

    def as_int16(self, gain: float, offset: float) -> ArrayVoltage:
        stored_TC = np.round((self.x_TC - offset) / gain).astype(np.int16)
        return ArrayVoltage(stored_TC, self.rate, self.channels, Scale(gain, offset))


def shape(width: float, after: float, rate: float) -> np.ndarray:
    """A trough of 1 and a hump after it; ``width`` in seconds. The trough lies at 1 ms of 3 ms."""
    t = np.arange(int(0.003 * rate)) / rate - 0.001
    return -np.exp(-0.5 * (t / width) ** 2) + after * np.exp(-0.5 * ((t - 3 * width) / (1.5 * width)) ** 2)


def make_voltage(
    seed: int = 0, seconds: float = 20.0, rate: float = 20_000.0, n_channels: int = 1, sizes=None, noise: float = 10.0,
    firing: float = 8.0, positions_C2=None,
) -> Made:  # fmt: skip
    """Units of different shapes over Gaussian noise; ``sizes`` (U, C) µV of each unit on each channel."""
    rng = np.random.default_rng(seed)
    n_samples = int(seconds * rate)
    sizes = np.array([[120.0], [80.0], [150.0]]) if sizes is None else np.asarray(sizes, dtype=float)
    x_TC = rng.normal(0.0, noise, (n_samples, n_channels))
    trains = []
    for unit, size_C in enumerate(sizes):
        wave = shape(0.00008 + 0.00003 * (unit % 4), 0.25 + 0.2 * (unit % 3), rate)
        gaps = 0.004 + rng.exponential(1.0 / firing, int(seconds * firing * 2))
        train = (np.cumsum(gaps) * rate).astype(int)
        train = train[(train > 0.01 * n_samples / seconds) & (train < n_samples - 0.01 * rate)]
        for sample in train:
            first = sample - int(0.001 * rate)
            x_TC[first : first + len(wave)] += wave[:, None] * size_C
        trains.append(train)
    return Made(x_TC.astype(np.float32), rate, trains, positions_C2)


def recall(found: np.ndarray, true: np.ndarray, within: float) -> float:
    """Return the share of true times with a detected spike nearby."""
    if not len(found):
        return 0.0
    found = np.sort(found)
    k = np.clip(np.searchsorted(found, true), 1, len(found) - 1) if len(found) > 1 else np.zeros(len(true), int)
    near = np.minimum(np.abs(found[k] - true), np.abs(found[k - 1] - true))
    return float((near <= within).mean())


def pair_up(sorting, made: Made, within: float = 0.0005) -> list[tuple[int, float, float]]:
    """Return for each true unit the sorted unit that has most of its spikes, with recall and precision."""
    found = []
    for train in made.trains:
        true = train / made.rate
        scores = [(recall(sorting.train(u), true, within), u) for u in range(sorting.n_units)]
        best, unit = max(scores, default=(0.0, -1))
        precision = recall(true, sorting.train(unit), within) if unit >= 0 else 0.0
        found.append((unit, best, precision))
    return found
