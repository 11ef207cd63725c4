"""Voltage as the sorter reads it: stretches of all channels in microvolts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from foundation.common.errors import SourceError
from foundation.store.format.spill import let_go

MIN_RATE, MAX_RATE = 1e3, 1e6  # Hz; slower than a spike, faster than any converter


@dataclass(frozen=True)
class Channels:
    """Layout of C channels.

    Args:
        names: ``(C,)`` text, from the file.
        positions_C2: ``(C, 2)`` µm along and across the probe; NaN if unknown.
        groups: ``(C,)`` text: shank, tetrode or electrode. Channels of different groups do not see the same spikes.
        known: True if the file says where the channels lie; False for placeholder positions.
    """

    names: np.ndarray
    positions_C2: np.ndarray
    groups: np.ndarray
    known: bool = True

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def unknown(cls, n_channels: int, group_size: int | None = None) -> Channels:
        """Return channels without positions, in groups of ``group_size`` one after another, or all in one group.

        Example:
            >>> Channels.unknown(4, 2).groups.tolist()
            ['0', '0', '1', '1']
        """
        channel_C = np.arange(n_channels)
        groups = channel_C // (group_size or n_channels)
        return cls(channel_C.astype(str), np.full((n_channels, 2), np.nan), groups.astype(str), known=False)


class Voltage(ABC):
    """A recording's voltage.

    Args:
        path: the file, for messages.
        sampling_rate: Hz.
        n_samples: T.
        channels: layout of the C channels.
        start: seconds of the first sample.

    Attributes:
        notes: messages for those who look at the result.

    Raises:
        SourceError: if the rate or the number of samples or channels is invalid.
    """

    def __init__(self, path: str, sampling_rate: float, n_samples: int, channels: Channels, start: float = 0.0) -> None:
        if not MIN_RATE <= sampling_rate <= MAX_RATE:
            raise SourceError(
                f"{path}: sampling rate is {sampling_rate:g} Hz: expected {MIN_RATE:g} to {MAX_RATE:g}, as spikes take "
                "a millisecond; is this band-passed, or another series?"
            )
        if not len(channels):
            raise SourceError(f"{path}: voltage has no channel: expected at least one")
        if n_samples < 1:
            raise SourceError(f"{path}: voltage has {n_samples} samples: expected at least one")
        self.path, self.sampling_rate, self.n_samples = path, float(sampling_rate), int(n_samples)
        self.channels, self.start = channels, float(start)
        self.notes: list[str] = []

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return len(self.channels)

    @property
    def positions_C2(self) -> np.ndarray:  # noqa: N802
        """``(C, 2)`` µm; NaN if unknown."""
        return self.channels.positions_C2

    @property
    def groups(self) -> np.ndarray:
        """``(C,)`` group of each channel."""
        return self.channels.groups

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.n_samples / self.sampling_rate

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return ``(stop - start, C)`` float32 µV; missing samples are NaN.

        Args:
            start, stop: samples, ``0 <= start <= stop <= n_samples``.
        """
        if not 0 <= start <= stop <= self.n_samples:
            raise ValueError(f"samples {start} to {stop} of {self.n_samples}")
        return self._read(start, stop)

    @abstractmethod
    def _read(self, start: int, stop: int) -> np.ndarray: ...

    def seconds(self, sample_N: np.ndarray) -> np.ndarray:
        """Return the times of (possibly fractional) samples in seconds from the session's start."""
        return self.start + np.asarray(sample_N, dtype=np.float64) / self.sampling_rate

    def close(self) -> None:  # noqa: B027  (most hold nothing open)
        """Close the file."""

    def __enter__(self) -> Voltage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class Scale:
    """Turns stored numbers into µV: ``stored * gain + offset``.

    Args:
        gain: µV of a step; a number, or ``(C,)``.
        offset: µV of a stored 0; a number, or ``(C,)``.

    Raises:
        SourceError: if a gain is 0 or one of the two is not finite.

    Example:
        >>> Scale(0.5, -1.0)(np.array([[2], [4]], dtype=np.int16)).ravel().tolist()
        [0.0, 1.0]
    """

    gain: float | np.ndarray = 1.0
    offset: float | np.ndarray = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.gain).all() and (np.asarray(self.gain) != 0).all()):
            raise SourceError(f"gain is {self.gain}: expected finite microvolts a step, other than 0")
        if not np.isfinite(self.offset).all():
            raise SourceError(f"offset is {self.offset}: expected finite microvolts")

    def __call__(self, stored_TC: np.ndarray) -> np.ndarray:
        x_TC = np.asarray(stored_TC).astype(np.float32)
        if np.ndim(self.gain) or self.gain != 1.0:
            x_TC *= np.asarray(self.gain, dtype=np.float32)
        if np.ndim(self.offset) or self.offset != 0.0:
            x_TC += np.asarray(self.offset, dtype=np.float32)
        return x_TC


class ArrayVoltage(Voltage):
    """Voltage in memory or in a memory map.

    Args:
        stored_TC: ``(T, C)`` numbers; one dimension is one channel.
        sampling_rate: Hz.
        channels: their layout; by default one group without positions.
        scale: stored numbers to µV; by default they are µV.
        start: seconds of the first sample.
        path: a name, for messages.

    Example:
        >>> voltage = ArrayVoltage(np.zeros((100, 4), dtype=np.int16), 24_000.0)
        >>> voltage.read(0, 10).shape, voltage.n_channels
        ((10, 4), 4)
    """

    def __init__(
        self,
        stored_TC: np.ndarray,
        sampling_rate: float,
        channels: Channels | None = None,
        scale: Scale | None = None,
        start: float = 0.0,
        path: str = "array",
    ) -> None:
        self._stored_TC = stored_TC[:, None] if stored_TC.ndim == 1 else stored_TC
        self._scale = scale or Scale()
        self.dtype = self._stored_TC.dtype
        n_samples, n_channels = self._stored_TC.shape
        super().__init__(path, sampling_rate, n_samples, channels or Channels.unknown(n_channels), start)

    def _read(self, start: int, stop: int) -> np.ndarray:
        read_TC = self._scale(self._stored_TC[start:stop])
        let_go(self._stored_TC)  # pages of a mapped file that has been read would stay in memory
        return read_TC
