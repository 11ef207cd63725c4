"""Batches of consecutive steps, prepared ahead in a thread or in processes, always in the order of the plan."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Protocol

import torch

from foundation.common.errors import ConfigError
from foundation.data.loading.device_prefetch import ahead_on
from foundation.data.reading.reader import WindowReader
from foundation.data.samplers.sampler import Sampler
from foundation.data.steps.step_plan import StepPlan
from foundation.data.windows import NANOSECONDS, WindowTable
from foundation.store.catalog import Catalog

log = logging.getLogger(__name__)

DRAWN_TOGETHER = 16  # steps whose windows are drawn at once: drawing few costs as much as drawing many


class Plan(Protocol):
    """What each step holds: a table of windows for each view."""

    @property
    def recordings(self) -> Sequence[str]:
        """Ids of the recordings that tables count."""

    def tables(self, step: int, rank: int = 0, world: int = 1) -> list[WindowTable]:
        """The share of one of ``world`` processes in a step."""


@dataclass(frozen=True)
class SamplerPlan:
    """Steps of ``batch_size`` windows of a sampler; processes take every ``world``-th window of a step.

    Args:
        sampler: the windows.
        batch_size: windows of a step, over all processes.
        end: the window at which the last step is cut short; None: steps go on over epochs.
    """

    sampler: Sampler
    batch_size: int
    end: int | None = None
    _drawn: list[tuple[int, WindowTable]] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def recordings(self) -> Sequence[str]:
        return self.sampler.recordings

    def tables(self, step: int, rank: int = 0, world: int = 1) -> list[WindowTable]:
        """The share of one of ``world`` processes in a step, as the only view."""
        first = step - step % DRAWN_TOGETHER
        if not self._drawn or self._drawn[0][0] != first:
            numbers = [first * self.batch_size, (first + DRAWN_TOGETHER) * self.batch_size]
            if self.end is not None:
                numbers = [min(n, self.end) for n in numbers]
            self._drawn[:] = [(first, self.sampler.windows(*numbers))]
        begin = (step - first) * self.batch_size
        return [self._drawn[0][1].part(slice(begin + rank, begin + self.batch_size, world))]


@dataclass
class StepBatch:
    """One process's share of a step.

    Args:
        step: its number.
        views: a `WindowBatch` (or `PackedBatch`) per view; ``batch.x_BNT`` and so on are those of the first.
    """

    step: int
    views: list[Any]

    def to(self, device: torch.device | str) -> StepBatch:
        """The same on a device."""
        return replace(self, views=[view.to(device) for view in self.views])

    def pin_memory(self) -> StepBatch:
        """The same in memory from which a GPU copies while both go on."""
        return replace(self, views=[view.pin_memory() for view in self.views])

    def __getattr__(self, name: str) -> torch.Tensor:
        if name.startswith("_") or "views" not in self.__dict__:
            raise AttributeError(name)
        value: torch.Tensor = getattr(self.views[0], name)
        return value

    def __len__(self) -> int:
        return len(self.views[0])


class Loader:
    """Batches of windows: the share of one process in each step of a plan.

    Reading and binning run in a thread beside the training step (both release Python's lock), or in ``workers``
    processes, which open the store themselves and are started anew (forkserver), never forked from this one. Order and
    content are the same for any number of processes, workers and batches ahead.

    Args:
        catalog: the recordings.
        sampler: which windows, in which order; or a `StepPlan`, which brings its own batches.
        batch_size: windows of a step, over all processes (not with a `StepPlan`).
        rank, world: which of how many processes this is.
        workers: processes that read and bin; 0: a thread.
        prefetch: batches prepared ahead, by each worker; 0 without workers: each is made when it is asked for.
        cache_bytes: decoded activity held in memory, by each worker; see `BlockCache`.
        packed: units one after another instead of padded; see `PackedBatch`.
        bins_per_token: time is padded to a multiple of this.
        device: where batches are put; on a GPU the next is copied while this one is used.

    None leaves a setting to the `StepPlan`'s own.

    Raises:
        ConfigError: if a setting is impossible, or the sampler names a recording that the catalog has not.

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
        sampler: Sampler | StepPlan,
        *,
        batch_size: int = 64,
        rank: int = 0,
        world: int = 1,
        workers: int | None = None,
        prefetch: int | None = None,
        cache_bytes: int | None = None,
        packed: bool = False,
        bins_per_token: int | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        own = sampler.settings if isinstance(sampler, StepPlan) else None
        self.catalog, self.sampler = catalog, sampler
        self.rank, self.world, self.packed, self.device = rank, world, packed, device
        self.workers = workers if workers is not None else own.workers if own else 0
        self.prefetch = prefetch if prefetch is not None else own.prefetch if own else 2
        self.cache_bytes = cache_bytes if cache_bytes is not None else own.cache_bytes if own else 1 << 30
        if isinstance(sampler, StepPlan):
            self.plan: StepPlan | SamplerPlan = sampler
            self.bins_per_token = bins_per_token or sampler.bins_per_token
            least, name = sampler.settings.min_windows, "min_windows"
        else:
            self.plan = SamplerPlan(sampler, batch_size)
            self.bins_per_token = bins_per_token or 1
            least, name = batch_size, "batch_size"
        for setting, lowest in (("workers", 0), ("prefetch", 1 if self.workers else 0), ("cache_bytes", 1)):
            if getattr(self, setting) < lowest:
                raise ConfigError(f"{setting} is {getattr(self, setting)}: at least {lowest}")
        if batch_size < 1 or not 0 <= rank < world:
            raise ConfigError(f"batch_size={batch_size}, rank={rank}, world={world}: need 1 or more, 0 <= rank < world")
        if world > least:
            raise ConfigError(f"{world} processes cannot share a step of {name}={least}: raise {name}")
        known = {record["id"]: record for record in catalog.records}
        unknown = [name for name in self.plan.recordings if name not in known]
        if unknown:
            raise ConfigError(
                f"the catalog has no recording {unknown[0]}: open the catalog that the sampler was made of"
            )
        self.records = [known[name] for name in self.plan.recordings]
        if isinstance(self.plan, SamplerPlan):
            _warn_of_coarse_times(self.records, sampler)
        self.reader = WindowReader(catalog.store, self.records, self.cache_bytes)

    def load(self, step: int) -> StepBatch:
        """This process's share of one step, read here and now."""
        return self._load(self.plan, step)

    def _load(self, plan: Plan, step: int) -> StepBatch:
        read = self.reader.read_packed if self.packed else self.reader.read
        tables = plan.tables(step, self.rank, self.world)
        return StepBatch(step, [read(table, bins_per_token=self.bins_per_token) for table in tables])

    def steps(self, first: int, last: int | None = None) -> Iterator[StepBatch]:
        """The steps ``first`` to ``last - 1`` in order, without end if ``last`` is None; nothing before is read."""
        yield from self._steps(self.plan, first, last)

    def __iter__(self) -> Iterator[StepBatch]:
        """One epoch of a sampler that has epochs, its last batch cut short; endless for others."""
        if isinstance(self.plan, SamplerPlan) and isinstance(self.sampler, Sized):
            size = len(self.sampler)
            yield from self._steps(replace(self.plan, end=size), 0, -(-size // self.plan.batch_size))
        else:
            yield from self.steps(0)

    def _steps(self, plan: StepPlan | SamplerPlan, first: int, last: int | None) -> Iterator[StepBatch]:
        if self.workers:
            from foundation.data.loading.loader_workers import in_workers

            made = in_workers(self, plan, first, last)
        elif self.prefetch:
            made = self._in_thread(plan, first, last)
        else:
            made = (self._load(plan, step) for step in _numbers(first, last))
        return made if self.device is None else ahead_on(made, torch.device(self.device))

    def _in_thread(self, plan: Plan, first: int, last: int | None) -> Iterator[StepBatch]:
        waiting: deque[Future[StepBatch]] = deque()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader") as pool:
            try:
                for step in _numbers(first, last):
                    waiting.append(pool.submit(self._load, plan, step))
                    if len(waiting) > self.prefetch:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()


def _warn_of_coarse_times(records: list[dict[str, Any]], sampler: Any) -> None:
    """Warn of recordings whose times mean nothing below a resolution that is longer than the sampler's bins."""
    shape = getattr(sampler, "shape", None)
    if shape is None:
        return
    bin_width = shape.width / NANOSECONDS
    coarse = [record for record in records if record["resolution"] > bin_width * (1 + 1e-6)]
    if coarse:
        worst = max(coarse, key=lambda record: record["resolution"])
        log.warning(
            "bin_width is %g s, finer than the resolution of %d of %d recordings (%g s in %s): "
            "give a bin_width and a grid no shorter than that, or leave them out",
            *(bin_width, len(coarse), len(records), worst["resolution"], worst["path"]),
        )


def _numbers(first: int, last: int | None) -> Iterator[int]:
    return iter(count(first) if last is None else range(first, last))
