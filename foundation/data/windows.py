"""Windows as flat arrays, from samplers to readers."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from foundation.common.errors import ConfigError

NANOSECONDS = 1_000_000_000


def to_nanoseconds(seconds: np.ndarray | float) -> np.ndarray:
    """Return seconds as int64 nanoseconds, rounded to the nearest.

    Example:
        >>> int(to_nanoseconds(0.1 * 3))
        300000000
    """
    return np.rint(np.asarray(seconds, dtype=np.float64) * NANOSECONDS).astype(np.int64)


def bins_of(duration: float, bin_width: float) -> tuple[int, int]:
    """Return the number of bins of a window of ``duration`` seconds, and the nanoseconds of a bin.

    Raises:
        ConfigError: if the duration is not a whole number of bins, or a bin is shorter than a microsecond.

    Example:
        >>> bins_of(1.0, 0.01)
        (100, 10000000)
    """
    if not (np.isfinite(bin_width) and 1e-6 <= bin_width <= 1e6):
        raise ConfigError(f"bin_width is {bin_width}: expected 0.000001 to 1000000 seconds")
    if not (np.isfinite(duration) and 0 < duration <= 1e6):
        raise ConfigError(f"duration is {duration}: expected more than 0 and at most 1000000 seconds")
    length, width = int(to_nanoseconds(duration)), int(to_nanoseconds(bin_width))
    n_bins = max(1, round(length / width))
    if abs(n_bins * width - length) > n_bins:  # a nanosecond per bin, for widths such as a third of a second
        raise ConfigError(
            f"duration is {duration} and bin_width {bin_width}: expected a whole number of bins per window"
        )
    return n_bins, width


@dataclass(frozen=True)
class WindowTable:
    """B windows.

    Args:
        recording_B: int64, index of the plan's recording.
        start_B: int64 nanoseconds from the session's start.
        n_bins_B: int64 bins.
        width_B: int64 nanoseconds of a bin.
        label_B: int64, the sampler's label of a window: the row of its trial, the code of its state, or -1.
        unit_offsets: ``(B + 1,)`` int64, window b shows units ``unit_index[unit_offsets[b]:unit_offsets[b + 1]]``;
            None: all units of its recording.
        unit_index: int64.
    """

    recording_B: np.ndarray
    start_B: np.ndarray
    n_bins_B: np.ndarray
    width_B: np.ndarray
    label_B: np.ndarray
    unit_offsets: np.ndarray | None = None
    unit_index: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.recording_B)

    def part(self, rows: slice) -> WindowTable:
        """Return some of the windows.

        Example:
            >>> one = np.arange(4)
            >>> WindowTable(one, one, one, one, one, np.arange(5), 10 * one).part(slice(1, None, 2)).unit_index.tolist()
            [10, 30]
        """
        names = [f.name for f in fields(self) if f.name.endswith("_B")]
        some = replace(self, **{name: getattr(self, name)[rows] for name in names})
        if self.unit_offsets is None or self.unit_index is None:
            return some
        low, high = self.unit_offsets[:-1][rows], self.unit_offsets[1:][rows]
        pieces = [self.unit_index[a:b] for a, b in zip(low, high, strict=True)]
        index = np.concatenate([*pieces, np.empty(0, dtype=np.int64)])
        return replace(some, unit_offsets=np.concatenate([[0], np.cumsum(high - low)]), unit_index=index)
