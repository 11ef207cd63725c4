"""Where the bins of each window go in a flat array, and the adding of decoded blocks to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foundation.data.reading.binning import count_spikes, rebin_samples
from foundation.data.reading.block_cache import VALUES_MODALITY, BlockCache
from foundation.data.windows import NANOSECONDS, WindowTable

MOST = {"uint8": 255, "int32": 2**31 - 1, "float32": 1 << 24}


@dataclass(frozen=True)
class Target:
    """The layout of a batch's bins.

    Args:
        table: the windows.
        row_B: int64, each window's first row; windows lie one after another.
        rows_B: int64, the rows that each has, padding included.
        n_columns: columns of a row, no fewer than any window has bins.
        map_B, unit_row: which row of its window each unit is in; see `count_spikes`.
    """

    table: WindowTable
    row_B: np.ndarray
    rows_B: np.ndarray
    n_columns: int
    map_B: np.ndarray
    unit_row: np.ndarray

    def add(
        self,
        cache: BlockCache,
        x: np.ndarray,
        window_I: np.ndarray,
        from_I: np.ndarray,
        to_I: np.ndarray,
        clear: bool,
    ) -> bool:
        """Add blocks ``from_I[i] .. to_I[i] - 1`` to window ``window_I[i]``.

        Args:
            cache: holds those blocks decoded.
            x: the rows, flat.
            window_I, from_I, to_I: the items.
            clear: set all bins to 0 before; then the items are the windows, in order.

        Returns:
            Whether a bin held more spikes than ``x`` can count to.
        """
        table = self.table
        sampled_I = cache.sampled_R[table.recording_B[window_I]]
        if not sampled_I.any():
            cleared_I = self.rows_B if clear else np.zeros_like(window_I)
            return self._count(cache, x, window_I, from_I, to_I, cleared_I)
        if clear:
            x[:] = 0
        some = np.flatnonzero(sampled_I)
        rate_B = cache.rate_R[table.recording_B]
        step_B = rate_B * (table.width_B / NANOSECONDS)
        position_B = (table.start_B / NANOSECONDS - cache.start_R[table.recording_B]) * rate_B
        scale_B = np.where(cache.modality_R[table.recording_B] == VALUES_MODALITY, 1 / step_B, 1.0)
        rebin_samples(
            window_I[some], from_I[some], to_I[some], position_B, step_B, scale_B, table.n_bins_B, self.row_B,
            self.map_B, self.unit_row, cache.address_K, cache.length_K, cache.base_K, cache.units_K, x, self.n_columns,
        )  # fmt: skip
        rest = np.flatnonzero(~sampled_I)
        return self._count(cache, x, window_I[rest], from_I[rest], to_I[rest], np.zeros_like(rest))

    def _count(
        self,
        cache: BlockCache,
        x: np.ndarray,
        window_I: np.ndarray,
        from_I: np.ndarray,
        to_I: np.ndarray,
        cleared_I: np.ndarray,
    ) -> bool:
        table = self.table
        full: bool = count_spikes(
            window_I, from_I, to_I, cleared_I, table.start_B, table.width_B, table.n_bins_B, self.row_B, self.map_B,
            self.unit_row, cache.address_K, cache.length_K, cache.base_K, cache.shift_K, MOST[x.dtype.name], x,
            self.n_columns,
        )  # fmt: skip
        return full
