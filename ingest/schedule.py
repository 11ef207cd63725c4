"""Which tasks run when: a bounded number in flight, each with the memory it needs, and again with more if it dies."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from foundation.store.scratch import MEMORY
from ingest.report import FAILED, Receipt
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
    """A task in flight: its asset, how often it was begun, and since when it runs."""

    asset: Asset
    attempt: int
    memory: int
    since: float


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
) -> Iterator[Receipt]:
    """Have Ray's workers do the work on every asset; receipts come as they are done.

    A worker that dies, or runs out of memory, is given its asset again with twice the memory (as much as the largest
    machine has); after three deaths the asset is reported as failed. Nothing but receipts passes Ray's object store.

    Args:
        ray: the connected module.
        assets: what to work on; the largest are begun first, so that none is left to a single worker at the end.
        work: called on a worker with an asset.
        limit: tasks in flight at most; by default twice the processors, so that a free worker finds its next task.
        waiting: called at least once a second with what is running.
    """
    largest = _largest_machine(ray)
    limit = limit or 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))

    @ray.remote(num_cpus=1, max_retries=0)
    def ingest_asset(asset: Asset) -> Receipt:
        return work(asset)

    order = iter(sorted(assets, key=lambda asset: (-asset.size, asset.path)))
    running: dict[Any, Running] = {}

    def start(asset: Asset, attempt: int, memory: int) -> None:
        memory = min(memory, largest)
        reference = ingest_asset.options(name=f"ingest {asset.path}", memory=memory).remote(asset)
        running[reference] = Running(asset, attempt, memory, time.monotonic())

    while True:
        while len(running) < limit and (asset := next(order, None)) is not None:
            start(asset, 1, memory_for(asset.size))
        if not running:
            return
        waiting(list(running.values()))
        done, _ = ray.wait(list(running), num_returns=1, timeout=HEARTBEAT)
        for reference in done:
            was = running.pop(reference)
            try:
                yield ray.get(reference)
            except ray.exceptions.RayError as error:
                cause = _cause(error)
                if not cause:  # the work itself failed, and would fail again
                    yield Receipt(was.asset.path, FAILED, size=was.asset.size, note=" ".join(str(error).split())[-500:])
                    continue
                log.info("%s: worker died (%s), attempt %d of %d", was.asset.path, cause, was.attempt, ATTEMPTS)
                if was.attempt < ATTEMPTS:
                    start(was.asset, was.attempt + 1, 2 * was.memory)
                else:
                    yield Receipt(was.asset.path, FAILED, size=was.asset.size, note=_gave_up(cause, was.memory))


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
