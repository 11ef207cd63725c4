"""Where in its recording a segment starts, and what a second segment of the same units has to keep away from."""

from __future__ import annotations

import numpy as np

from foundation.common.errors import ConfigError
from foundation.store.interval import Interval


def draw_start(
    rng: np.random.Generator,
    domain: Interval,
    length: float,
    grid: float,
    near: tuple[float, float] | None = None,
    taken: Interval | None = None,
) -> float | None:
    """A start of a segment, all starts alike that keep it inside one interval and on that interval's grid.

    Args:
        rng: draws one number, if there is a start at all.
        domain: where the recording was observed.
        length: seconds of the segment.
        grid: seconds between two possible starts, from each interval's own start on.
        near: a time, and the seconds that the start is away from it at most.
        taken: time that the segment leaves out.

    Returns:
        Seconds; None where nothing fits.

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


def check_condition(condition: str | None) -> None:
    """Refuse what is not ``table.column``.

    Raises:
        ConfigError: if it is not.
    """
    if condition is not None and (condition.count(".") != 1 or not all(condition.split("."))):
        raise ConfigError(
            f"condition is {condition!r}: the name of a table of intervals and of one of its columns, such as "
            "states.state, or null"
        )


def same_condition(intervals: dict[str, Interval], condition: str, time: float) -> Interval | None:
    """The time that has the label which holds at a time; empty where none does.

    Args:
        intervals: tables of a recording.
        condition: ``table.column``.
        time: seconds.

    Returns:
        None, if the recording has no such table or column.

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
