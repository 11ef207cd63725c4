"""Schedule tasks: bounded in flight, with memory by size, and retried with more after a worker's death."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from foundation.store.format.spill import MEMORY
from ingest.nwb.file.watched_file import METER
from ingest.run.ingest_report import FAILED, Receipt
from ingest.sources import Asset

log = logging.getLogger(__name__)

ATTEMPTS = 3
# Memory of an idle worker, and memory per byte of a file while reading it: measured on
# page docs/benchmarks/ingest.md. Spikes and samples take `scratch.MEMORY` at most; tables of units and trials are held
# whole.
BASE_BYTES = 700_000_000
SHARE = 10
BOUND_BYTES = 1_000_000_000
HEARTBEAT = 1.0


@dataclass
class Running:
    """A task in flight.

    Args:
        asset: the asset.
        attempt: number of starts.
        memory: reserved bytes.
        since: start on a worker (`time.monotonic`); None while queued.
        bytes: bytes of the asset read so far.
    """

    asset: Asset
    attempt: int
    memory: int
    since: float | None = None
    bytes: int = 0


def memory_for(size: int) -> int:
    """Return the memory in bytes of a worker's first attempt at an asset of ``size`` bytes.

    Example:
        >>> memory_for(0), memory_for(100_000_000), memory_for(10**12)
        (700000000, 910000000, 2236870912)
    """
    return BASE_BYTES + min(2 * size, MEMORY) + min(size // SHARE, BOUND_BYTES)


def run_tasks(
    ray: Any,
    assets: list[Asset],
    work: Callable[[Asset], Receipt],
    *,
    limit: int | None = None,
    waiting: Callable[[list[Running]], None] = lambda running: None,
) -> Generator[Receipt, None, None]:
    """Run the work on every asset on Ray's workers; yield receipts as they finish.

    A worker that dies or runs out of memory gets its asset again with twice the memory (at most that of the largest
    machine); after three deaths the asset fails. Only receipts pass through Ray's object store. Closing the iteration
    cancels the tasks in flight.

    Args:
        ray: the connected module.
        assets: the assets; the largest start first, so that no single worker runs long at the end.
        work: called with an asset on a worker.
        limit: maximum tasks in flight; also bounded by this run's share of the cluster (`ClusterShare`).
        waiting: called at least once a second with the tasks in flight.
    """
    largest = _largest_machine(ray)

    @ray.remote(num_cpus=1, max_retries=0, num_returns="streaming")
    def ingest_asset(asset: Asset) -> Iterator[Receipt | int]:
        yield 0  # signals that a worker has started
        yield from _with_bytes(work, asset)

    left = deque(sorted(assets, key=lambda asset: (-asset.size, asset.path)))
    running: dict[Any, Running] = {}
    most, asked = 0, float("-inf")

    def start(asset: Asset, attempt: int, memory: int) -> None:
        memory = min(memory, largest)
        task = ingest_asset.options(name=f"ingest {asset.path}", memory=memory).remote(asset)
        running[task] = Running(asset, attempt, memory)

    with ClusterShare(ray) as share:
        try:
            while left or running:
                if time.monotonic() - asked >= HEARTBEAT:
                    asked = time.monotonic()
                    most = min(share.tasks(len(left) + len(running)), limit or sys.maxsize)
                while left and len(running) < most:
                    asset = left.popleft()
                    start(asset, 1, memory_for(asset.size))
                waiting(list(running.values()))
                done, _ = ray.wait(list(running), num_returns=1, timeout=HEARTBEAT)
                for task in done:
                    try:
                        receipt = ray.get(next(task))
                    except ray.exceptions.RayError as error:
                        was = running.pop(task)
                        cause = _cause(error)
                        if cause and was.attempt < ATTEMPTS:
                            tries = f"attempt {was.attempt} of {ATTEMPTS}"
                            log.info("%s: worker died (%s), %s", was.asset.path, cause, tries)
                            start(was.asset, was.attempt + 1, 2 * was.memory)
                            continue
                        # Without a cause the work itself raised, and would raise again.
                        note = _gave_up(cause, was.memory) if cause else " ".join(str(error).split())[-500:]
                        yield Receipt(was.asset.path, FAILED, size=was.asset.size, note=note)
                        continue
                    if isinstance(receipt, int):
                        running[task].since = running[task].since or time.monotonic()
                        running[task].bytes = receipt
                    else:
                        del running[task]
                        yield receipt
        finally:
            for task in running:
                if ray.is_initialized():
                    ray.cancel(task, force=True)


def run_here(
    assets: list[Asset],
    work: Callable[[Asset], Receipt],
    waiting: Callable[[list[Running]], None] = lambda running: None,
) -> Generator[Receipt, None, None]:
    """Run the work on one asset after another in this process, without Ray.

    There are no retries with more memory, and a file that crashes its reader ends the process.

    Args:
        assets: the assets.
        work: called with an asset.
        waiting: called about once a second with the current task.
    """
    for asset in sorted(assets, key=lambda asset: (-asset.size, asset.path)):
        METER.reset()
        running = Running(asset, 1, 0, time.monotonic())

        def beat(running: Running = running) -> None:
            running.bytes = METER.bytes
            waiting([running])

        with _beating(beat):
            try:
                receipt = work(asset)
            except MemoryError:
                receipt = Receipt(asset.path, FAILED, size=asset.size, note="memory ran out")
        yield receipt


def _with_bytes(work: Callable[[Asset], Receipt], asset: Asset) -> Iterator[Receipt | int]:
    """Run the work in a thread; yield the number of bytes read when it grows, then the receipt."""
    METER.reset()
    reported = 0
    with ThreadPoolExecutor(1) as pool:
        receipt = pool.submit(work, asset)
        while not wait([receipt], timeout=HEARTBEAT).done:
            if METER.bytes != reported:
                reported = METER.bytes
                yield reported
    yield receipt.result()


@contextmanager
def _beating(call: Callable[[], None]) -> Iterator[None]:
    """Call a function every heartbeat in its own thread."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(HEARTBEAT):
            call()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _largest_machine(ray: Any) -> int:
    """Return the memory of Ray's largest machine; a task that requests more would wait endlessly."""
    return int(max((node["Resources"].get("memory", 0) for node in ray.nodes() if node["Alive"]), default=0))


def _cause(error: Exception) -> str:
    """Return a worker's cause of death; ``''`` if it is alive and its work raised an error."""
    inner = getattr(error, "cause", None)
    if inner is None:
        return type(error).__name__
    return "MemoryError" if isinstance(inner, MemoryError) else ""


def _gave_up(cause: str, memory: int) -> str:
    reason = "memory ran out" if "Memory" in cause else "the file crashes its reader or exceeds the timeout"
    return f"its worker died {ATTEMPTS} times ({cause}), at last with {memory / 1e9:.1f} GB: {reason}"


log = logging.getLogger(__name__)
PREFIX = b"foundation-run:"


def fair_share(processors: int, wanted: int, others: Sequence[int] = ()) -> int:
    """Return a run's share of the processors: equal shares, and unused ones go to the other runs.

    Args:
        processors: in the cluster.
        wanted: remaining tasks of this run.
        others: remaining tasks of the other runs.

    Example:
        >>> fair_share(16, 500), fair_share(16, 500, [500]), fair_share(16, 500, [1]), fair_share(2, 9, [9, 9])
        (16, 8, 15, 1)
    """
    left, runs = processors, len(others) + 1
    for small in sorted(others):
        if small * runs >= left or small >= wanted:
            break
        left, runs = left - small, runs - 1
    return max(1, min(wanted, left // runs))


class ClusterShare:
    """A run's entry in the list shared by all runs on a cluster, while the context is open.

    Args:
        ray: the connected module.
    """

    def __init__(self, ray: Any) -> None:
        from ray.experimental import internal_kv

        self._ray, self._table = ray, internal_kv
        self._job = ray.get_runtime_context().get_job_id()

    def processors(self) -> int:
        """Return the current number of processors of the cluster."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def tasks(self, wanted: int) -> int:
        """Return how many tasks may be in flight now, with ``wanted`` tasks remaining.

        A run that is alone queues a quarter more tasks than processors, so that free workers find their next task and
        an autoscaling cluster sees demand.
        """
        processors = self.processors()
        others = self._others(wanted)
        return fair_share(processors, wanted, others) if others else processors + max(1, processors // 4)

    def _others(self, wanted: int) -> list[int]:
        """Return the remaining tasks of the other live runs."""
        from ray._private import state

        try:
            self._table._internal_kv_put(PREFIX + self._job.encode(), str(wanted).encode(), overwrite=True)
            living = {job["JobID"] for job in state.jobs() if not job["IsDead"]} - {self._job}
            keys = [key for key in self._table._internal_kv_list(PREFIX) if key[len(PREFIX) :].decode() in living]
            return [int(value) for key in keys if (value := self._table._internal_kv_get(key))]
        except Exception:  # neither the table nor the job list is a stable API of Ray
            log.debug("cannot list the other runs on the cluster", exc_info=True)
            return []

    def __enter__(self) -> ClusterShare:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._table._internal_kv_del(PREFIX + self._job.encode())
        except Exception:  # as above; entries of ended jobs are ignored
            log.debug("the entry of this run was not removed", exc_info=True)
