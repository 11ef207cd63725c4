"""Batches made by other processes.

PyTorch's own `DataLoader` starts the processes, keeps their batches in order, hands tensors over in shared memory, and
notices when a process dies. Processes are started by a fork server, never forked from this one, whose threads and open
store they would not survive (zarr-python 171, anndata 2021); each opens the store itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader, Dataset

from foundation.common.errors import ConfigError, FoundationError
from foundation.common.socket_folder import shorten_sockets
from foundation.data.loading.shared_memory import Parcel, pack, unpack
from foundation.store.catalog import Catalog
from foundation.store.storage import Store

if TYPE_CHECKING:
    from foundation.data.loading.loader import Loader, SamplerPlan, StepBatch
    from foundation.data.steps.step_plan import StepPlan

ENDLESS = 1 << 62
STEPS_TOGETHER = 4


class Steps(Dataset):
    """The steps of a loader, made in the process that asks for one.

    Args:
        url: of the store.
        settings: the arguments of the loader.
        plan: the plan that is gone through.
        run: steps made together, one after another.
    """

    def __init__(self, url: str, settings: dict[str, Any], plan: StepPlan | SamplerPlan, run: int) -> None:
        self.url, self.settings, self.plan, self.run = url, settings, plan, run
        self._loader: Loader | None = None

    def __getitem__(self, steps: tuple[int, int]) -> Parcel:
        from foundation.data.loading.loader import Loader

        if self._loader is None:
            records = self.settings["records"]
            rest = {name: value for name, value in self.settings.items() if name != "records"}
            self._loader = Loader(Catalog(Store(self.url), records), **rest)
        made = [self._loader._load(self.plan, step) for step in range(*steps)]
        return pack([(batch.step, batch.views) for batch in made])


class Runs:
    """Pairs ``(first, last)`` of steps that follow each other."""

    def __init__(self, first: int, last: int | None, run: int) -> None:
        self.first, self.last, self.run = first, last, run

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for first in count(self.first, self.run):
            if self.last is not None and first >= self.last:
                return
            yield first, first + self.run if self.last is None else min(first + self.run, self.last)

    def __len__(self) -> int:
        return ENDLESS if self.last is None else -(-(self.last - self.first) // self.run)


def in_workers(loader: Loader, plan: StepPlan | SamplerPlan, first: int, last: int | None) -> Iterator[StepBatch]:
    """The steps ``first`` to ``last - 1``, in order, made by ``loader.workers`` processes.

    Raises:
        ConfigError: if the store is in the memory of this process.
        FoundationError: if a worker dies.
    """
    if loader.catalog.store.url.startswith("memory:"):
        raise ConfigError(
            f"workers is {loader.workers}: a store at {loader.catalog.store.name!r} is seen by no other process"
        )
    from foundation.data.loading.loader import StepBatch

    shorten_sockets()
    together = getattr(loader.sampler, "steps_together", None)
    run = together(getattr(plan, "batch_size", 1)) if together else min(loader.prefetch, STEPS_TOGETHER)
    settings = {
        "records": loader.records, "sampler": loader.sampler, "batch_size": getattr(plan, "batch_size", 1),
        "rank": loader.rank, "world": loader.world, "workers": 0, "prefetch": 0, "cache_bytes": loader.cache_bytes,
        "packed": loader.packed, "bins_per_token": loader.bins_per_token,
    }  # fmt: skip
    made = DataLoader(
        Steps(loader.catalog.store.url, settings, plan, run),
        sampler=Runs(first, last, run),
        batch_size=None,
        num_workers=loader.workers,
        prefetch_factor=-(-loader.prefetch // run),
        multiprocessing_context="forkserver",
    )
    try:
        for parcel in made:
            for step, views in unpack(parcel):
                yield StepBatch(step, views)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise FoundationError(
            f"a worker of the loader died ({error}): if it was killed for memory, lower cache_bytes "
            f"({loader.cache_bytes}, for each of {loader.workers} workers) or workers"
        ) from error
