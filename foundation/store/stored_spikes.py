"""The spikes of a stored recording, read block by block."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from foundation.common.errors import StoreError
from foundation.store.format.chunk_reader import Chunks
from foundation.store.format.spike_ticks import from_ticks
from foundation.store.interval import Interval
from foundation.store.recording import COUNTS
from foundation.store.stored import StoredRecording

ARRAYS = ("spikes/ticks", "spikes/times", "spikes/edges", "spikes/offsets")


class StoredSpikes:
    """Blocks of spikes, read on access; `SpikeBlocks` explains blocks.

    Args:
        recording: a recording of spikes.

    Raises:
        StoreError: if a block cannot be read.
    """

    def __init__(self, recording: StoredRecording) -> None:
        # The group itself is not kept: its metadata are many times larger than the metadata of three arrays.
        digest = recording.record.digest
        arrays = recording.store.open_arrays(digest, ARRAYS)
        name = "spikes/ticks" if "spikes/ticks" in arrays else "spikes/times"
        missing = [path for path in (name, "spikes/edges", "spikes/offsets") if path not in arrays]
        if missing:
            raise StoreError(
                f"recording {recording.id} in {recording.store.name!r} has no {', '.join(missing)}: "
                "`foundation catalog --verify` names what is damaged"
            )

        def chunks(path: str) -> Chunks:
            return Chunks(recording.store, f"recordings/{digest}/{path}", arrays[path])

        self._chunks, self._edges, self._offsets = chunks(name), chunks("spikes/edges"), chunks("spikes/offsets")
        self.rate = float(np.asarray(arrays[name].attrs["rate"])) if name == "spikes/ticks" else 1.0

    @cached_property
    def edges(self) -> np.ndarray:
        """``(K + 1,)`` seconds; the spikes of block ``k`` lie in ``[edges[k], edges[k + 1]]``."""
        return np.asarray(self._edges.whole(), dtype=np.float64)

    @cached_property
    def offsets(self) -> np.ndarray:
        """``(K, N + 1)`` int64: positions of each unit's spikes in each block."""
        return np.asarray(self._offsets.whole(), dtype=np.int64)

    def ticks(self, k: int) -> np.ndarray:
        """Return ``(S,)`` the spikes of block ``k`` in ticks, unit after unit; divide by `rate` for seconds."""
        low, high = int(self.offsets[k, 0]), int(self.offsets[k, -1])
        rows, parts = self._chunks.rows, []
        for chunk in range(low // rows, -(-high // rows)):
            first = chunk * rows
            parts.append(self._chunks[chunk][max(low - first, 0) : high - first])
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty(0)

    @property
    def n_blocks(self) -> int:
        return len(self.edges) - 1

    def block(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return ``times`` ``(S,)`` of block ``k`` in float64 seconds, and ``counts`` ``(N,)`` of the units' spikes."""
        return from_ticks(self.ticks(k), self.rate), np.diff(self.offsets[k])


def rates_within(recording: StoredRecording, time: Interval) -> np.ndarray:
    """Return ``(N,)`` events per second in part of a recording's observed time (mean value for sampled values).

    Only samples that lie entirely inside that time count.
    """
    if recording.activity is not None:
        activity = recording.activity
        inside_T = time.covers(activity.timestamps, activity.timestamps + 1.0 / activity.rate)
        mean_N = np.nanmean(activity.data[inside_T], axis=0)
        return mean_N * activity.rate if recording.record.kind == COUNTS else mean_N
    spikes = StoredSpikes(recording)
    total_N = np.zeros(recording.n_units)
    for k in range(spikes.n_blocks):
        times_S, count_N = spikes.block(k)
        unit_S = np.repeat(np.arange(len(count_N)), count_N)
        total_N += np.bincount(unit_S[time.contains(times_S)], minlength=len(count_N))
    return total_N / max(time.duration, 1e-9)
