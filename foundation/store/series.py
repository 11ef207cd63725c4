"""Sampled quantities: behaviour, dF/F, binned counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foundation.store.interval import Interval


@dataclass(frozen=True)
class RegularTimeSeries:
    """Samples at a fixed rate; sample ``i`` covers ``[start + i / rate, start + (i + 1) / rate)``.

    Args:
        data: ``(T, ...)`` samples, NaN where one is missing.
        rate: samples per second.
        start: seconds from the session's start to the first sample's beginning.
        unit: the unit of measure as the source gives it, ``''`` if unknown.

    Raises:
        ValueError: if the rate is not positive and finite.

    Example:
        >>> counts = RegularTimeSeries(np.arange(4.0), rate=0.25, start=0.0)
        >>> counts.timestamps.tolist(), float(counts.domain.duration)
        ([0.0, 4.0, 8.0, 12.0], 16.0)
    """

    data: np.ndarray
    rate: float
    start: float = 0.0
    unit: str = ""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.rate) and self.rate > 0):
            raise ValueError(f"rate is {self.rate}: expected more than 0 Hz")
        if not np.isfinite(self.start):
            raise ValueError(f"start is {self.start}: expected finite seconds")

    def __len__(self) -> int:
        return len(self.data)

    @property
    def timestamps(self) -> np.ndarray:
        """``(T,)`` seconds at which each sample begins."""
        return self.start + np.arange(len(self.data)) / self.rate

    @property
    def domain(self) -> Interval:
        return Interval.single(self.start, self.start + len(self.data) / self.rate)


@dataclass(frozen=True)
class IrregularTimeSeries:
    """Samples at their own times.

    Args:
        timestamps: ``(T,)`` seconds, not decreasing.
        data: ``(T, ...)`` samples, NaN where one is missing.
        unit: the unit of measure as the source gives it.

    Raises:
        ValueError: if lengths differ, or timestamps decrease or are not finite.

    Example:
        >>> position = IrregularTimeSeries([0.0, 1.0, 2.0], np.array([[0.0], [2.0], [4.0]]))
        >>> position.at(np.array([0.5, 5.0])).ravel().tolist()
        [1.0, nan]
    """

    timestamps: np.ndarray
    data: np.ndarray
    unit: str = ""

    def __post_init__(self) -> None:
        timestamps = np.asarray(self.timestamps, dtype=np.float64)
        if len(timestamps) != len(self.data):
            raise ValueError(f"timestamps have {len(timestamps)} values: expected {len(self.data)}, one per sample")
        if not np.isfinite(timestamps).all():
            raise ValueError("timestamps hold NaN or infinity: expected finite seconds")
        falls = timestamps[1:] < timestamps[:-1]
        if falls.any():
            k = int(np.argmax(falls))
            raise ValueError(
                f"timestamps decrease after sample {k}, {timestamps[k]} -> {timestamps[k + 1]}: expected rising times"
            )
        object.__setattr__(self, "timestamps", timestamps)

    def __len__(self) -> int:
        return len(self.data)

    @property
    def period(self) -> float:
        """The median time between samples, in seconds (NaN for fewer than two samples)."""
        return float(np.median(np.diff(self.timestamps))) if len(self.timestamps) > 1 else float("nan")

    @property
    def domain(self) -> Interval:
        if not len(self.timestamps):
            return Interval(np.empty(0), np.empty(0))
        return Interval.single(self.timestamps[0], self.timestamps[-1])

    def at(self, times: np.ndarray, max_gap: float | None = None) -> np.ndarray:
        """Return the samples linearly interpolated at ``times``.

        Args:
            times: ``(K,)`` seconds.
            max_gap: the longest gap between two samples to interpolate over, in seconds; by default ten periods.

        Returns:
            ``(K, ...)`` float64; NaN outside the series, inside a longer gap, and next to a NaN sample.
        """
        times = np.asarray(times, dtype=np.float64)
        data = np.asarray(self.data, dtype=np.float64)
        if len(data) < 2:
            return np.full((len(times), *data.shape[1:]), np.nan)
        limit = 10 * self.period if max_gap is None else max_gap
        right = np.clip(np.searchsorted(self.timestamps, times, side="right"), 1, len(data) - 1)
        left = right - 1
        gap = self.timestamps[right] - self.timestamps[left]
        share = np.divide(times - self.timestamps[left], gap, out=np.zeros_like(times), where=gap > 0)
        shape = (-1, *[1] * (data.ndim - 1))
        value = data[left] + (data[right] - data[left]) * share.reshape(shape)
        # A time equal to a sample's takes that sample, even next to a NaN.
        value = np.where((share == 0).reshape(shape), data[left], value)
        value = np.where((share == 1).reshape(shape), data[right], value)
        on_sample = (share == 0) | (share == 1)
        outside = (times < self.timestamps[0]) | (times > self.timestamps[-1]) | ((gap > limit) & ~on_sample)
        value[outside] = np.nan
        return value


TimeSeries = RegularTimeSeries | IrregularTimeSeries
