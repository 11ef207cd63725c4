"""Find the time axis of a series: NWB puts it first, but some writers put channels or cells there."""

from __future__ import annotations

import re

import numpy as np
from hdmf.build import GroupBuilder

from foundation.store.format.spill import PIECE_BYTES, empty, let_go
from ingest.nwb.nwb_arrays import load
from ingest.recipe.name_patterns import matches
from ingest.recipe.recipe_rules import LayoutRules

# A behaviour with at most this many rows and more columns counts as transposed.
MAX_FEW = 3
# Shares of the observed time: shorter rows and longer columns indicate time along the columns.
MIN_SHARE = 0.1


def stated_axis(path: str, name: str, rules: LayoutRules) -> int | None:
    """Return a recipe's time axis of a series, by path or name; None if not stated."""
    for axis, patterns in enumerate((rules.time_first, rules.time_last)):
        if matches(patterns, path) or matches(patterns, name):
            return axis
    return None


def population_axis(shape: tuple[int, ...], stamps: int | None, units: int | None) -> int | None:
    """Return the time axis of a population's samples from the file's metadata.

    Args:
        shape: of the samples, two numbers.
        stamps: number of time stamps; None if it has only a rate.
        units: number of units in a table; None without a table.

    Returns:
        0 or 1. If neither number decides, as for a square: the first axis if it is longer, else None.

    Example:
        >>> population_axis((600, 8), None, None), population_axis((8, 600), None, 8)
        (0, 1)
        >>> population_axis((8, 600), None, None) is None, population_axis((9, 9), 9, 9) is None
        (True, True)
    """
    for known_stamps, known_units in ((stamps, units), (stamps, None), (None, units)):
        fits = [
            (known_stamps is None or shape[axis] == known_stamps)
            and (known_units is None or shape[1 - axis] == known_units)
            for axis in (0, 1)
        ]
        if any(fits) and not all(fits):
            return 0 if fits[0] else 1
    return 0 if shape[0] > shape[1] or shape == (1, 1) else None


def behavior_axis(shape: tuple[int, ...], stamps: int | None, rate: float | None, observed: float) -> int | None:
    """Return the time axis of a behaviour's samples from the file's metadata.

    Args:
        shape: of the samples.
        stamps: number of time stamps; None if it has only a rate.
        rate: samples a second, if there are no time stamps.
        observed: seconds for which the recording was observed; 0 if that is not known.

    Returns:
        0 or 1; None for a series with a rate alone that looks as if it lay on its side: three rows at most and more
        columns, or rows that last a tenth of the observed time at most and columns that fit it.

    Example:
        >>> behavior_axis((600, 2), None, 10.0, 60.0), behavior_axis((2, 600), 600, None, 60.0)
        (0, 1)
        >>> behavior_axis((2, 600), None, 10.0, 60.0) is None, behavior_axis((34, 600), None, 10.0, 60.0) is None
        (True, True)
    """
    if len(shape) != 2 or shape[0] == stamps or shape[0] >= shape[1]:
        return 0
    if stamps is not None:
        return 1 if shape[1] == stamps else 0
    if shape[0] <= MAX_FEW:
        return None if shape[1] > MAX_FEW else 0
    rows, columns = (count / rate if rate else 0.0 for count in shape)
    on_its_side = rows <= MIN_SHARE * observed and 0.5 * observed <= columns <= 2 * observed
    return None if on_its_side else 0


def advice(path: str) -> str:
    """Return what a recipe says of a series whose axis of time is not known."""
    name = re.escape(path)
    return f"say it in a recipe: `layout: {{time_last: ['{name}']}}`, or time_first if it is as NWB has it"


def turned(data: np.ndarray) -> np.ndarray:
    """Return ``(T, N)`` samples of ``(N, T)`` ones, some megabytes at a time."""
    result = empty(data.shape[::-1], data.dtype)
    rows = max(1, PIECE_BYTES // (data.dtype.itemsize * max(1, data.shape[0])))
    for first in range(0, data.shape[1], rows):
        result[first : first + rows] = data[:, first : first + rows].T
        let_go(result)
        let_go(data)
    return result


def flatten_time_stamps(root: GroupBuilder) -> None:
    """Flatten time stamps that a file has as a column or a row, of which pynwb constructs no series.

    Args:
        root: the file as hdmf's builders; changed in place.
    """
    pending = [root]
    while pending:
        group = pending.pop()
        pending += group.groups.values()
        stamps = group.datasets.get("timestamps")
        shape = () if stamps is None else np.shape(stamps.data)
        if stamps is not None and len(shape) == 2 and 1 in shape:
            flat = np.asarray(load(stamps.data, f"{group.name}/timestamps")).reshape(-1)
            stamps["data"] = flat  # the builder's own setter refuses to overwrite
