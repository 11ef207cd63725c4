"""Waveforms of detected spikes, as clustering reads them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foundation.common.errors import SourceError


@dataclass(frozen=True)
class Waveforms:
    """Windows around N spikes on C channels, T samples each, aligned to their peak.

    Args:
        x_NCT: float32, each spike divided by its amplitude.
        amplitude_N: float32, µV: the size of the peak on the channel where the spike is largest.
        time_N: float64, seconds from the start of the recording.
        channel_N: int, the channel of each spike's peak.
        sampling_rate: Hz, of x_NCT.
        background_SCT: float32, µV: windows of the filtered voltage away from spikes; None if they were not cut.

    Raises:
        SourceError: if lengths disagree.

    Example:
        >>> empty = Waveforms(np.zeros((0, 1, 39), np.float32), np.zeros(0), np.zeros(0), np.zeros(0, int), 19500.0)
        >>> len(empty), empty.flat_ND.shape
        (0, (0, 39))
    """

    x_NCT: np.ndarray
    amplitude_N: np.ndarray
    time_N: np.ndarray
    channel_N: np.ndarray
    sampling_rate: float
    background_SCT: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.x_NCT.ndim != 3:
            raise SourceError(f"x_NCT has shape {self.x_NCT.shape}: expected spikes x channels x samples")
        for name in ("amplitude_N", "time_N", "channel_N"):
            if len(getattr(self, name)) != len(self.x_NCT):
                raise SourceError(f"{name} has {len(getattr(self, name))} entries: expected {len(self.x_NCT)}")

    def __len__(self) -> int:
        return len(self.x_NCT)

    @property
    def flat_ND(self) -> np.ndarray:  # noqa: N802
        """Return ``(N, C * T)``: the channels of each spike joined."""
        return self.x_NCT.reshape(len(self.x_NCT), self.x_NCT.shape[1] * self.x_NCT.shape[2])

    def part(self, index: np.ndarray) -> Waveforms:
        """Return the waveforms at an index or where a mask is true."""
        return Waveforms(
            self.x_NCT[index],
            self.amplitude_N[index],
            self.time_N[index],
            self.channel_N[index],
            self.sampling_rate,
            self.background_SCT,
        )
