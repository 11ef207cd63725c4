"""Intervals of time, such as observed time, behavioural states and trials."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Interval:
    """K half-open spans ``[start, end)`` in seconds, each with values in named columns.

    Args:
        start: ``(K,)`` float64 seconds, in any order.
        end: ``(K,)`` float64 seconds, ``end >= start``.
        columns: name -> ``(K, ...)`` array; text columns hold ``''`` where a value is missing.

    Raises:
        ValueError: if lengths differ, a time is not finite, or an interval ends before it starts.

    Example:
        >>> states = Interval([0.0, 10.0], [10.0, 15.0], {"state": np.array(["wake", "nrem"])})
        >>> states.slice(8.0, 12.0).end.tolist()
        [10.0, 12.0]
        >>> float(states.duration)
        15.0
    """

    start: np.ndarray
    end: np.ndarray
    columns: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        start = np.asarray(self.start, dtype=np.float64).reshape(-1)
        end = np.asarray(self.end, dtype=np.float64).reshape(-1)
        if start.shape != end.shape:
            raise ValueError(f"an Interval has {len(start)} starts and {len(end)} ends: expected equal numbers")
        if not (np.isfinite(start).all() and np.isfinite(end).all()):
            raise ValueError("an Interval has starts or ends that are NaN or infinite: expected finite seconds")
        if (end < start).any():
            k = int(np.argmax(end < start))
            raise ValueError(f"interval {k} ends before it starts: [{start[k]}, {end[k]}): expected end >= start")
        columns = {name: np.asarray(values) for name, values in self.columns.items()}
        for name, values in columns.items():
            if len(values) != len(start):
                raise ValueError(f"column {name!r} has {len(values)} values: expected {len(start)}, one per interval")
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "end", end)
        object.__setattr__(self, "columns", columns)

    @classmethod
    def single(cls, start: float, end: float) -> Interval:
        """Return one span ``[start, end)``."""
        return cls(np.array([start]), np.array([end]))

    def __len__(self) -> int:
        return len(self.start)

    @property
    def duration(self) -> float:
        """Seconds covered, counted once where intervals overlap."""
        merged = self.union()
        return float((merged.end - merged.start).sum())

    def where(self, keep: np.ndarray) -> Interval:
        """Return the intervals that a boolean mask or an index array selects, with their columns."""
        return Interval(self.start[keep], self.end[keep], {n: v[keep] for n, v in self.columns.items()})

    def slice(self, start: float, end: float) -> Interval:
        """Return the intervals that overlap ``[start, end)``, clipped to it."""
        kept = self.where((self.end > start) & (self.start < end))
        return Interval(np.maximum(kept.start, start), np.minimum(kept.end, end), kept.columns)

    def union(self) -> Interval:
        """Return the same time as sorted disjoint intervals, without columns."""
        order = np.argsort(self.start, kind="stable")
        start, end = self.start[order], self.end[order]
        positive = end > start
        start, end = start[positive], end[positive]
        if not len(start):
            return Interval(start, end)
        reach = np.maximum.accumulate(end)
        first = np.concatenate([[True], start[1:] > reach[:-1]])
        last = np.concatenate([first[1:], [True]])
        return Interval(start[first], reach[last])

    def intersect(self, other: Interval) -> Interval:
        """Return the time covered by both, as sorted disjoint intervals.

        Example:
            >>> both = Interval([0.0, 5.0], [4.0, 9.0]).intersect(Interval([3.0], [6.0]))
            >>> both.start.tolist(), both.end.tolist()
            ([3.0, 5.0], [4.0, 6.0])
        """
        mine, theirs = self.union(), other.union()
        first = np.searchsorted(theirs.end, mine.start, side="right")
        last = np.searchsorted(theirs.start, mine.end, side="left")
        count = np.maximum(last - first, 0)
        i = np.repeat(np.arange(len(mine)), count)
        j = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
        return Interval(np.maximum(mine.start[i], theirs.start[j]), np.minimum(mine.end[i], theirs.end[j]))

    def without(self, other: Interval) -> Interval:
        """Return the time covered by this one alone, as sorted disjoint intervals.

        Example:
            >>> rest = Interval([0.0], [9.0]).without(Interval([3.0, 8.0], [4.0, 12.0]))
            >>> rest.start.tolist(), rest.end.tolist()
            ([0.0, 4.0], [3.0, 8.0])
        """
        mine, theirs = self.union(), other.union()
        if not len(mine) or not len(theirs):
            return mine
        low, high = mine.start[0], mine.end[-1]
        start = np.concatenate([[low], theirs.end.clip(low, high)])
        end = np.concatenate([theirs.start.clip(low, high), [high]])
        return mine.intersect(Interval(start, np.maximum(start, end)))

    def contains(self, times: np.ndarray) -> np.ndarray:
        """Return a boolean per time: True if it lies in one of the intervals."""
        merged = self.union()
        times = np.asarray(times, dtype=np.float64)
        k = np.searchsorted(merged.start, times, side="right") - 1
        inside = k >= 0
        inside[inside] = times[inside] < merged.end[k[inside]]
        return inside

    def covers(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Return a boolean per span ``[start, end]``: True if a single interval covers it."""
        merged = self.union()
        start, end = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
        k = np.searchsorted(merged.start, start + 1e-9, side="right") - 1
        covered = k >= 0
        covered[covered] = end[covered] <= merged.end[k[covered]] + 1e-9
        return covered
