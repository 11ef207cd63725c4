"""Infinite numbers and numbers too large for float32, which count as missing samples like NaN."""

from __future__ import annotations

import numpy as np

LARGEST = float(np.finfo(np.float32).max)


def is_finite(values: np.ndarray) -> np.ndarray:
    """Return True for each number that stays finite as float32; whole numbers and booleans always do.

    Example:
        >>> is_finite(np.array([0.0, -1e38, 1e300, np.inf, np.nan])).tolist()
        [True, True, False, False, False]
    """
    values = np.asarray(values)
    if values.dtype.kind not in "fc":
        return np.ones(values.shape, dtype=bool)
    finite: np.ndarray = np.isfinite(values)
    return finite & (np.abs(values) <= LARGEST) if values.dtype.itemsize > 4 else finite


def missing_as_nan(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Return an array with infinite and too large values (float32) replaced by NaN, and the number of replacements.

    Existing NaN are not counted. If nothing is replaced, the array itself is returned, not a copy.

    Example:
        >>> values, count = missing_as_nan(np.array([1.0, np.inf, np.nan, -1e300]))
        >>> values.tolist(), count
        ([1.0, nan, nan, nan], 2)
    """
    if values.dtype.kind != "f" or not values.size:
        return values, 0
    # Reductions that ignore NaN: a typical array costs two reads and no copy.
    high, low = np.fmax.reduce(values, axis=None), np.fmin.reduce(values, axis=None)
    if is_finite(high) | np.isnan(high) and is_finite(low) | np.isnan(low):
        return values, 0
    absurd = ~(is_finite(values) | np.isnan(values))
    return np.where(absurd, values.dtype.type(np.nan), values), int(absurd.sum())


def total(values: np.ndarray) -> float | int:
    """Return the sum of the finite values: an int for whole numbers.

    Example:
        >>> total(np.array([1.0, np.nan, np.inf, 2.0])), total(np.array([3, 4]))
        (3.0, 7)
    """
    values = np.asarray(values)
    if values.dtype.kind != "f":
        return int(values.sum())
    return float(np.where(is_finite(values), values, 0).sum())
