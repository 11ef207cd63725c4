"""Reads of a step from the store: opened recordings, and decoded blocks of spikes."""

from __future__ import annotations

from dataclasses import dataclass, fields

from foundation.cost_model.cost_settings import ArchiveSettings
from foundation.cost_model.hardware import Hardware
from foundation.cost_model.step_shapes import StepShape
from foundation.data.steps.data_settings import DataSettings
from foundation.store.format.spike_blocks import SPIKES_PER_BLOCK

DECODED = 8  # bytes of a spike in memory
OPENED_READS, BLOCK_READS = 3, 2  # metadata, edges and offsets; a shard's index and a chunk
OPENED_BYTES = 8_500  # mostly metadata
RECORD_BYTES = 450  # of a recording's row of the catalog and its place in the plan, in memory


@dataclass(frozen=True)
class Reading:
    """Reads of one process for a step.

    Args:
        outlined: windows of the step whose outline the process draws.
        drawn: windows that it draws completely: its own.
        opened: recordings that it opens for its own windows.
        blocks: blocks that it decodes.
        stored: bytes that it reads.
        decoded: decoded bytes.
        reads: requests to the store.
        catalog: bytes of the node's memory for the catalog of the process and its workers.
    """

    outlined: float = 0.0
    drawn: float = 0.0
    opened: float = 0.0
    blocks: float = 0.0
    stored: float = 0.0
    decoded: float = 0.0
    reads: float = 0.0
    catalog: float = 0.0

    def beside(self, other: Reading) -> Reading:
        """Return the reads for both kinds of windows; the catalog counts once."""
        whole = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Reading)}
        return Reading(**whole | {"catalog": max(self.catalog, other.catalog)})

    def seconds(self, hardware: Hardware, workers: int) -> float:
        """Return the seconds of waiting for the store and of decoding, by ``workers`` processes (0: a thread)."""
        hands = max(workers, 1)
        waiting = max(
            self.stored / hardware.store_bandwidth,
            self.reads * hardware.store_seconds / (hardware.store_reads * hands),
        )
        working = (
            self.outlined * hardware.outline_seconds
            + self.drawn * hardware.draw_seconds
            + self.opened * hardware.open_seconds
            + self.decoded / hardware.decode_bandwidth
        )
        return waiting + working / hands


def reading(archive: ArchiveSettings, own: StepShape, windows: int, data: DataSettings) -> Reading:
    """Return the reads of one process for a step.

    Args:
        archive: the recordings.
        own: this process's windows.
        windows: of the whole step.
        data: its cache and workers.
    """
    per_block = min(archive.spikes, SPIKES_PER_BLOCK)
    cached = min(1.0, data.cache_bytes / (archive.recordings * archive.spikes * DECODED))
    kept_open = min(1.0, data.cache_bytes / 8 / (DECODED * (archive.units + 1) * archive.recordings))
    spans = 1 + own.seconds_BV / archive.block_seconds
    most = max(1.0, archive.seconds / archive.block_seconds)
    blocks = float(spans.clip(max=most).sum()) * (1 - cached)
    opened = len(own) * (1 - kept_open)
    return Reading(
        outlined=windows,
        drawn=len(own),
        opened=opened,
        blocks=blocks,
        stored=blocks * per_block * archive.bytes_per_spike + opened * OPENED_BYTES,
        decoded=blocks * per_block * DECODED,
        reads=OPENED_READS * opened + BLOCK_READS * blocks,
        catalog=float(1 + data.workers) * archive.recordings * RECORD_BYTES,
    )
