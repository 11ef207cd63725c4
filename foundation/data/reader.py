"""Windows of activity from a stored recording, at any bin width, and a bounded cache of open recordings."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np

from foundation.data.binning import count_spikes, rebin, to_nanoseconds
from foundation.store.catalog import Catalog
from foundation.store.stored import StoredRecording

COUNTS_MODALITY, VALUES_MODALITY = 0, 1


class ActivityReader:
    """Binned activity of one recording, held decoded in memory.

    Args:
        recording: a committed recording, with spikes or sampled activity.
    """

    def __init__(self, recording: StoredRecording) -> None:
        self.recording = recording
        self.n_units = recording.n_units
        self.resolution = recording.resolution
        self.domain = recording.domain.union()
        self.modality = COUNTS_MODALITY if recording.is_counts else VALUES_MODALITY
        self.series = recording.activity
        blocks = recording.spike_blocks
        if blocks is not None:
            self.times = to_nanoseconds(blocks.times)
            self.edges = to_nanoseconds(blocks.edges)
            self.offsets_KN = np.ascontiguousarray(blocks.offsets)
        # The recording itself need not keep what the reader now holds.
        for name in ("spike_blocks", "activity"):
            recording.__dict__.pop(name, None)

    @property
    def nbytes(self) -> int:
        """Bytes of decoded activity held."""
        if self.series is not None:
            return int(self.series.data.nbytes)
        return int(self.times.nbytes + self.edges.nbytes + self.offsets_KN.nbytes)

    def window(self, start: float, n_bins: int, bin_width: float, units: np.ndarray | None = None) -> np.ndarray:
        """Activity of some units in consecutive bins.

        Args:
            start: seconds from the session's start.
            n_bins: number of bins T.
            bin_width: seconds.
            units: ``(M,)`` indices; all units by default.

        Returns:
            ``(M, T)`` float32: events in each bin (or the mean value, for sampled values). A sample that spans several
            bins is spread evenly over them.
        """
        units = np.arange(self.n_units) if units is None else np.asarray(units, dtype=np.int64)
        if self.series is not None:
            rate = self.series.rate
            position = (start - self.series.start) * rate
            mean = self.modality == VALUES_MODALITY
            return rebin(self.series.data[:, units], position, bin_width * rate, n_bins, mean).astype(np.float32)
        out_NT = np.zeros((len(units), n_bins), dtype=np.float32)
        first, width = int(to_nanoseconds(start)), int(to_nanoseconds(bin_width))
        last = first + n_bins * width
        low = max(int(np.searchsorted(self.edges, first, side="right")) - 2, 0)
        high = min(int(np.searchsorted(self.edges, last, side="left")), len(self.edges) - 2)
        count_spikes(self.times, self.offsets_KN, low, high, units, first, width, out_NT)
        return out_NT


class ReaderCache:
    """Open readers of a catalog's recordings, the least recently used dropped first.

    Args:
        catalog: the recordings.
        max_bytes: decoded bytes held at most (the one in use is held whatever its size).
    """

    def __init__(self, catalog: Catalog, max_bytes: int = 1 << 30) -> None:
        self._records = {record["id"]: record for record in catalog.records}
        self._store = catalog.store
        self._max_bytes = max_bytes
        self._open: OrderedDict[str, ActivityReader] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, recording_id: str) -> ActivityReader:
        """The reader of a recording, opened if it is not open."""
        with self._lock:
            if recording_id in self._open:
                self._open.move_to_end(recording_id)
                return self._open[recording_id]
            reader = ActivityReader(StoredRecording(self._store, self._records[recording_id]))
            self._open[recording_id] = reader
            held = sum(r.nbytes for r in self._open.values())
            while held > self._max_bytes and len(self._open) > 1:
                _, dropped = self._open.popitem(last=False)
                held -= dropped.nbytes
            return reader
