"""Views that an objective needs: number of segments of the same units, lengths, distances and starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foundation.common.errors import ConfigError
from foundation.data.covariate_settings import SurroundSettings
from foundation.store.interval import Interval


@dataclass(frozen=True)
class ViewSpec:
    """Views of one window: segments of the same units at different times.

    Args:
        views: number of segments.
        min_tokens: tokens of the shortest segment.
        max_tokens: tokens of the longest; each view draws its own length in this range.
        max_distance: largest distance in seconds between the starts of two views; None: anywhere in the recording.
        candidates: number of further segments from anywhere in the recording, from which an objective may choose.
        surround: surrounding information of each view; None: none.
        apart: views do not overlap in time, if the recording is long enough.
        condition: ``table.column`` of intervals, such as ``states.state``: later views have a different label from the
            middle of the first view, if the recording has such a table and enough time; None: no condition.
        cut: the first view may begin in an interval that is shorter than the view, and is then cut to the interval's
            whole tokens, so that short trials are seen as often as long ones; never to fewer than ``min_tokens``.

    Raises:
        ConfigError: if a number is invalid.

    Example:
        >>> ViewSpec(views=2, min_tokens=8, max_tokens=32).tokens
        64
    """

    views: int = 2
    min_tokens: int = 8
    max_tokens: int = 32
    max_distance: float | None = None
    candidates: int = 0
    surround: SurroundSettings | None = None
    apart: bool = False
    condition: str | None = None
    cut: bool = False

    def __post_init__(self) -> None:
        if self.views < 1:
            raise ConfigError(f"views is {self.views}: expected at least 1")
        if self.candidates < 0:
            raise ConfigError(f"candidates is {self.candidates}: expected 0 or more")
        if not 1 <= self.min_tokens <= self.max_tokens:
            raise ConfigError(
                f"min_tokens is {self.min_tokens} and max_tokens {self.max_tokens}: expected 1 <= min_tokens <= "
                "max_tokens"
            )
        if self.max_distance is not None and not self.max_distance > 0:
            raise ConfigError(
                f"max_distance is {self.max_distance}: expected more than 0 seconds, or null for anywhere"
            )
        check_condition(self.condition)

    @property
    def tokens(self) -> int:
        """Return the maximum tokens of one unit over all views and candidates."""
        return (self.views + self.candidates) * self.max_tokens


def draw_start(
    rng: np.random.Generator,
    domain: Interval,
    length: float,
    grid: float,
    near: tuple[float, float] | None = None,
    taken: Interval | None = None,
) -> float | None:
    """Return a uniformly random start of a segment inside one interval and on its grid.

    Args:
        rng: draws one number, if there is a possible start.
        domain: observed time of the recording.
        length: seconds of the segment.
        grid: seconds between two possible starts, counted from each interval's own start.
        near: a time, and the largest distance of the start from it in seconds.
        taken: time that the segment must avoid.

    Returns:
        Seconds; None if nothing fits.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> draw_start(rng, Interval.single(0.0, 10.0), 2.0, 0.5, taken=Interval.single(1.0, 8.0))
        8.0
        >>> draw_start(rng, Interval.single(0.0, 10.0), 11.0, 0.5) is None
        True
    """
    origin, low, end = domain.start, domain.start, domain.end
    if taken is not None and len(taken):
        free = domain.without(taken)
        origin = domain.start[np.searchsorted(domain.start, free.start, side="right") - 1]
        # Stay on each interval's grid: move the lower bound up by whole grid steps.
        low, end = origin + np.ceil((free.start - origin) / grid - 1e-6) * grid, free.end
    high = end - length
    if near is not None:
        place, reach = near
        first = np.maximum(0, np.ceil((place - reach - low) / grid - 1e-6)) * grid
        low, high = low + first, np.minimum(high, place + reach)
    places = np.maximum(np.floor((high - low) / grid + 1e-3).astype(np.int64) + 1, 0)
    total = int(places.sum())
    if total == 0:
        return None
    k = int(rng.integers(total))
    i = int(np.searchsorted(np.cumsum(places), k, side="right"))
    return float(low[i] + (k - (np.cumsum(places)[i] - places[i])) * grid)


def draw_cut(
    rng: np.random.Generator, domain: Interval, tokens: int, min_tokens: int, token: float, grid: float
) -> tuple[float, int] | None:
    """Return a segment of ``tokens`` tokens, or a whole shorter interval.

    Every start on an interval's grid that leaves room for all tokens is equally likely; a shorter interval counts as
    one start, its own.

    Args:
        rng: draws one number, if there is a possible start.
        domain: observed time of the recording.
        tokens: largest number of tokens of the segment.
        min_tokens: smallest number of tokens of the segment.
        token: seconds of a token.
        grid: seconds between two possible starts.

    Returns:
        Start in seconds and number of tokens; None if no interval holds ``min_tokens``.

    Example:
        >>> trials = Interval([0.0, 5.0, 9.0], [0.4, 5.6, 9.1])
        >>> sorted({draw_cut(np.random.default_rng(k), trials, 5, 2, 0.1, 0.1) for k in range(20)})
        [(0.0, 4), (5.0, 5), (5.1, 5)]
    """
    length_I = np.floor((domain.end - domain.start) / token + 1e-6).astype(np.int64)
    places_I = np.floor((domain.end - domain.start - tokens * token) / grid + 1e-3).astype(np.int64) + 1
    places_I = np.where(length_I < min_tokens, 0, np.maximum(places_I, 1))
    ends_I = np.cumsum(places_I)
    if not len(ends_I) or not ends_I[-1]:
        return None
    k = int(rng.integers(ends_I[-1]))
    i = int(np.searchsorted(ends_I, k, side="right"))
    return float(domain.start[i] + (k - (ends_I[i] - places_I[i])) * grid), min(tokens, int(length_I[i]))


def check_condition(condition: str | None) -> None:
    """Raise ConfigError unless a text has the form ``table.column``.

    Raises:
        ConfigError: if it does not.
    """
    if condition is not None and (condition.count(".") != 1 or not all(condition.split("."))):
        raise ConfigError(
            f"condition is {condition!r}: expected the name of a table of intervals and of one of its columns, such as "
            "states.state, or null"
        )


def same_condition(intervals: dict[str, Interval], condition: str, time: float) -> Interval | None:
    """Return the time with the label of a given time; empty without a label.

    Args:
        intervals: tables of a recording.
        condition: ``table.column``.
        time: seconds.

    Returns:
        None if the recording has no such table or column.

    Example:
        >>> states = Interval([0.0, 10.0, 20.0], [10.0, 20.0, 30.0], {"state": np.array(["wake", "nrem", "wake"])})
        >>> same_condition({"states": states}, "states.state", 4.0).start.tolist()
        [0.0, 20.0]
    """
    name, column = condition.split(".")
    table = intervals.get(name)
    if table is None or column not in table.columns:
        return None
    here = np.flatnonzero((table.start <= time) & (time < table.end))
    return table.where(table.columns[column] == table.columns[column][here[0]]) if len(here) else table.where(here)
