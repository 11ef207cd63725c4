"""Windows of stored recordings as batches, at any bin width."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from foundation.data.batch import PackedBatch, WindowBatch
from foundation.data.reading.binning import fill_masks, locate
from foundation.data.reading.decoded_blocks import AT_ONCE, COUNTS_MODALITY, VALUES_MODALITY, BlockCache, Target
from foundation.data.windows import NANOSECONDS, WindowTable, to_nanoseconds
from foundation.store.catalog import Catalog
from foundation.store.catalog_row import CatalogRow
from foundation.store.storage import Store
from foundation.store.stored import StoredRecording

__all__ = ["COUNTS_MODALITY", "VALUES_MODALITY", "ActivityReader", "ReaderCache", "WindowReader"]

log = logging.getLogger(__name__)
NO_UNITS = np.zeros(0, dtype=np.int64)


class WindowReader:
    """Reads tables of windows of many recordings through one bounded cache of decoded blocks.

    Counts of spikes are uint8, or int32 if a bin of the batch holds more than 255. A batch with a window of sampled
    activity is float32. Threads may share a reader; they take turns.

    Args:
        store: store of the recordings.
        records: commit records; windows refer to them by their index in this list.
        max_bytes: bytes of decoded blocks; see `BlockCache`.

    ``seconds`` holds the time spent in ``decoding`` blocks, in ``binning``, and in ``collation`` (everything else).
    """

    def __init__(self, store: Store, records: Sequence[CatalogRow], max_bytes: int = 1 << 30) -> None:
        self.cache = BlockCache(store, records, max_bytes)
        self.seconds = {"decoding": 0.0, "binning": 0.0, "collation": 0.0}
        self.widened = 0
        self._lock = threading.Lock()

    def read(self, table: WindowTable, *, bins_per_token: int = 1, dtype: torch.dtype | None = None) -> WindowBatch:
        """Return windows as a batch, padded to their largest number of units and bins.

        Args:
            table: the windows.
            bins_per_token: time is padded to a multiple of this.
            dtype: of ``x_BNT``; by default the smallest sufficient one.
        """
        n_units_B, n_columns, n = self._units_of(table), _columns(table, bins_per_token), len(table)
        n_rows = int(n_units_B.max(initial=0))
        x = self._fill(table, np.full(n, n_rows, dtype=np.int64), n_columns, dtype)
        began = time.perf_counter()
        mask_BN, mask_BT = torch.empty(n, n_rows, dtype=torch.bool), torch.empty(n, n_columns, dtype=torch.bool)
        fill_masks(n_units_B, table.n_bins_B, mask_BN.numpy(), mask_BT.numpy())
        x_BNT = x.view(n, n_rows, n_columns)
        unit_BN = torch.from_numpy(_unit_places(table, n_units_B, n_rows))
        batch = WindowBatch(x_BNT=x_BNT, mask_BN=mask_BN, mask_BT=mask_BT, unit_BN=unit_BN, **self._about(table))
        self.seconds["collation"] += time.perf_counter() - began
        return batch

    def read_packed(
        self, table: WindowTable, *, bins_per_token: int = 1, dtype: torch.dtype | None = None
    ) -> PackedBatch:
        """Return windows as a batch with concatenated units and no padding; see `PackedBatch`."""
        n_units_B, n_columns = self._units_of(table), _columns(table, bins_per_token)
        offsets = np.concatenate([[0], np.cumsum(n_units_B)])
        x = self._fill(table, n_units_B, n_columns, dtype)
        return PackedBatch(
            x_MT=x.view(int(offsets[-1]), n_columns),
            offsets=torch.from_numpy(offsets),
            window_M=torch.from_numpy(np.repeat(np.arange(len(table)), n_units_B)),
            mask_BT=torch.from_numpy(np.arange(n_columns) < table.n_bins_B[:, None]),
            **self._about(table),
        )

    def _units_of(self, table: WindowTable) -> np.ndarray:
        if table.unit_offsets is None:
            return self.cache.n_units_R[table.recording_B]
        return np.diff(table.unit_offsets)

    def _about(self, table: WindowTable) -> dict[str, torch.Tensor]:
        return {
            "dt_B": torch.from_numpy((table.width_B / NANOSECONDS).astype(np.float32)),
            "modality_B": torch.from_numpy(self.cache.modality_R[table.recording_B]),
            "start_B": torch.from_numpy(table.start_B / NANOSECONDS),
            "recording_B": torch.from_numpy(np.asarray(table.recording_B)),
            "label_B": torch.from_numpy(np.asarray(table.label_B)),
        }

    def _fill(self, table: WindowTable, rows_B: np.ndarray, n_columns: int, dtype: torch.dtype | None) -> torch.Tensor:
        """Return the windows' bins, flat: ``rows_B[b]`` rows of ``n_columns`` for each window in turn."""
        with self._lock:
            cache, began = self.cache, time.perf_counter()
            cache.open(table.recording_B)
            if dtype is None:
                dtype = torch.float32 if cache.sampled_R[table.recording_B].any() else torch.uint8
            from_B, to_B = np.empty_like(table.start_B), np.empty_like(table.start_B)
            cache.now += 1
            decoded = locate(
                table.recording_B, table.start_B, table.start_B + table.n_bins_B * table.width_B, cache.first_R,
                cache.count_R, cache.low_K, cache.high_K, cache.address_K, cache.used_K, cache.now, from_B, to_B,
            )  # fmt: skip
            ends_B = rows_B.cumsum()
            target = Target(table, ends_B - rows_B, rows_B, n_columns, *self._unit_rows(table))
            size = int(rows_B.sum()) * n_columns
            self.seconds["collation"] += time.perf_counter() - began
            while True:
                x = torch.empty(size, dtype=dtype)
                if not self._bin(target, x.numpy(), from_B, to_B, decoded):
                    return x
                self.widened += 1
                log.debug("a bin holds more than 255 spikes: the batch is int32")
                dtype = torch.int32

    def _bin(self, target: Target, x: np.ndarray, from_B: np.ndarray, to_B: np.ndarray, decoded: bool) -> bool:
        """Bin all windows, decoding a few blocks at a time if they do not fit into memory together."""
        windows = np.arange(len(from_B))
        if decoded:
            return self._timed("binning", target.add, self.cache, x, windows, from_B, to_B, True)
        x[:] = 0
        counts = to_B - from_B
        window_I = np.repeat(windows, counts)
        block_I = np.arange(len(window_I)) - np.repeat(np.cumsum(counts) - counts - from_B, counts)
        # Cached blocks come first, before others evict them.
        order = np.lexsort((block_I, self.cache.address_K[block_I] == 0))
        window_I, block_I = window_I[order], block_I[order]
        full, first, kept = False, 0, set[int]()
        starts = np.flatnonzero(np.diff(block_I, prepend=-1))
        blocks = block_I[starts].tolist()
        for i, (k, end) in enumerate(zip(blocks, [*starts[1:].tolist(), len(block_I)], strict=True)):
            self.cache.ask_for(blocks[i : i + AT_ONCE])
            if self._timed("decoding", self.cache.decode, k, kept) and end < len(block_I):
                continue
            part = slice(first, end)
            full |= self._timed(
                "binning", target.add, self.cache, x, window_I[part], block_I[part], block_I[part] + 1, False
            )
            first = end
            kept.clear()
            self.cache.drop(kept)
        return full

    def _timed(self, name: str, work: Callable[..., bool], *args: Any) -> bool:
        began = time.perf_counter()
        result = work(*args)
        self.seconds[name] += time.perf_counter() - began
        return result

    def _unit_rows(self, table: WindowTable) -> tuple[np.ndarray, np.ndarray]:
        """Return the start of each window's unit rows in a flat array, and the array; -1 for windows of all units."""
        if table.unit_offsets is None or table.unit_index is None:
            return np.full(len(table), -1, dtype=np.int64), NO_UNITS
        sizes = self.cache.n_units_R[table.recording_B]
        map_B = np.cumsum(sizes) - sizes
        unit_row = np.full(int(sizes.sum()), -1, dtype=np.int64)
        counts = np.diff(table.unit_offsets)
        row = np.arange(len(table.unit_index)) - np.repeat(table.unit_offsets[:-1], counts)
        unit_row[np.repeat(map_B, counts) + table.unit_index] = row
        return map_B, unit_row


def _unit_places(table: WindowTable, n_units_B: np.ndarray, n_rows: int) -> np.ndarray:
    """Return ``(B, n_rows)`` int32, the place of each unit in its recording; -1 in rows without a unit."""
    there_BN = np.arange(n_rows) < n_units_B[:, None]
    place_BN = np.where(there_BN, np.arange(n_rows, dtype=np.int32), np.int32(-1))
    if table.unit_index is not None:
        place_BN[there_BN] = table.unit_index
    return place_BN


def _columns(table: WindowTable, bins_per_token: int) -> int:
    return -(-int(table.n_bins_B.max(initial=0)) // bins_per_token) * bins_per_token


def window_table(
    recording_B: np.ndarray,
    starts_B: np.ndarray,
    n_bins: int | np.ndarray,
    bin_width: float,
    units: np.ndarray | None = None,
) -> WindowTable:
    """Return a table of windows with bins of one width.

    Args:
        recording_B: ``(B,)`` the index of each window's recording in the reader's records.
        starts_B: ``(B,)`` seconds from the session's start.
        n_bins: bins of every window, or ``(B,)`` bins of each.
        bin_width: seconds.
        units: ``(M,)`` indices; all units by default.

    Example:
        >>> table = window_table(np.zeros(2), np.array([0.5, 2.0]), np.array([3, 4]), 0.1)
        >>> table.start_B.tolist(), table.n_bins_B.tolist(), table.width_B.tolist()
        ([500000000, 2000000000], [3, 4], [100000000, 100000000])
    """
    starts = to_nanoseconds(np.asarray(starts_B, dtype=np.float64).reshape(-1))
    full = np.ones(len(starts), dtype=np.int64)
    offsets = index = None
    if units is not None:
        index = np.tile(np.asarray(units, dtype=np.int64), len(starts))
        offsets = np.arange(len(starts) + 1) * len(units)
    width = int(to_nanoseconds(bin_width))
    return WindowTable(np.asarray(recording_B, np.int64), starts, full * n_bins, full * width, -full, offsets, index)


class ActivityReader:
    """Reads windows of one recording: ``reader.read(reader.table(starts, n_bins, bin_width))``.

    Args:
        recording: a committed recording, with spikes or sampled activity.
        reader: a reader to share, and the recording's index in it; by default a new one.
    """

    def __init__(self, recording: StoredRecording, reader: WindowReader | None = None, place: int = 0) -> None:
        self.recording = recording
        self.n_units = recording.n_units
        self.resolution = recording.resolution
        self.domain = recording.observed
        self.modality = COUNTS_MODALITY if recording.is_counts else VALUES_MODALITY
        self._reader = reader or WindowReader(recording.store, [recording.record])
        self._place = place

    def table(
        self,
        starts_B: np.ndarray | Sequence[float],
        n_bins: int | np.ndarray,
        bin_width: float,
        units: np.ndarray | None = None,
    ) -> WindowTable:
        """Return a table of windows of this recording; see `window_table`."""
        return window_table(np.full(len(starts_B), self._place), np.asarray(starts_B), n_bins, bin_width, units)

    def read(self, table: WindowTable, *, bins_per_token: int = 1, dtype: torch.dtype | None = None) -> WindowBatch:
        """Read windows of `table`; see `WindowReader.read`."""
        return self._reader.read(table, bins_per_token=bins_per_token, dtype=dtype)


class ReaderCache:
    """Readers of a catalog's recordings that share one bounded cache.

    Args:
        catalog: the recordings.
        max_bytes: bytes of decoded blocks; see `BlockCache`.
    """

    def __init__(self, catalog: Catalog, max_bytes: int = 1 << 30) -> None:
        self._catalog = catalog
        self._place = {name: i for i, name in enumerate(catalog.ids)}
        self._reader = WindowReader(catalog.store, catalog.records, max_bytes)
        self._readers: dict[str, ActivityReader] = {}

    def __call__(self, recording_id: str) -> ActivityReader:
        """Return the reader of a recording; open it if needed."""
        if recording_id not in self._readers:
            place = self._place[recording_id]
            recording = StoredRecording(self._catalog.store, self._catalog.records[place])
            self._readers[recording_id] = ActivityReader(recording, self._reader, place)
        return self._readers[recording_id]

    def table(self, recordings: Sequence[str], starts_B: Sequence[float], n_bins: int, bin_width: float) -> WindowTable:
        """Return a table of windows of several recordings, one for each id; see `window_table`."""
        places = np.array([self._place[name] for name in recordings])
        return window_table(places, np.asarray(starts_B), n_bins, bin_width)

    def read(self, table: WindowTable, *, bins_per_token: int = 1, dtype: torch.dtype | None = None) -> WindowBatch:
        """Read windows of `table`; see `WindowReader.read`."""
        return self._reader.read(table, bins_per_token=bins_per_token, dtype=dtype)
