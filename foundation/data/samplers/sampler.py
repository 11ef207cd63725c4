"""The interface of samplers, and their shared parts."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from foundation.common.errors import ConfigError
from foundation.data.covariate_settings import SurroundSettings
from foundation.data.steps.step import Plan, StepWindows
from foundation.data.windows import NANOSECONDS, WindowTable, bins_of, to_nanoseconds
from foundation.store.catalog_row import CatalogRows
from foundation.store.interval import Interval

log = logging.getLogger(__name__)
BATCH_SIZE = 64
DRAWN_TOGETHER = 16  # steps whose windows are drawn together: drawing few costs as much as drawing many


class Sampler(Protocol):
    """The loader's input: an object that gives the windows of every step."""

    def plan(self, batch_size: int | None = None) -> Plan:
        """Return the windows of every step.

        Args:
            batch_size: windows of a step, over all processes; None: the sampler's own choice.

        Raises:
            ConfigError: if the sampler cannot make batches of this size.
        """


class WindowSampler(ABC):
    """Sampler of an endless numbered sequence of windows of one length.

    Attributes:
        recordings: ids of the recordings that its tables refer to.
        shape: the length of its windows.
        seed: of all draws.
    """

    recordings: tuple[str, ...]
    shape: Shape
    seed: int

    @abstractmethod
    def windows(self, first: int, last: int) -> WindowTable:
        """Return windows number ``first`` to ``last - 1``."""

    def plan(self, batch_size: int | None = None) -> WindowPlan:
        """Return steps of ``batch_size`` windows, one after another; 64 by default."""
        return WindowPlan(self, BATCH_SIZE if batch_size is None else batch_size)

    def steps_together(self, batch_size: int) -> int | None:
        """Return how many consecutive steps read about the same blocks; None without a preference."""
        return None

    @property
    def epoch_size(self) -> int | None:
        """Return the windows of an epoch; None for samplers without epochs."""
        return None


class EpochSampler(WindowSampler):
    """Sampler of epochs of `len` windows, each drawn once an epoch."""

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    def epoch_size(self) -> int:
        """Windows of an epoch."""
        return len(self)


@dataclass(frozen=True)
class WindowPlan:
    """Steps of ``batch_size`` windows of a numbered sampler; processes take every ``world``-th window of a step.

    Args:
        sampler: the windows.
        batch_size: windows of a step, over all processes.
        end: the window at which the last step is cut short; None: steps continue over epochs.
    """

    sampler: WindowSampler
    batch_size: int
    end: int | None = None
    bins_per_token: int = field(default=1, init=False)
    surround: SurroundSettings | None = field(default=None, init=False)
    _drawn: list[tuple[int, WindowTable]] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def recordings(self) -> Sequence[str]:
        return self.sampler.recordings

    @property
    def seed(self) -> int:
        return self.sampler.seed

    @property
    def steps_together(self) -> int | None:
        return self.sampler.steps_together(self.batch_size)

    def check(self, records: CatalogRows, rank: int, world: int) -> None:
        """Raise ConfigError if ``world`` processes cannot share a step; warn about times coarser than bins."""
        if self.batch_size < 1:
            raise ConfigError(f"batch_size is {self.batch_size}: expected at least 1")
        if not 0 <= rank < world:
            raise ConfigError(f"rank is {rank} and world {world}: expected 0 <= rank < world")
        if world > self.batch_size:
            raise ConfigError(
                f"{world} processes cannot share a step of batch_size={self.batch_size}: raise batch_size"
            )
        bin_width = self.sampler.shape.width / NANOSECONDS
        resolution_R = records.numbers("resolution")
        n_coarse = int((resolution_R > bin_width * (1 + 1e-6)).sum())
        if n_coarse:
            worst = records[int(np.argmax(resolution_R))]
            log.warning(
                "bin_width is %g s, finer than the resolution of %d of %d recordings (%g s in %s): "
                "give a bin_width and a grid no shorter than that, or leave them out",
                *(bin_width, n_coarse, len(records), worst.resolution, worst.path),
            )

    def windows(self, step: int, rank: int = 0, world: int = 1) -> StepWindows:
        """Draw one process's windows of a step, of ``world`` processes, as the only view."""
        first = step - step % DRAWN_TOGETHER
        if not self._drawn or self._drawn[0][0] != first:
            numbers = [first * self.batch_size, (first + DRAWN_TOGETHER) * self.batch_size]
            if self.end is not None:
                numbers = [min(n, self.end) for n in numbers]
            self._drawn[:] = [(first, self.sampler.windows(*numbers))]
        begin = (step - first) * self.batch_size
        table = self._drawn[0][1].part(slice(begin + rank, begin + self.batch_size, world))
        return StepWindows.of(step, rank + world * np.arange(len(table)), [table])

    def epoch(self) -> tuple[WindowPlan, int] | None:
        """Return a plan that ends with the first epoch, and its number of steps; None if there are no epochs."""
        size = self.sampler.epoch_size
        return None if size is None else (replace(self, end=size), -(-size // self.batch_size))


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
        """Return the nanoseconds of a window."""
        return self.n_bins * self.width

    def table(self, recording_B: np.ndarray, start_B: np.ndarray, label_B: np.ndarray | None = None) -> WindowTable:
        """Return windows of this shape."""
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
        """Return recordings in the order of their ids."""
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
    """Return the nanoseconds between two possible starts.

    Raises:
        ConfigError: if the grid is not above 0.
    """
    if grid is None:
        return 1
    if not (np.isfinite(grid) and grid >= 1e-9):
        raise ConfigError(
            f"grid is {grid}: expected seconds between two possible starts, above 0, or None for any nanosecond"
        )
    return int(to_nanoseconds(grid))


def check_seed(seed: int) -> int:
    """Return the seed.

    Raises:
        ConfigError: if it is not an integer from 0 to 2^64 - 1.
    """
    if not 0 <= int(seed) < 1 << 64:
        raise ConfigError(f"seed is {seed}: expected an integer from 0 to 2^64 - 1")
    return int(seed)


def no_window(what: str, length: int) -> ConfigError:
    """Return the error of a sampler without any window to draw."""
    return ConfigError(f"no {what} holds a window of {length / 1e9:g} s: give a shorter duration or other intervals")


def uniforms(seed: int, first: int, last: int) -> np.ndarray:
    """Return ``(last - first, 4)`` numbers in [0, 1) of the items ``first`` to ``last - 1`` of a sequence.

    The generator is counter-based (Philox): item i has the four numbers of counter i, independent of earlier draws.

    Example:
        >>> bool((uniforms(7, 0, 10)[4:6] == uniforms(7, 4, 6)).all())
        True
    """
    generator = np.random.Generator(np.random.Philox(key=seed, counter=first))
    return generator.random((last - first, 4))


class Places:
    """Starts on the grids of intervals, uniform within groups, which are drawn with given probabilities.

    Args:
        spans: the intervals.
        length: nanoseconds of a window; shorter intervals have no place.
        grid: nanoseconds between two starts.
        group_I: group of each interval.
        share_G: the share of each group; None: by number of places, so that every start is equally likely.
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
        """Return recording, start in nanoseconds and group of each draw, from two uniform numbers per draw."""
        last = int(np.flatnonzero(self.places_G)[-1])
        group_B = np.minimum(np.searchsorted(self.cumulative_G, u_B4[:, 0], side="right"), last)
        places_B = self.places_G[group_B]
        inside_B = np.minimum((u_B4[:, 1] * places_B).astype(np.int64), places_B - 1)
        place_B = self.before_G[group_B] + inside_B
        i_B = np.searchsorted(self.before_I, place_B, side="right") - 1
        return self.recording_I[i_B], self.low_I[i_B] + (place_B - self.before_I[i_B]) * self.grid, group_B
