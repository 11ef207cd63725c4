"""Result of sorting: units, their spikes, templates and quality."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from foundation.store import Spikes
from ingest.sorting.voltage.voltage import Channels

AROUND = 8  # channels of a unit whose waveforms are kept
REFRACTORY = 0.0015  # seconds: an interval that one neuron does not fire


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
            waveforms={int(new_U[unit]): cut for unit, cut in self.waveforms.items() if new_U[unit] >= 0},
        )

    def near(self, unit: int) -> np.ndarray:
        """Return the channels of a unit's ``waveforms``: those on which it is largest, in channel order."""
        size_C = np.abs(self.templates_UCT[unit]).max(axis=1)
        return np.sort(np.argsort(-size_C, kind="stable")[:AROUND])

    def spikes(self) -> Spikes:
        """Return the spike trains in a recording's format."""
        order = np.lexsort((self.time_N, self.unit_N))
        counts = np.bincount(self.unit_N, minlength=self.n_units)
        return Spikes(self.time_N[order], np.concatenate([[0], np.cumsum(counts)]))

    def quality(self) -> dict[str, np.ndarray]:
        """Return quality metrics as columns of U numbers.

        Returns:
            ``snr``: peak of the template over the noise of its channel. ``isi_violations``: share of intervals below
            1.5 ms. ``presence``: share of 20 equal parts of the recording with a spike. ``amplitude_median`` µV, and
            ``firing_rate`` Hz.
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
        }
