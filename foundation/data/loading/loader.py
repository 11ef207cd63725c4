"""Batches of consecutive steps, prepared ahead in a thread or in processes, always in the order of the plan."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import Any

import numpy as np
import torch

from foundation.common.errors import ConfigError
from foundation.data.covariates import Surroundings
from foundation.data.loading.loader_workers import Share, Steps, in_workers
from foundation.data.reading.reader import WindowReader
from foundation.data.samplers.sampler import Sampler
from foundation.data.steps.step import Plan, StepBatch, StepContext, StepWindows
from foundation.store.catalog import Catalog


class Loader:
    """Batches of windows: one process's share in each step of a plan.

    Reading and binning run in a thread beside the training step (both release Python's lock), or in ``workers``
    processes, which open the store themselves and are started by a fork server, never forked from this one. Order and
    content are the same for any number of processes, workers and prefetched batches.

    Args:
        catalog: the recordings.
        sampler: which windows, in which order.
        batch_size: windows of a step, over all processes; None: the sampler's own choice.
        rank, world: this process's rank, and the number of processes.
        workers: processes that read and bin; 0: a thread.
        prefetch: batches prepared in advance, by each worker; 0 without workers: each is read when requested.
        cache_bytes: bytes of decoded activity that each worker holds; see `BlockCache`.
        packed: concatenate units instead of padding; see `PackedBatch`.
        bins_per_token: time is padded to a multiple of this; None: the sampler's own value.
        device: device of the batches; on a GPU the next batch is copied while this one is used.
        total_steps: steps of the whole run, for schedules (see `StepContext`); 0: unlimited.

    Attributes:
        surroundings: surrounding information of the recordings if the sampler needs it; otherwise None.

    Raises:
        ConfigError: if a setting is invalid, or the sampler names a recording that is not in the catalog.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from foundation.data import RandomSampler, sampling_intervals
        >>> from foundation.store import Catalog, Interval, Recording, Source, Spikes, Store, Subject, Units
        >>> from foundation.store import write_recording
        >>> store = Store(tempfile.mkdtemp() + "/store", create=True)
        >>> trains = [np.arange(0, 60, 0.1), np.arange(0, 60, 0.5)]
        >>> recording = Recording(Source("a.nwb", "00"), Subject("m"), "s", Units(2), Interval([0.0], [60.0]),
        ...                       spikes=Spikes.from_trains(trains))
        >>> _ = write_recording(store, recording)
        >>> catalog = Catalog.build(store)
        >>> sampler = RandomSampler(intervals=sampling_intervals(catalog), duration=1.0, bin_width=0.5, seed=0)
        >>> for batch in Loader(catalog, sampler, batch_size=4).steps(0, 2):
        ...     print(batch.step, tuple(batch.x_BNT.shape), batch.x_BNT.dtype, int(batch.x_BNT[0, 0].sum()))
        0 (4, 2, 2) torch.uint8 10
        1 (4, 2, 2) torch.uint8 10
    """

    def __init__(
        self,
        catalog: Catalog,
        sampler: Sampler,
        *,
        batch_size: int | None = None,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        prefetch: int = 2,
        cache_bytes: int = 1 << 30,
        packed: bool = False,
        bins_per_token: int | None = None,
        device: torch.device | str | None = None,
        total_steps: int = 0,
    ) -> None:
        for name, value, smallest in (
            ("workers", workers, 0),
            ("prefetch", prefetch, 1 if workers else 0),
            ("cache_bytes", cache_bytes, 1),
        ):
            if value < smallest:
                raise ConfigError(f"{name} is {value}: expected at least {smallest}")
        self.catalog, self.plan = catalog, sampler.plan(batch_size)
        self.workers, self.prefetch, self.cache_bytes = workers, prefetch, cache_bytes
        self.share = Share(rank, world, packed, bins_per_token or self.plan.bins_per_token)
        self.device, self.total_steps = device, total_steps
        places_R = catalog.records.places(self.plan.recordings)
        if (places_R < 0).any():
            unknown = self.plan.recordings[int(np.argmin(places_R))]
            raise ConfigError(f"the catalog has no recording {unknown}: open the catalog of the sampler's recordings")
        self.records = catalog.records.select(places_R)
        self.plan.check(self.records, rank, world)
        self.reader = WindowReader(catalog.store, self.records, cache_bytes)
        surround = self.plan.surround
        self.surroundings = None if surround is None else Surroundings(catalog.store, self.records, surround)

    def load(self, step: int) -> StepBatch:
        """Read this process's share of one step in the calling thread."""
        return self._batch(*self.share.read(self.reader, self.plan, step))

    def steps(self, first: int, last: int | None = None) -> Iterator[StepBatch]:
        """Read only the steps ``first`` to ``last - 1`` in order, endlessly if ``last`` is None."""
        yield from self._steps(self.plan, first, last)

    def __iter__(self) -> Iterator[StepBatch]:
        """Read one epoch of a sampler with epochs, with a shorter last batch; otherwise read endlessly."""
        plan, last = self.plan.epoch() or (self.plan, None)
        yield from self._steps(plan, 0, last)

    def _steps(self, plan: Plan, first: int, last: int | None) -> Iterator[StepBatch]:
        numbers = iter(count(first) if last is None else range(first, last))
        if self.workers:
            steps = Steps(self.catalog.store.url, self.records, plan, self.share, self.cache_bytes)
            read = in_workers(steps, first, last, workers=self.workers, prefetch=self.prefetch)
        elif self.prefetch:
            read = self._in_thread(plan, numbers)
        else:
            read = (self.share.read(self.reader, plan, step) for step in numbers)
        batches = (self._batch(*step) for step in read)
        return batches if self.device is None else ahead_on(batches, torch.device(self.device))

    def _in_thread(self, plan: Plan, numbers: Iterator[int]) -> Iterator[tuple[StepWindows, list[Any]]]:
        waiting: deque[Future[tuple[StepWindows, list[Any]]]] = deque()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader") as pool:
            try:
                for step in numbers:
                    waiting.append(pool.submit(self.share.read, self.reader, plan, step))
                    if len(waiting) > self.prefetch:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _batch(self, windows: StepWindows, views: list[Any]) -> StepBatch:
        surround_VBS = None
        if self.surroundings is not None:
            surround_VBS = torch.from_numpy(self.surroundings.of_step(self.plan.recordings, windows))
        context = StepContext(
            item_B=torch.from_numpy(windows.item_B),
            recording_B=torch.from_numpy(windows.recordings),
            seed=self.plan.seed,
            step=windows.step,
            steps=self.total_steps,
            surround_VBS=surround_VBS,
            bins_per_token=windows.bins_per_token or self.share.bins_per_token,
        )
        return StepBatch(views, windows, context)


def ahead_on(batches: Iterator[StepBatch], device: torch.device) -> Iterator[StepBatch]:
    """Yield batches on a device, in order.

    For a GPU, batches are copied from pinned memory on a separate stream, one batch ahead of the batch in use; the
    current stream waits for the copy of its batch. On other devices batches are simply moved.
    """
    if device.type != "cuda":
        for batch in batches:
            yield batch.to(device)
        return
    stream = torch.cuda.Stream(device)
    before: tuple[StepBatch, StepBatch] | None = None
    for batch in batches:
        with torch.cuda.stream(stream):
            pinned = batch.pin_memory()
            # Hold the pinned memory until its copy is complete.
            coming = (pinned, pinned.to(device))
        if before is not None:
            torch.cuda.current_stream(device).wait_stream(stream)
            yield before[1]
        before = coming
    if before is not None:
        torch.cuda.current_stream(device).wait_stream(stream)
        yield before[1]
