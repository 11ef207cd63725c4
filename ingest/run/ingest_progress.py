"""Progress display of a running ingest."""

from __future__ import annotations

import time

from tqdm import tqdm

from foundation.common.output.progress import Progress
from ingest.run.ingest_report import FAILED, SKIPPED, Receipt
from ingest.run.task_schedule import Running
from ingest.sources import Asset

SLOW = 20.0
# Share of an asset's bytes counted before its receipt: after reading, work remains.
MOST_READ = 0.9


class Watch:
    """Show assets, units, spikes, bytes per second, time left and failures, also between receipts.

    Bytes of an asset count as they arrive, up to nine tenths; the last tenth counts with its receipt.

    Args:
        assets: the assets to ingest.

    Example:
        >>> from foundation.store import Source
        >>> with Watch([Asset("/data/a.nwb", "a.nwb", 5, Source("a.nwb", ""))]) as watch:
        ...     watch.done(Receipt("a.nwb", "ingested", n_units=3, n_spikes=70, size=5))
        ...     watch.note
        '1/1 assets, 3 units, 70 spikes, 0 failed'
    """

    def __init__(self, assets: list[Asset]) -> None:
        self.assets = len(assets)
        self.receipts = self.units = self.spikes = self.failed = 0
        self.slowest = ""
        self.reading: dict[str, int] = {}
        total = sum(asset.size for asset in assets)
        self.progress = Progress(total, "ingesting", unit="B", scale=True)

    @property
    def note(self) -> str:
        parts = [
            f"{self.receipts}/{self.assets} assets",
            f"{self.units:,} units",
            f"{self.spikes if self.spikes < 10_000 else tqdm.format_sizeof(self.spikes)} spikes",
            f"{self.failed} failed",
        ]
        return ", ".join([*parts, self.slowest] if self.slowest else parts)

    def done(self, receipt: Receipt) -> None:
        """Count a finished asset."""
        self.receipts += 1
        self.units += receipt.n_units
        self.spikes += receipt.n_spikes
        self.failed += receipt.status == FAILED
        rest = max(0, receipt.size - self.reading.pop(receipt.path, 0))
        if receipt.status == SKIPPED:  # takes no time, so it is left out of the pace
            self.progress.skip(rest)
        self.progress.step(0 if receipt.status == SKIPPED else rest, self.note)

    def waiting(self, running: list[Running]) -> None:
        """Refresh the display and name the longest running asset."""
        # Time in Ray's queue, or behind another run, is not working time of an asset.
        at_work = [(task.since, task.asset.path) for task in running if task.since is not None]
        since, path = min(at_work, default=(time.monotonic(), ""))
        seconds = time.monotonic() - since
        self.slowest = f"{path} for {seconds:.0f} s" if seconds > SLOW else ""
        if running and not at_work:
            self.slowest = "waiting for a worker"
        self.progress.step(sum(self._more(task) for task in running), self.note)

    def _more(self, task: Running) -> int:
        """Return the new bytes of an asset; bytes read by a dead worker are not counted twice."""
        path, known = task.asset.path, self.reading.get(task.asset.path, 0)
        self.reading[path] = max(known, min(task.bytes, int(MOST_READ * task.asset.size)))
        return self.reading[path] - known

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.__exit__()
