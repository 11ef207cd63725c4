"""Which tasks run when: a bounded number in flight, each with the memory it needs, and again with more if it dies."""

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
# What a worker takes before it has read anything, and what a file of some size takes while it is read: measured on
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
        asset: what it works on.
        attempt: how often it was begun.
        memory: bytes that it may take.
        since: when a worker took it up (`time.monotonic`); None while it waits for one.
        bytes: how many of the asset's bytes have come so far.
    """

    asset: Asset
    attempt: int
    memory: int
    since: float | None = None
    bytes: int = 0


def memory_for(size: int) -> int:
    """Bytes of memory that a worker is given for an asset of ``size`` bytes at first.

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
    """Have Ray's workers do the work on every asset; receipts come as they are done.

    A worker that dies, or runs out of memory, is given its asset again with twice the memory (as much as the largest
    machine has); after three deaths the asset is reported as failed. Nothing but receipts passes Ray's object store.
    Tasks that are in flight when the iteration is given up are cancelled.

    Args:
        ray: the connected module.
        assets: what to work on; the largest are begun first, so that none is left to a single worker at the end.
        work: called on a worker with an asset.
        limit: tasks in flight at most; never more than this run's share of the cluster (`ClusterShare`).
        waiting: called at least once a second with what is in flight.
    """
    largest = _largest_machine(ray)

    @ray.remote(num_cpus=1, max_retries=0, num_returns="streaming")
    def ingest_asset(asset: Asset) -> Iterator[Receipt | int]:
        yield 0  # says that a worker has taken it up
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
                        # Without a cause the work itself failed, and would fail again.
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
    """Do the work on one asset after another in this process, without Ray.

    Nothing is tried again with more memory, and a file that crashes its reader ends the process.

    Args:
        assets: what to work on.
        work: called with an asset.
        waiting: called about once a second with what is worked on.
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
    """Do the work in a thread; yield the bytes that have come whenever there are more of them, then the receipt."""
    METER.reset()
    said = 0
    with ThreadPoolExecutor(1) as pool:
        receipt = pool.submit(work, asset)
        while not wait([receipt], timeout=HEARTBEAT).done:
            if METER.bytes != said:
                said = METER.bytes
                yield said
    yield receipt.result()


@contextmanager
def _beating(call: Callable[[], None]) -> Iterator[None]:
    """Call a function every heartbeat in a thread of its own."""
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
    """Bytes of memory that Ray may give out on the largest machine; a task that asks for more would wait for ever."""
    return int(max((node["Resources"].get("memory", 0) for node in ray.nodes() if node["Alive"]), default=0))


def _cause(error: Exception) -> str:
    """What a worker died of; ``''`` if it lives, and its work raised an error."""
    inner = getattr(error, "cause", None)
    if inner is None:
        return type(error).__name__
    return "MemoryError" if isinstance(inner, MemoryError) else ""


def _gave_up(cause: str, memory: int) -> str:
    reason = "memory ran out" if "Memory" in cause else "the file crashes its reader or takes it too long"
    return f"its worker died {ATTEMPTS} times ({cause}), at last with {memory / 1e9:.1f} GB: {reason}"


log = logging.getLogger(__name__)
PREFIX = b"foundation-run:"


def fair_share(processors: int, wanted: int, others: Sequence[int] = ()) -> int:
    """Return how many processors a run gets beside others: equal parts, and what some do not want goes to the rest.

    Args:
        processors: of the cluster.
        wanted: tasks that this run has left.
        others: those that the others have left.

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
    """A run's entry in the list that all runs on a cluster see, for as long as it is entered.

    Args:
        ray: the connected module.
    """

    def __init__(self, ray: Any) -> None:
        from ray.experimental import internal_kv

        self._ray, self._table = ray, internal_kv
        self._job = ray.get_runtime_context().get_job_id()

    def processors(self) -> int:
        """All processors that the cluster has now."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def tasks(self, wanted: int) -> int:
        """Return how many tasks may be in flight now, where this run has ``wanted`` left.

        A run that is alone puts a quarter more into the queue than there are processors, so that a free worker finds
        its next task and a cluster that grows by demand sees that there is some.
        """
        processors = self.processors()
        others = self._others(wanted)
        return fair_share(processors, wanted, others) if others else processors + max(1, processors // 4)

    def _others(self, wanted: int) -> list[int]:
        """What the other runs that live have left."""
        from ray._private import state

        try:
            self._table._internal_kv_put(PREFIX + self._job.encode(), str(wanted).encode(), overwrite=True)
            living = {job["JobID"] for job in state.jobs() if not job["IsDead"]} - {self._job}
            keys = [key for key in self._table._internal_kv_list(PREFIX) if key[len(PREFIX) :].decode() in living]
            return [int(value) for key in keys if (value := self._table._internal_kv_get(key))]
        except Exception:  # neither the table nor the list of jobs is a promise of Ray's
            log.debug("the other runs on the cluster are not known", exc_info=True)
            return []

    def __enter__(self) -> ClusterShare:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._table._internal_kv_del(PREFIX + self._job.encode())
        except Exception:  # as above; the entry of a job that has ended counts for nothing
            log.debug("the entry of this run was not removed", exc_info=True)
