"""Result of sorting: units, their spikes, templates and quality."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.stats import poisson

from foundation.store import Spikes
from ingest.sorting.voltage.voltage import Channels

AROUND = 8  # channels of a unit whose waveforms are kept
REFRACTORY = 0.0015  # seconds: an interval that one neuron does not fire
DEAD = 0.0008  # seconds within which matching finds no two spikes of a unit
GOOD, MUA = "good", "mua"  # as Kilosort and Phy name them
MIN_DETECTABILITY = 7.0  # of a single unit; chosen on simulated sessions of seeds 100 to 107
MAX_CONTAMINATION, EVIDENCE = 0.1, 0.05  # of a single unit, and the probability below which it is taken as exceeded


@dataclass(frozen=True)
class Sorting:
    """N spikes of U units.

    Args:
        time_N: float64 seconds from the session's start, rising.
        unit_N: int, unit of each spike, from 0 to U - 1.
        amplitude_N: float32 µV of each spike's peak.
        channel_U: channel on which a unit is largest.
        templates_UCT: float32 µV, mean waveform of each unit on all channels, of the filtered voltage (not whitened); T
            at ``sampling_rate``.
        peak: sample of the templates at which the spike's time lies.
        sampling_rate: Hz of the voltage.
        channels: positions of the channels.
        noise_C: µV, noise of each channel.
        start, stop: seconds, the sorted stretch.
        waveforms: unit -> ``(n, C', T)`` µV examples, for pictures; on the channels of `near`.
        detectability_U: norm of each unit's template in white voltage, in units of the noise (d' between a spike and
            noise): all its channels and samples count, where the SNR is of one. Empty where it is not known.
        notes: messages about omissions and corrections.

    Example:
        >>> channels = Channels.unknown(1)
        >>> sorting = Sorting(np.array([0.1, 0.2]), np.array([0, 0]), np.ones(2), np.array([0]), np.zeros((1, 1, 48)),
        ...                   16, 24e3, channels, np.ones(1), 0.0, 1.0)
        >>> sorting.n_units, sorting.train(0).tolist()
        (1, [0.1, 0.2])
    """

    time_N: np.ndarray
    unit_N: np.ndarray
    amplitude_N: np.ndarray
    channel_U: np.ndarray
    templates_UCT: np.ndarray
    peak: int
    sampling_rate: float
    channels: Channels
    noise_C: np.ndarray
    start: float
    stop: float
    detectability_U: np.ndarray = field(default_factory=lambda: np.zeros(0))
    waveforms: dict[int, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.time_N)

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.channel_U)

    def train(self, unit: int) -> np.ndarray:
        """Return the spike times of a unit, seconds."""
        return self.time_N[self.unit_N == unit]

    def part(self, units: np.ndarray) -> Sorting:
        """Return some of the units, numbered from 0 on in the order given."""
        new_U = np.full(self.n_units, -1)
        new_U[units] = np.arange(len(units))
        kept_N = new_U[self.unit_N] >= 0
        return replace(
            self,
            time_N=self.time_N[kept_N],
            unit_N=new_U[self.unit_N[kept_N]],
            amplitude_N=self.amplitude_N[kept_N],
            channel_U=self.channel_U[units],
            templates_UCT=self.templates_UCT[units],
            detectability_U=self.detectability_U[units] if len(self.detectability_U) else self.detectability_U,
            waveforms={int(new_U[unit]): cut for unit, cut in self.waveforms.items() if new_U[unit] >= 0},
        )

    def near(self, unit: int) -> np.ndarray:
        """Return the channels of a unit's ``waveforms``: those on which it is largest, in channel order."""
        size_C = np.abs(self.templates_UCT[unit]).max(axis=1)
        order = np.argsort(-size_C, kind="stable")[:AROUND]
        return np.sort(order[size_C[order] > 0])

    def spikes(self) -> Spikes:
        """Return the spike trains in a recording's format."""
        order = np.lexsort((self.time_N, self.unit_N))
        counts = np.bincount(self.unit_N, minlength=self.n_units)
        return Spikes(self.time_N[order], np.concatenate([[0], np.cumsum(counts)]))

    def quality(self) -> dict[str, np.ndarray]:
        """Return quality metrics as columns of U numbers.

        Returns:
            ``snr``: peak of the template over the noise of its channel. ``isi_violations``: share of intervals below
            1.5 ms. ``presence``: share of 20 equal parts of the recording with a spike. ``amplitude_median`` µV,
            ``firing_rate`` Hz, ``detectability`` (NaN if unknown), and ``contamination``: estimated share of spikes of
            other neurons.
        """
        trains = [self.train(unit) for unit in range(self.n_units)]
        seconds = max(self.stop - self.start, 1e-9)
        peak_U = np.abs(self.templates_UCT[np.arange(self.n_units), self.channel_U, self.peak])
        noise_U = np.maximum(self.noise_C[self.channel_U], 1e-12) if self.n_units else np.zeros(0)
        parts = np.linspace(self.start, self.stop, 21)
        return {
            "snr": peak_U / noise_U,
            "isi_violations": np.array(
                [float((np.diff(train) < REFRACTORY).mean()) if len(train) > 1 else 0.0 for train in trains]
            ),
            "presence": np.array([float((np.histogram(train, parts)[0] > 0).mean()) for train in trains]),
            "amplitude_median": np.array(
                [
                    float(np.median(self.amplitude_N[self.unit_N == u])) if len(trains[u]) else 0.0
                    for u in range(self.n_units)
                ]
            ),
            "firing_rate": np.array([len(train) / seconds for train in trains]),
            "detectability": self._detectability(),
            "contamination": np.array([contamination(train, seconds) for train in trains]),
        }

    def labels(self) -> np.ndarray:
        """Return ``good`` for single units and ``mua`` for multi-unit activity.

        A unit is multi-unit activity if its spikes cannot be distinguished from smaller ones (detectability below 7),
        or if its short intervals show that more than a tenth of its spikes are of other neurons.
        """
        small_U = self._detectability() < MIN_DETECTABILITY
        seconds = self.stop - self.start
        mixed_U = np.array([is_contaminated(self.train(unit), seconds) for unit in range(self.n_units)], dtype=bool)
        return np.where(small_U | mixed_U, MUA, GOOD)

    def _detectability(self) -> np.ndarray:
        return self.detectability_U if len(self.detectability_U) else np.full(self.n_units, np.nan)


def contamination(train_N: np.ndarray, seconds: float) -> float:
    """Return the estimated share of spikes that other neurons fired, from intervals of 0.8 to 1.5 ms.

    The sorter finds no two spikes of a unit within 0.8 ms. With N spikes in T seconds and a share f of other neurons,
    ``(1 - (1 - f)^2) N^2 r / T`` pairs are expected in a range of r seconds (Llobet, Wyngaard and Barbour 2022). 1 if
    there are more. Coarse for few spikes: see `is_contaminated`.

    Args:
        train_N: seconds, rising.
        seconds: T.

    Example:
        >>> contamination(np.arange(100.0), 100.0)
        0.0
    """
    pairs, possible = _close_pairs(train_N, seconds)
    return 0.0 if not pairs else float(1.0 - np.sqrt(max(1.0 - pairs / possible, 0.0)))


def is_contaminated(train_N: np.ndarray, seconds: float) -> bool:
    """Return True if short intervals are too many for a tenth of foreign spikes (Poisson, 5 %).

    Example:
        >>> cell = np.cumsum(np.random.default_rng(0).exponential(0.1, 4000))
        >>> is_contaminated(cell, cell[-1]), is_contaminated(cell[np.diff(cell, prepend=-1) > 0.003], cell[-1])
        (True, False)
    """
    pairs, possible = _close_pairs(train_N, seconds)
    return bool(pairs and poisson.sf(pairs - 1, (1 - (1 - MAX_CONTAMINATION) ** 2) * possible) < EVIDENCE)


def _close_pairs(train_N: np.ndarray, seconds: float) -> tuple[int, float]:
    """Return pairs of spikes 0.8 to 1.5 ms apart, and how many spikes at random times would have."""
    low, high = np.searchsorted(train_N, train_N + DEAD), np.searchsorted(train_N, train_N + REFRACTORY)
    return int((high - low).sum()), len(train_N) ** 2 * (REFRACTORY - DEAD) / max(seconds, 1e-9)
