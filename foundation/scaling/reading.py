"""What a step reads of the store: recordings that are opened, and blocks of spikes that are decoded."""

from __future__ import annotations

import math
from dataclasses import dataclass

from foundation.data.plan import DataSettings
from foundation.errors import ConfigError
from foundation.scaling.hardware import Hardware
from foundation.scaling.shapes import StepShape
from foundation.store.blocks import SPIKES_PER_BLOCK

DECODED = 8  # bytes of a spike in memory
PLANNED_READS, OPENED_READS, BLOCK_READS = 3, 2, 2  # metadata and observed time; edges and offsets; index and chunk
OPENED_BYTES = 8400  # of metadata, for each of the two
RECORD_BYTES = 5_700  # of a recording's catalog record and of its place in the plan, in memory


@dataclass(frozen=True)
class ArchiveSettings:
    """Recordings that are alike, which a run draws from.

    Args:
        recordings: how many.
        units: of each.
        seconds: of each.
        rate: spikes per second of a unit.
        bytes_per_spike: in the store, compressed (docs/benchmarks/store-layout.md has 1.9 to 5.3).

    Raises:
        ConfigError: if a value is impossible.
    """

    recordings: int = 1_000_000
    units: int = 163
    seconds: float = 3600.0
    rate: float = 5.0
    bytes_per_spike: float = 2.2

    def __post_init__(self) -> None:
        for name in ("recordings", "units"):
            if getattr(self, name) < 1:
                raise ConfigError(f"archive.{name} is {getattr(self, name)}: at least 1")
        for name in ("seconds", "rate", "bytes_per_spike"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"archive.{name} is {getattr(self, name)}: above 0")

    @property
    def spikes(self) -> float:
        """Of one recording."""
        return self.units * self.rate * self.seconds

    @property
    def block_seconds(self) -> float:
        """Seconds that one block of spikes spans."""
        return min(SPIKES_PER_BLOCK / (self.units * self.rate), self.seconds)


@dataclass(frozen=True)
class Reading:
    """What one process reads for a step, the mean over a run.

    Args:
        opened: recordings that it opens to say which windows the step has: those of all processes, the first time.
        own: recordings that it opens to read its own windows.
        blocks: that it decodes.
        stored: bytes that it reads.
        decoded: bytes that these become.
        reads: requests to the store.
        catalog: bytes of its node's memory in which it and its workers know the recordings.
    """

    opened: float
    own: float
    blocks: float
    stored: float
    decoded: float
    reads: float
    catalog: float = 0.0

    def seconds(self, hardware: Hardware, workers: int) -> float:
        """The longer of waiting for the store and of working on what comes, by ``workers`` processes (0: a thread)."""
        hands = max(workers, 1)
        waiting = max(
            self.stored / hardware.store_bandwidth,
            self.reads * hardware.store_seconds / (hardware.store_reads * hands),
        )
        # Every worker draws the windows of its own steps, so that opening is shared as decoding is.
        working = (self.opened + self.own) * hardware.open_seconds + self.decoded / hardware.decode_bandwidth
        return waiting + working / hands


def reading(archive: ArchiveSettings, own: StepShape, windows: int, steps: int, data: DataSettings) -> Reading:
    """What one process reads for a step.

    Args:
        archive: the recordings.
        own: this process's windows.
        windows: of the whole step.
        steps: of the run; a recording's observed time is read once in a run by every process (and worker).
        data: its cache and workers.
    """
    drawn = windows * steps / max(data.workers, 1)
    seen = archive.recordings * -math.expm1(-drawn / archive.recordings)
    opened = seen * max(data.workers, 1) / steps
    per_block = min(archive.spikes, SPIKES_PER_BLOCK)
    cached = min(1.0, data.cache_bytes / (archive.recordings * archive.spikes * DECODED))
    kept_open = min(1.0, data.cache_bytes / 8 / (DECODED * (archive.units + 1) * archive.recordings))
    spans = 1 + own.seconds_BV / archive.block_seconds
    most = max(1.0, archive.seconds / archive.block_seconds)
    blocks = float(spans.clip(max=most).sum()) * (1 - cached)
    own_opened = len(own) * (1 - kept_open)
    return Reading(
        opened=opened,
        own=own_opened,
        blocks=blocks,
        stored=blocks * per_block * archive.bytes_per_spike + (opened + own_opened) * OPENED_BYTES,
        decoded=blocks * per_block * DECODED,
        reads=PLANNED_READS * opened + OPENED_READS * own_opened + BLOCK_READS * blocks,
        catalog=float(1 + data.workers) * archive.recordings * RECORD_BYTES,
    )
