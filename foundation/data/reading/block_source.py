"""Blocks of a stored recording, decoded as the compiled loops want them."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from foundation.common.errors import StoreError
from foundation.data.reading.binning import spike_keys
from foundation.data.windows import to_nanoseconds
from foundation.store.format.chunk_reader import Chunks
from foundation.store.format.finite import is_finite
from foundation.store.stored import StoredRecording
from foundation.store.stored_spikes import StoredSpikes

FEW_UNITS = 6  # measured on blocks of 65,536 spikes: 1 to 6 units are 1 to 18 times faster merged, 31 half as fast


class Source(Protocol):
    """A recording's activity in K blocks of time.

    ``low_K`` and ``high_K`` are int64 nanoseconds: what a block holds lies in ``[low_K[k], high_K[k]]``. ``shift_K`` is
    how far times are shifted in the keys of spikes; ``base_K`` is the time 0 of a block of spikes, in nanoseconds, or
    the first sample of a block of samples.
    """

    low_K: np.ndarray
    high_K: np.ndarray
    base_K: np.ndarray
    shift: int

    @property
    def nbytes(self) -> int:
        """Bytes held beside the blocks."""

    def decode(self, k: int) -> np.ndarray:
        """Block ``k``: ``(S,)`` int64 keys of spikes, or ``(rows, N)`` float32 samples."""


def open_source(recording: StoredRecording) -> Source:
    """What reads the blocks of a recording."""
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
        # The keys of a unit are sorted already: a stable sort merges a few such runs faster than any sort from scratch.
        keys.sort(kind="stable" if len(ends_N) - 1 <= FEW_UNITS else None)
        return keys


class SampleSource:
    """Blocks of samples, one for each chunk of the stored array.

    Missing samples are 0, and so are those that are not finite in float32 and counts below 0, which stores of earlier
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
        # A microsecond more on both sides, since a border need not be a whole nanosecond.
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
