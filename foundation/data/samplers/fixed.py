"""Adjacent windows over all observed time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from foundation.common.errors import ConfigError
from foundation.data.samplers.epochs import Epochs
from foundation.data.samplers.sampler import EpochSampler, Shape, Spans, check_seed, grid_of, no_window, uniforms
from foundation.data.windows import WindowTable, to_nanoseconds
from foundation.store.interval import Interval


class FixedSampler(EpochSampler):
    r"""Sampler of windows that tile each interval, in order or shuffled, once an epoch.

    An interval of length L holds

    .. math:: n = \lfloor (L - d) / s \rfloor + 1

    windows of duration d and stride s. With jitter it holds one less (but at least one), and each epoch shifts the
    tiling of each interval by a random part of the remaining time, so that epochs see different windows.

    Args:
        intervals: recording id -> where windows may lie (`sampling_intervals`).
        duration: seconds of a window.
        intervals: recording id -> where windows may lie (`sampling_intervals`).
        stride: seconds from one window's start to the next's; None: the duration.
        shuffle: a new order every epoch; otherwise by recording and time.
        jitter: shift the windows of each interval in every epoch.
        grid: seconds; shifts are multiples of this. None: multiples of a nanosecond.
        seed: of order and jitter.

    Raises:
        ConfigError: if a value is invalid, or no interval holds a window.

    Example:
        >>> sampler = FixedSampler(intervals={"a": Interval([0.0], [3.5])}, duration=1.0, bin_width=0.1)
        >>> len(sampler), (sampler.windows(0, 4).start_B / 1e9).tolist()
        (3, [0.0, 1.0, 2.0, 0.0])
    """

    def __init__(
        self,
        *,
        intervals: Mapping[str, Interval],
        duration: float,
        bin_width: float,
        stride: float | None = None,
        shuffle: bool = False,
        jitter: bool = False,
        grid: float | None = None,
        seed: int = 0,
    ) -> None:
        self.shape, self.seed = Shape.of(duration, bin_width), check_seed(seed)
        if stride is not None and not (np.isfinite(stride) and stride >= 1e-6):
            raise ConfigError(f"stride is {stride}: expected more than 0 seconds, or None for windows side by side")
        length = self.shape.length
        self.stride = length if stride is None else int(to_nanoseconds(stride))
        self.shuffle, self.jitter, self.grid = shuffle, jitter, grid_of(grid)
        spans = Spans.of(intervals)
        self.recordings = spans.recordings
        room_I = spans.high_I - spans.low_I - length
        kept = room_I >= 0
        self._recording_I, self._low_I = spans.recording_I[kept], spans.low_I[kept]
        count_I = room_I[kept] // self.stride + 1
        if jitter:
            count_I = np.maximum(count_I - 1, 1)
        self._free_I = room_I[kept] - (count_I - 1) * self.stride
        if not len(count_I):
            raise no_window("interval", length)
        self._interval_W = np.repeat(np.arange(len(count_I)), count_I)
        self._tile_W = np.arange(len(self._interval_W)) - np.repeat(np.cumsum(count_I) - count_I, count_I)
        self._epochs = Epochs(len(self._interval_W), self._order)

    def __len__(self) -> int:
        return len(self._interval_W)

    def _order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(len(self))
        return np.random.default_rng([self.seed, epoch]).permutation(len(self))

    def windows(self, first: int, last: int) -> WindowTable:
        """Return windows number ``first`` to ``last - 1``."""
        recording, start = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        for epoch, items in self._epochs.items(first, last):
            i = self._interval_W[items]
            shift = 0
            if self.jitter:
                u_I = uniforms(self.seed ^ (epoch + 1) << 64, 0, len(self._low_I))[:, 0]
                shift = (u_I * (self._free_I // self.grid + 1)).astype(np.int64)[i] * self.grid
            recording.append(self._recording_I[i])
            start.append(self._low_I[i] + self._tile_W[items] * self.stride + shift)
        return self.shape.table(np.concatenate(recording), np.concatenate(start))
