"""Decoded blocks of many recordings, no more bytes of them than was allowed."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from foundation.common.errors import ConfigError
from foundation.data.reading.block_source import SampleSource, Source, open_source
from foundation.store.catalog_row import CatalogRow, CatalogRows
from foundation.store.storage import Store
from foundation.store.stored import StoredRecording

COUNTS_MODALITY, VALUES_MODALITY = 0, 1
# Requests that wait for a store on other machines at a time: it answers in tens of milliseconds.
AT_ONCE = 16


class BlockCache:
    """Blocks decoded when a window needs them; the least recently used are dropped first.

    Recordings are opened when a window first needs them. What is known of blocks lies in flat arrays over all blocks of
    all opened recordings (about 60 bytes a block), which the compiled loops read; ``address_K`` is 0 where a block is
    not decoded.

    Args:
        store: where recordings lie.
        records: their rows of the catalog.
        max_bytes: of decoded blocks (or one block, if that is larger), exceeded by one block while it is decoded, and
            where the store is not on this machine by 16 that are read ahead. What open recordings need beside their
            blocks may take an eighth of this more.

    Raises:
        ConfigError: if ``max_bytes`` is not above 0.
    """

    def __init__(self, store: Store, records: Sequence[CatalogRow], max_bytes: int) -> None:
        if max_bytes < 1:
            raise ConfigError(f"cache_bytes is {max_bytes}: above 0 bytes")
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
        self._known = 0  # blocks of all opened recordings; the arrays over blocks may be longer
        self._blocks: dict[int, np.ndarray] = {}
        self._order: list[tuple[int, int]] = []  # a heap: when a decoded block was used, at the earliest, and the block
        self._sources: OrderedDict[int, Source] = OrderedDict()
        self._source_bytes = 0
        self._pool = None if store.is_local else ThreadPoolExecutor(AT_ONCE, thread_name_prefix="store")
        self._coming: dict[int, Future[np.ndarray]] = {}

    def open(self, recordings: np.ndarray) -> None:
        """Know the blocks of these recordings."""
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
            if known > len(getattr(self, name)):  # twice as long: each block is then copied about once in all
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
        """Begin to read the next blocks that will be needed, where the store is not on this machine."""
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
        """Decode a block if it is not, and drop others for it.

        Args:
            k: which block.
            kept: blocks that must stay; ``k`` joins them.

        Returns:
            Whether what must stay is within the allowed bytes. If not, it is over by less than block ``k``, and the
            caller uses what it has before it asks for more.
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
            self._coming.clear()  # of a batch that there will not be
            raise
        self.decodes += 1
        self._blocks[k] = block
        heapq.heappush(self._order, (self.now, k))
        self.address_K[k], self.length_K[k] = block.ctypes.data, len(block)
        self.held += block.nbytes
        self.largest_held = max(self.largest_held, self.held)
        return self.drop(kept)

    def drop(self, kept: set[int]) -> bool:
        """Drop the least recently used blocks until the allowed bytes are kept to; False if ``kept`` alone exceeds."""
        passed: list[tuple[int, int]] = []
        while self.held > self.max_bytes and self._order:
            since, k = self._order[0]
            used = int(self.used_K[k])
            if since < used:  # it was used again since: its place in the order is further back
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
        # A single block may be larger than all that is allowed.
        return self.held <= self.max_bytes or (len(kept) == 1 and len(self._blocks) == 1)
