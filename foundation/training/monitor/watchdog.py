"""Detects steps that take far too long, and writes the stacks of this process."""

from __future__ import annotations

import faulthandler
import logging
import statistics
import threading
import time
from collections import deque
from pathlib import Path

log = logging.getLogger(__name__)
REMEMBERED, LEAST = 101, 3  # largest and smallest number of steps for the median


class Watchdog:
    """A thread that watches the time since the last `beat`; every process of a run has one.

    Args:
        folder: folder for the stacks of all threads, ``rank-00000-step-00000007.txt``.
        rank: rank of this process.
        factor: report a step, once, that takes this many times the median of the last steps; 0: never.
        min_seconds: shorter steps are never reported.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with Watchdog(folder, rank=0, factor=5.0, min_seconds=0.2) as watchdog:
        ...     for step in range(5):
        ...         watchdog.beat(step)
        ...     time.sleep(1.0)
        >>> [file.name for file in folder.iterdir()]
        ['rank-00000-step-00000004.txt']
    """

    def __init__(self, folder: Path, *, rank: int, factor: float, min_seconds: float) -> None:
        self.folder, self.rank, self.factor, self.min_seconds = folder, rank, factor, min_seconds
        self.reports = 0
        self._seconds: deque[float] = deque(maxlen=REMEMBERED)
        self._step, self._began, self._reported = -1, time.monotonic(), True
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def beat(self, step: int) -> None:
        """Mark the beginning of a step, and so the end of the previous one."""
        now = time.monotonic()
        if self._step >= 0:
            self._seconds.append(now - self._began)
        self._step, self._began, self._reported = step, now, False

    def pause(self) -> None:
        """Stop the clock during validation, checkpoints and the end of the run."""
        self._reported, self._step = True, -1

    @property
    def limit(self) -> float:
        """Seconds after which a step is reported."""
        if not self.factor or len(self._seconds) < LEAST:
            return float("inf")
        return max(self.min_seconds, self.factor * statistics.median(self._seconds))

    def _watch(self) -> None:
        while not self._end.wait(min(1.0, self.min_seconds / 4)):
            spent = time.monotonic() - self._began
            if not self._reported and spent > self.limit:
                self._reported = True
                self._report(spent)

    def _report(self, spent: float) -> None:
        path = self.folder / f"rank-{self.rank:05d}-step-{self._step:08d}.txt"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(path, "w") as file:
                file.write(f"step {self._step} of process {self.rank} has taken {spent:.1f} s\n\n")
                file.flush()
                faulthandler.dump_traceback(file, all_threads=True)
        except OSError as error:
            log.warning("cannot write %s: %s", path, error)
            return
        self.reports += 1
        log.warning(
            "step %d has taken %.1f s, above the limit of %.1f s: the stacks of process %d are in %s",
            self._step, spent, self.limit, self.rank, path,
        )  # fmt: skip

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
