"""Batches of consecutive steps, prepared ahead in the background, always in the order of the plan."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from foundation.data.batch import WindowBatch, read_views
from foundation.data.plan import StepPlan, share_of
from foundation.data.reader import ReaderCache
from foundation.store.catalog import Catalog


@dataclass
class StepBatch:
    """One process's share of a step: its number and one batch per view."""

    step: int
    views: list[WindowBatch]


class Loader:
    """The share of one process in the steps ``first`` to ``last - 1``.

    Reading and binning run in a thread beside the training step: both release Python's lock while they work.

    Args:
        catalog: the recordings.
        plan: what each step draws.
        rank, world: which of how many processes this is.

    Raises:
        ValueError: if there are more processes than a step has windows at least.
    """

    def __init__(self, catalog: Catalog, plan: StepPlan, *, rank: int = 0, world: int = 1) -> None:
        if world > plan.settings.min_windows:
            raise ValueError(
                f"{world} processes cannot share a step of min_windows={plan.settings.min_windows}: raise min_windows"
            )
        self.plan, self.rank, self.world = plan, rank, world
        self.readers = ReaderCache(catalog, plan.settings.cache_bytes)

    def load(self, step: int) -> StepBatch:
        """This process's share of one step."""
        windows = share_of(self.plan(step), self.rank, self.world)
        return StepBatch(step, read_views(windows, self.readers, self.plan.bins_per_token))

    def steps(self, first: int, last: int) -> Iterator[StepBatch]:
        """The steps in order, ``prefetch`` of them prepared ahead."""
        waiting: deque[Future[StepBatch]] = deque()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader") as pool:
            try:
                for step in range(first, last):
                    waiting.append(pool.submit(self.load, step))
                    if len(waiting) > self.plan.settings.prefetch:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()
