"""A bounded cache of decoded blocks of stored recordings, in a form for the compiled loops."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from foundation.common.errors import ConfigError, StoreError
from foundation.data.reading.binning import count_spikes, rebin_samples, spike_keys
from foundation.data.windows import NANOSECONDS, WindowTable, to_nanoseconds
from foundation.store.catalog_row import CatalogRow, CatalogRows
from foundation.store.format.chunk_reader import Chunks
from foundation.store.format.finite import is_finite
from foundation.store.storage import Store
from foundation.store.stored import StoredRecording
from foundation.store.stored_spikes import StoredSpikes

# Measured on blocks of 65,536 spikes: merging is 1 to 18 times faster with 1 to 6 units, half as fast with 31.
FEW_UNITS = 6


class Source(Protocol):
    """A recording's activity in K blocks of time.

    ``low_K`` and ``high_K`` are int64 nanoseconds: the contents of a block lie in ``[low_K[k], high_K[k]]``.
    ``shift_K`` is the shift of times in the keys of spikes; ``base_K`` is the time 0 of a block of spikes, in
    nanoseconds, or the first sample of a block of samples.
    """

    low_K: np.ndarray
    high_K: np.ndarray
    base_K: np.ndarray
    shift: int

    @property
    def nbytes(self) -> int:
        """Return the bytes held in addition to the blocks."""

    def decode(self, k: int) -> np.ndarray:
        """Return block ``k``: ``(S,)`` int64 keys of spikes, or ``(rows, N)`` float32 samples."""


def open_source(recording: StoredRecording) -> Source:
    """Open the reader of a recording's blocks."""
    return SpikeSource(recording) if recording.kind == "spikes" else SampleSource(recording)


class SpikeSource:
    """Blocks of spikes; block ``k`` decodes to sorted keys ``(time - base_K[k]) << shift | unit``.

    Raises:
        StoreError: if a block's times and units do not fit 63 bits (2^20 units over two hours do).
    """

    def __init__(self, recording: StoredRecording) -> None:
        self.spikes = StoredSpikes(recording)
        edges = to_nanoseconds(self.spikes.edges)
        self.low_K, self.high_K = edges[:-1], edges[1:]
        self.base_K = self.low_K
        self.shift = max(1, int(recording.n_units - 1).bit_length())
        longest = int(np.max(self.high_K - self.low_K, initial=0))
        if longest.bit_length() + self.shift > 63:
            raise StoreError(f"recording {recording.id} has {recording.n_units} units in a block of {longest / 1e9} s")

    @property
    def nbytes(self) -> int:
        return int(self.spikes.offsets.nbytes)

    def decode(self, k: int) -> np.ndarray:
        ticks, ends_N = self.spikes.ticks(k), self.spikes.offsets[k] - self.spikes.offsets[k, 0]
        keys = np.empty(len(ticks), dtype=np.int64)
        spike_keys(ticks, self.spikes.rate, self.base_K[k], ends_N, self.shift, keys)
        # The keys of a unit are already sorted: a stable sort merges a few such runs faster than any other sort.
        keys.sort(kind="stable" if len(ends_N) - 1 <= FEW_UNITS else None)
        return keys


class SampleSource:
    """Blocks of samples, one for each chunk of the stored array.

    Missing samples are 0, and so are samples that are not finite in float32 and counts below 0, which stores of earlier
    releases may hold.
    """

    def __init__(self, recording: StoredRecording) -> None:
        digest, name = recording.record.digest, "activity/data"
        stored = recording.store.open_arrays(digest, [name]).get(name)
        if stored is None:
            raise StoreError(
                f"recording {recording.id} in {recording.store.name!r} has no {name}: `foundation catalog --verify` "
                "names what is damaged"
            )
        self._chunks = Chunks(recording.store, f"recordings/{digest}/{name}", stored)
        self.rate, self.start = float(stored.attrs["rate"]), float(stored.attrs["start"])  # type: ignore[arg-type]
        rows = self._chunks.rows
        self.base_K = np.arange(0, stored.shape[0], rows, dtype=np.int64)
        last = np.minimum(self.base_K + rows, stored.shape[0])
        # A microsecond more on both sides, because a border need not fall on a whole nanosecond.
        self.low_K = to_nanoseconds(self.start + self.base_K / self.rate) - 1000
        self.high_K = to_nanoseconds(self.start + last / self.rate) + 1000
        self.shift = 0
        self._counts = recording.is_counts

    @property
    def nbytes(self) -> int:
        return 0

    def decode(self, k: int) -> np.ndarray:
        stored = self._chunks[k]
        samples = np.ascontiguousarray(np.where(is_finite(stored), stored, 0), dtype=np.float32)
        return np.maximum(samples, 0, out=samples) if self._counts else samples


COUNTS_MODALITY, VALUES_MODALITY = 0, 1
# Requests in flight to a remote store, which answers in tens of milliseconds.
AT_ONCE = 16


class BlockCache:
    """Blocks decoded when a window needs them; the least recently used are dropped first.

    Recordings are opened when a window first needs them. Properties of blocks lie in flat arrays over all blocks of
    all open recordings (about 60 bytes a block), which the compiled loops read; ``address_K`` is 0 for a block that is
    not decoded.

    Args:
        store: store of the recordings.
        records: their rows of the catalog.
        max_bytes: of decoded blocks (or one block, if that is larger). While a block is decoded, the cache holds one
            more; for a remote store, up to 16 blocks that are read ahead. Open recordings may take an eighth of this in
            addition.

    Raises:
        ConfigError: if ``max_bytes`` is not above 0.
    """

    def __init__(self, store: Store, records: Sequence[CatalogRow], max_bytes: int) -> None:
        if max_bytes < 1:
            raise ConfigError(f"cache_bytes is {max_bytes}: expected more than 0 bytes")
        self.store, self.records, self.max_bytes = store, CatalogRows.of(records), max_bytes
        self.held = self.decodes = self.largest_held = 0
        self.now = 0
        n = len(records)
        self.first_R, self.count_R = np.full(n, -1, dtype=np.int64), np.zeros(n, dtype=np.int64)
        kind_R = np.array(self.records.texts("kind"))
        self.n_units_R = self.records.numbers("n_units")
        self.modality_R = np.where(kind_R == "values", VALUES_MODALITY, COUNTS_MODALITY)
        self.sampled_R = kind_R != "spikes"
        self.rate_R, self.start_R = np.ones(n), np.zeros(n)
        empty = np.zeros(0, dtype=np.int64)
        self.low_K, self.high_K, self.base_K, self.shift_K = empty, empty, empty, empty
        self.recording_K, self.units_K, self.address_K, self.length_K, self.used_K = empty, empty, empty, empty, empty
        self._known = 0  # blocks of all open recordings; the arrays over blocks may be longer
        self._blocks: dict[int, np.ndarray] = {}
        self._order: list[tuple[int, int]] = []  # a heap of decoded blocks, by the earliest time of last use
        self._sources: OrderedDict[int, Source] = OrderedDict()
        self._source_bytes = 0
        self._pool = None if store.is_local else ThreadPoolExecutor(AT_ONCE, thread_name_prefix="store")
        self._coming: dict[int, Future[np.ndarray]] = {}

    def open(self, recordings: np.ndarray) -> None:
        """Register the blocks of these recordings."""
        new_B = self.first_R[recordings] < 0
        if not new_B.any():
            return
        missing = [int(r) for r in np.unique(recordings[new_B])]
        parts: dict[str, list[np.ndarray]] = {}
        known = self._known
        opened = self._pool.map(self._opened, missing) if self._pool else map(self._opened, missing)
        for r, source in zip(missing, opened, strict=True):
            self._keep(r, source)
            count = len(source.low_K)
            self.first_R[r], self.count_R[r] = known, count
            known += count
            if isinstance(source, SampleSource):
                self.rate_R[r], self.start_R[r] = source.rate, source.start
            full, zero = np.ones(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
            new = {"low_K": source.low_K, "high_K": source.high_K, "base_K": source.base_K}
            new |= {"shift_K": full * source.shift, "recording_K": full * r, "units_K": full * self.n_units_R[r]}
            new |= {"address_K": zero, "length_K": zero, "used_K": zero}
            for name, values in new.items():
                parts.setdefault(name, []).append(values)
        for name, arrays in parts.items():
            if known > len(getattr(self, name)):  # double the size: each block is then copied about once in total
                setattr(self, name, np.resize(getattr(self, name), 2 * known))
            getattr(self, name)[self._known : known] = np.concatenate(arrays)
        self._known = known

    def _source(self, r: int) -> Source:
        if r in self._sources:
            self._sources.move_to_end(r)
            return self._sources[r]
        source = self._opened(r)
        self._keep(r, source)
        return source

    def _opened(self, r: int) -> Source:
        return open_source(StoredRecording(self.store, self.records[r]))

    def _keep(self, r: int, source: Source) -> None:
        self._sources[r] = source
        self._source_bytes += source.nbytes
        while self._source_bytes > self.max_bytes // 8 and len(self._sources) > 1:
            self._source_bytes -= self._sources.popitem(last=False)[1].nbytes

    def ask_for(self, blocks: Sequence[int]) -> None:
        """Start reading the next blocks in advance, if the store is remote."""
        if self._pool is None:
            return
        for k in blocks:
            if len(self._coming) == AT_ONCE:
                return
            if not self.address_K[k] and k not in self._coming:
                self._coming[k] = self._pool.submit(self._decoded, *self._where(k))

    def _where(self, k: int) -> tuple[Source, int]:
        r = int(self.recording_K[k])
        return self._source(r), k - int(self.first_R[r])

    @staticmethod
    def _decoded(source: Source, k: int) -> np.ndarray:
        return source.decode(k)

    def decode(self, k: int, kept: set[int]) -> bool:
        """Decode a block unless it is cached, and evict others for it.

        Args:
            k: which block.
            kept: blocks that must not be evicted; ``k`` is added to them.

        Returns:
            True if the kept blocks are within the allowed bytes. If False, they exceed it by less than block ``k``, and
            the caller uses its blocks before it requests more.
        """
        kept.add(k)
        self.now += 1
        self.used_K[k] = self.now
        if self.address_K[k]:
            return True
        coming = self._coming.pop(k, None)
        try:
            block = self._decoded(*self._where(k)) if coming is None else coming.result()
        except Exception:
            self._coming.clear()  # of a batch that was abandoned
            raise
        self.decodes += 1
        self._blocks[k] = block
        heapq.heappush(self._order, (self.now, k))
        self.address_K[k], self.length_K[k] = block.ctypes.data, len(block)
        self.held += block.nbytes
        self.largest_held = max(self.largest_held, self.held)
        return self.drop(kept)

    def drop(self, kept: set[int]) -> bool:
        """Evict the least recently used blocks down to the allowed bytes; False if ``kept`` alone exceeds them."""
        passed: list[tuple[int, int]] = []
        while self.held > self.max_bytes and self._order:
            since, k = self._order[0]
            used = int(self.used_K[k])
            if since < used:  # used again since: it belongs further back in the order
                heapq.heapreplace(self._order, (used, k))
                continue
            heapq.heappop(self._order)
            if k in kept:
                passed.append((used, k))
                continue
            self.held -= self._blocks.pop(k).nbytes
            self.address_K[k] = 0
        for place in passed:
            heapq.heappush(self._order, place)
        # A single block may be larger than the limit.
        return self.held <= self.max_bytes or (len(kept) == 1 and len(self._blocks) == 1)


MOST = {"uint8": 255, "int32": 2**31 - 1, "float32": 1 << 24}


@dataclass(frozen=True)
class Target:
    """The layout of a batch's bins.

    Args:
        table: the windows.
        row_B: int64, each window's first row; windows lie one after another.
        rows_B: int64, number of rows of each window, padding included.
        n_columns: columns of a row, at least the bins of any window.
        map_B, unit_row: the row of each unit in its window; see `count_spikes`.
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
            cache: holds these blocks decoded.
            x: the rows, flat.
            window_I, from_I, to_I: the items.
            clear: set all bins to 0 first; then the items are the windows, in order.

        Returns:
            True if a bin held more spikes than ``x`` can hold.
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
