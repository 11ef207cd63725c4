"""What a sampler is, and what samplers share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from foundation.common.errors import ConfigError
from foundation.data.windows import WindowTable, bins_of, to_nanoseconds
from foundation.store.interval import Interval


@runtime_checkable
class Sampler(Protocol):
    """An endless numbered sequence of windows of ``recordings``."""

    recordings: tuple[str, ...]

    def windows(self, first: int, last: int) -> WindowTable:
        """Windows number ``first`` to ``last - 1``."""


@dataclass(frozen=True)
class Shape:
    """Windows of one length: ``n_bins`` bins of ``width`` nanoseconds."""

    n_bins: int
    width: int

    @classmethod
    def of(cls, duration: float, bin_width: float) -> Shape:
        return cls(*bins_of(duration, bin_width))

    @property
    def length(self) -> int:
        """Nanoseconds of a window."""
        return self.n_bins * self.width

    def table(self, recording_B: np.ndarray, start_B: np.ndarray, label_B: np.ndarray | None = None) -> WindowTable:
        """Windows of this shape."""
        n = len(recording_B)
        return WindowTable(
            recording_B=recording_B,
            start_B=start_B,
            n_bins_B=np.full(n, self.n_bins, dtype=np.int64),
            width_B=np.full(n, self.width, dtype=np.int64),
            label_B=np.full(n, -1, dtype=np.int64) if label_B is None else label_B,
        )


@dataclass(frozen=True)
class Spans:
    """The intervals of several recordings, flat: ``[low_I, high_I]`` nanoseconds, and the recording of each."""

    recordings: tuple[str, ...]
    recording_I: np.ndarray
    low_I: np.ndarray
    high_I: np.ndarray

    @classmethod
    def of(cls, intervals: Mapping[str, Interval]) -> Spans:
        """Recordings in the order of their ids."""
        names = tuple(sorted(intervals))
        sizes = [len(intervals[name]) for name in names]
        starts = [np.zeros(0), *(intervals[name].start for name in names)]
        ends = [np.zeros(0), *(intervals[name].end for name in names)]
        return cls(
            names,
            np.repeat(np.arange(len(names)), sizes),
            to_nanoseconds(np.concatenate(starts)),
            to_nanoseconds(np.concatenate(ends)),
        )


def grid_of(grid: float | None) -> int:
    """Nanoseconds between two possible starts.

    Raises:
        ConfigError: if the grid is not above 0.
    """
    if grid is None:
        return 1
    if not (np.isfinite(grid) and grid >= 1e-9):
        raise ConfigError(f"grid is {grid}: seconds between two possible starts, above 0, or None for any nanosecond")
    return int(to_nanoseconds(grid))


def check_seed(seed: int) -> int:
    """The seed.

    Raises:
        ConfigError: if it is no integer from 0 to 2^64 - 1.
    """
    if not 0 <= int(seed) < 1 << 64:
        raise ConfigError(f"seed is {seed}: an integer from 0 to 2^64 - 1")
    return int(seed)


def no_window(what: str, length: int) -> ConfigError:
    """The error of a sampler that has nothing to draw from."""
    return ConfigError(f"no {what} holds a window of {length / 1e9:g} s: give a shorter duration or other intervals")


def uniforms(seed: int, first: int, last: int) -> np.ndarray:
    """``(last - first, 4)`` numbers in [0, 1) that belong to the items ``first`` to ``last - 1`` of a sequence.

    The generator counts (Philox): item i has the four numbers of count i, whatever was drawn before.

    Example:
        >>> bool((uniforms(7, 0, 10)[4:6] == uniforms(7, 4, 6)).all())
        True
    """
    generator = np.random.Generator(np.random.Philox(key=seed, counter=first))
    return generator.random((last - first, 4))


class Places:
    """Starts on the grids of intervals, drawn uniformly inside groups that are drawn with given shares.

    Args:
        spans: the intervals.
        length: nanoseconds of a window; intervals that hold none have no place.
        grid: nanoseconds between two starts.
        group_I: group of each interval.
        share_G: the share of each group; None: by its number of places, so that every start is equally likely.
    """

    def __init__(
        self, spans: Spans, length: int, grid: int, group_I: np.ndarray, share_G: np.ndarray | None = None
    ) -> None:
        order = np.argsort(group_I, kind="stable")
        self.low_I, self.recording_I, self.group_I = spans.low_I[order], spans.recording_I[order], group_I[order]
        places_I = np.maximum((spans.high_I[order] - self.low_I - length) // grid + 1, 0)
        n_groups = int(group_I.max(initial=-1)) + 1 if share_G is None else len(share_G)
        self.places_G = np.zeros(n_groups, dtype=np.int64)
        np.add.at(self.places_G, self.group_I, places_I)
        self.before_I = np.concatenate([[0], np.cumsum(places_I)])
        self.before_G = np.concatenate([[0], np.cumsum(self.places_G)])
        self.grid = grid
        self.total = int(self.before_I[-1])
        share_G = self.places_G.astype(float) if share_G is None else np.where(self.places_G > 0, share_G, 0.0)
        self.cumulative_G = np.cumsum(share_G / share_G.sum()) if share_G.sum() > 0 else np.zeros(n_groups)

    def draw(self, u_B4: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Recording, start in nanoseconds, and group of each draw, from two uniform numbers a draw."""
        last = int(np.flatnonzero(self.places_G)[-1])
        group_B = np.minimum(np.searchsorted(self.cumulative_G, u_B4[:, 0], side="right"), last)
        places_B = self.places_G[group_B]
        inside_B = np.minimum((u_B4[:, 1] * places_B).astype(np.int64), places_B - 1)
        place_B = self.before_G[group_B] + inside_B
        i_B = np.searchsorted(self.before_I, place_B, side="right") - 1
        return self.recording_I[i_B], self.low_I[i_B] + (place_B - self.before_I[i_B]) * self.grid, group_B
