"""Compiled loops that find a window's blocks and bin its spikes or samples.

Times are integer nanoseconds, so a spike never moves to a neighbouring bin; the interpreter's lock is released.
A decoded block of spikes is one sorted array of integers: the nanoseconds since the block's first spike, shifted left,
and the unit in the low bits. A window is then one run of the array, for any number of units.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from foundation.common.processes.compiled import compiled


@intrinsic
def _pointer(typing_context: Any, address: Any) -> Any:
    """Return an address as a pointer."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.voidptr(types.int64), build


@compiled()
def spike_keys(ticks: np.ndarray, rate: float, base: int, ends_N: np.ndarray, shift: int, keys: np.ndarray) -> None:
    """Return keys of a block's spikes, unit by unit; times are rounded like `to_nanoseconds`.

    Args:
        ticks: ``(S,)`` times; seconds are ticks over ``rate``.
        base: nanoseconds of the block's first spike.
        ends_N: ``(N + 1,)``; unit n has ``ticks[ends_N[n]:ends_N[n + 1]]``.
        shift: bits of a unit.
        keys: ``(S,)`` int64, written.
    """
    for unit in range(len(ends_N) - 1):
        for s in range(ends_N[unit], ends_N[unit + 1]):
            keys[s] = ((np.int64(np.rint(ticks[s] / rate * 1e9)) - base) << shift) | unit


@compiled()
def locate(
    recording_B: np.ndarray,
    start_B: np.ndarray,
    end_B: np.ndarray,
    first_R: np.ndarray,
    count_R: np.ndarray,
    low_K: np.ndarray,
    high_K: np.ndarray,
    address_K: np.ndarray,
    used_K: np.ndarray,
    now: int,
    from_B: np.ndarray,
    to_B: np.ndarray,
) -> bool:
    """Return the blocks ``from_B[b] .. to_B[b] - 1`` of each window, and mark them as used now.

    Returns:
        True if all of them are decoded.
    """
    decoded = True
    for b in range(len(recording_B)):
        first = first_R[recording_B[b]]
        last = first + count_R[recording_B[b]]
        low, high = first, last
        while low < high:  # the first block that does not end before the window
            middle = (low + high) // 2
            if high_K[middle] < start_B[b]:
                low = middle + 1
            else:
                high = middle
        from_B[b] = low
        while low < last and low_K[low] < end_B[b]:
            used_K[low] = now
            decoded &= address_K[low] != 0
            low += 1
        to_B[b] = low
    return decoded


@compiled()
def count_spikes(
    window_I: np.ndarray,
    from_I: np.ndarray,
    to_I: np.ndarray,
    cleared_I: np.ndarray,
    start_B: np.ndarray,
    width_B: np.ndarray,
    n_bins_B: np.ndarray,
    row_B: np.ndarray,
    map_B: np.ndarray,
    unit_row: np.ndarray,
    address_K: np.ndarray,
    length_K: np.ndarray,
    base_K: np.ndarray,
    shift_K: np.ndarray,
    most: int,
    x: np.ndarray,
    n_columns: int,
) -> bool:
    """Count the spikes of windows in the bins of ``x``, ``(rows x n_columns,)``, where rows are units of windows.

    Args:
        window_I: the window of each item; ``from_I``, ``to_I``: the decoded blocks that it reads.
        cleared_I: number of rows, from the window's first, that are set to 0 before counting.
        start_B, width_B: nanoseconds; ``n_bins_B``: bins.
        row_B: each window's first row of ``x``, that of its first unit.
        map_B: position in ``unit_row`` where the window's rows by unit begin (-1 there: not shown); -1: row is unit.
        address_K, length_K, base_K, shift_K: decoded blocks.
        most: the largest count that ``x`` can hold.

    Returns:
        True if a bin held more.
    """
    # Unsigned indices, for which numba leaves out the test for negative values.
    one, columns = np.uint64(1), np.uint64(n_columns)
    over = False
    for i in range(len(window_I)):
        b = window_I[i]
        n_bins, width, mapped, at = n_bins_B[b], width_B[b], map_B[b] >= 0, np.uint64(map_B[b])
        corner = row_B[b] * n_columns
        x[corner : corner + cleared_I[i] * n_columns] = 0
        for k in range(from_I[i], to_I[i]):
            keys = numba.carray(_pointer(address_K[k]), (length_K[k],), np.int64)
            units = (1 << shift_K[k]) - 1
            border = start_B[b] - base_K[k]
            spike, end = np.uint64(0), np.uint64(length_K[k])
            if border > 0:
                high = end
                while spike < high:  # the first spike in the window
                    middle = (spike + high) >> one
                    if keys[middle] < border << shift_K[k]:
                        spike = middle + one
                    else:
                        high = middle
            place = np.uint64(corner)
            for _ in range(n_bins):  # spikes and bins are in order, so no time is divided by a width
                border += width
                if border > 0:
                    until = border << shift_K[k]
                    while spike < end and keys[spike] < until:
                        unit = keys[spike] & units
                        spike += one
                        if mapped:
                            unit = unit_row[at + np.uint64(unit)]
                            if unit < 0:
                                continue
                        cell = place + np.uint64(unit) * columns
                        held = x[cell]
                        over |= held == most
                        x[cell] = held + 1
                place += one
                if spike == end:
                    break
    return over


@compiled()
def rebin_samples(
    window_I: np.ndarray,
    from_I: np.ndarray,
    to_I: np.ndarray,
    position_B: np.ndarray,
    step_B: np.ndarray,
    scale_B: np.ndarray,
    n_bins_B: np.ndarray,
    row_B: np.ndarray,
    map_B: np.ndarray,
    unit_row: np.ndarray,
    address_K: np.ndarray,
    length_K: np.ndarray,
    base_K: np.ndarray,
    units_K: np.ndarray,
    x: np.ndarray,
    n_columns: int,
) -> None:
    """Add the samples of windows to the bins of ``x``, each spread evenly over the bins that it spans.

    Args:
        position_B: start of each window, in samples from the recording's first.
        step_B: samples of a bin, below 1 if bins are finer than samples; ``scale_B``: factor for the sums.
        base_K: the first sample of each block of ``length_K`` samples of ``units_K`` units, float32.
        others: as in `count_spikes`.
    """
    for i in range(len(window_I)):
        b = window_I[i]
        for k in range(from_I[i], to_I[i]):
            data = numba.carray(_pointer(address_K[k]), (length_K[k], units_K[k]), np.float32)
            first, last = float(base_K[k]), float(base_K[k] + length_K[k])
            for column in range(n_bins_B[b]):
                # Rounded, so that a bin whose border falls on a sample's border takes nothing of its neighbour.
                low = max(np.rint((position_B[b] + column * step_B[b]) * 1e9) / 1e9, first)
                high = min(np.rint((position_B[b] + (column + 1) * step_B[b]) * 1e9) / 1e9, last)
                if high <= low:
                    continue
                for sample in range(int(low), int(np.ceil(high))):
                    share = (min(high, sample + 1.0) - max(low, float(sample))) * scale_B[b]
                    for unit in range(units_K[k]):
                        row = unit if map_B[b] < 0 else unit_row[map_B[b] + unit]
                        if row >= 0:
                            x[(row_B[b] + row) * n_columns + column] += share * data[sample - base_K[k], unit]


@compiled()
def fill_masks(n_units_B: np.ndarray, n_bins_B: np.ndarray, mask_BN: np.ndarray, mask_BT: np.ndarray) -> None:
    """Return masks of each window's units and bins."""
    for b in range(len(n_units_B)):
        for n in range(mask_BN.shape[1]):
            mask_BN[b, n] = n < n_units_B[b]
        for t in range(mask_BT.shape[1]):
            mask_BT[b, t] = t < n_bins_B[b]
