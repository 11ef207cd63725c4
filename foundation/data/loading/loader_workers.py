"""Worker processes that read batches and hand them over in shared memory.

PyTorch's own `DataLoader` starts the processes, keeps their batches in order, hands tensors over in shared memory, and
notices when a process dies. Processes are started by a fork server: threads and an open store do not survive a fork
(zarr-python 171, anndata 2021). Each worker opens the store itself. The batches of a worker share one piece of shared
memory, because each piece costs both processes a file and a mapping.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import count
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from foundation.common.errors import ConfigError, FoundationError
from foundation.common.files.private_folder import shorten_sockets
from foundation.data.reading.reader import WindowReader
from foundation.data.steps.step import Plan, StepWindows
from foundation.store.catalog_row import CatalogRows
from foundation.store.storage import Store

ALIGNED = 64
ENDLESS = 1 << 62
STEPS_TOGETHER = 4


@dataclass(frozen=True)
class Share:
    """The share of a step that one process reads, and its form.

    Args:
        rank, world: the process's rank, and the number of processes.
        packed: concatenate units instead of padding.
        bins_per_token: time is padded to a multiple of this.
    """

    rank: int
    world: int
    packed: bool
    bins_per_token: int

    def read(self, reader: WindowReader, plan: Plan, step: int) -> tuple[StepWindows, list[Any]]:
        """Return the windows of a step, and a batch for each of their views."""
        windows = plan.windows(step, self.rank, self.world)
        read = reader.read_packed if self.packed else reader.read
        bins = windows.bins_per_token or self.bins_per_token
        return windows, [read(table, bins_per_token=bins) for table in windows.tables]


class Steps(Dataset):
    """The steps of a plan, read in the requesting process.

    Args:
        url: of the store.
        records: commit records of the plan's recordings.
        plan: the plan to read.
        share: of this process's group.
        cache_bytes: bytes of decoded activity that each worker holds.
    """

    def __init__(self, url: str, records: CatalogRows, plan: Plan, share: Share, cache_bytes: int) -> None:
        self.url, self.records, self.plan, self.share, self.cache_bytes = url, records, plan, share, cache_bytes
        self._reader: WindowReader | None = None

    def __getitem__(self, steps: tuple[int, int]) -> Parcel:
        if self._reader is None:
            self._reader = WindowReader(Store(self.url), self.records, self.cache_bytes)
        return pack([self.share.read(self._reader, self.plan, step) for step in range(*steps)])


class Runs:
    """Return pairs ``(first, last)`` of consecutive steps."""

    def __init__(self, first: int, last: int | None, run: int) -> None:
        self.first, self.last, self.run = first, last, run

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for first in count(self.first, self.run):
            if self.last is not None and first >= self.last:
                return
            yield first, first + self.run if self.last is None else min(first + self.run, self.last)

    def __len__(self) -> int:
        return ENDLESS if self.last is None else -(-(self.last - self.first) // self.run)


def in_workers(
    steps: Steps, first: int, last: int | None, *, workers: int, prefetch: int
) -> Iterator[tuple[StepWindows, list[Any]]]:
    """Read the steps ``first`` to ``last - 1``, in order, in ``workers`` processes.

    Args:
        steps: what to read.
        first, last: steps; endless if ``last`` is None.
        workers: number of processes.
        prefetch: steps that each worker reads ahead.

    Raises:
        ConfigError: if the store is in the memory of this process.
        FoundationError: if a worker dies.
    """
    if steps.url.startswith("memory:"):
        raise ConfigError(f"workers is {workers}: expected 0, as other processes cannot see the store {steps.url!r}")
    shorten_sockets()
    run = steps.plan.steps_together or min(prefetch, STEPS_TOGETHER)
    made = DataLoader(
        steps,
        sampler=Runs(first, last, run),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=-(-prefetch // run),
        multiprocessing_context="forkserver",
    )
    try:
        for parcel in made:
            yield from unpack(parcel)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise FoundationError(
            f"a worker of the loader died ({error}): if it was killed for memory, lower cache_bytes "
            f"({steps.cache_bytes}, for each of {workers} workers) or workers"
        ) from error


@dataclass(frozen=True)
class Parcel:
    """Steps with their tensors in one buffer.

    Args:
        buffer: uint8, all tensors one after another.
        steps: for each step its windows and its views; a view is its class, and for each field its place in the buffer,
            its type and shape, or None.
    """

    buffer: torch.Tensor
    steps: list[tuple[StepWindows, list[tuple[type, dict[str, Any]]]]]


def pack(steps: list[tuple[StepWindows, list[Any]]]) -> Parcel:
    """Pack steps and their batches into one piece of shared memory.

    Example:
        >>> from foundation.data import pad_windows
        >>> import numpy as np
        >>> batch = pad_windows([np.ones((2, 4))], bin_widths=[0.1], starts=[3.0], modalities=[0], bins_per_token=4)
        >>> [(_, views)] = unpack(pack([(None, [batch])]))
        >>> bool((views[0].x_BNT == batch.x_BNT).all()), float(views[0].start_B[0]), views[0].label_B
        (True, 3.0, None)
    """
    place, described, pieces = 0, [], []
    for windows, views in steps:
        layouts: list[tuple[type, dict[str, Any]]] = []
        for view in views:
            layout: dict[str, Any] = {}
            for f in fields(view):
                tensor = getattr(view, f.name)
                layout[f.name] = None
                if tensor is not None:
                    layout[f.name] = (place, tensor.dtype, tuple(tensor.shape))
                    pieces.append((place, tensor))
                    place += -(-tensor.numel() * tensor.element_size() // ALIGNED) * ALIGNED
            layouts.append((type(view), layout))
        described.append((windows, layouts))
    # Created in shared memory, as PyTorch's own collation does in workers, to avoid a copy.
    storage = torch.UntypedStorage._new_shared(place)
    buffer = torch.empty(0, dtype=torch.uint8).set_(storage)
    for at, tensor in pieces:
        raw = tensor.contiguous().reshape(-1).view(torch.uint8)
        buffer[at : at + len(raw)] = raw
    return Parcel(buffer, described)


def unpack(parcel: Parcel) -> list[tuple[StepWindows, list[Any]]]:
    """Return the steps of `pack`; their tensors share its memory."""

    def tensor(place: int, dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
        size = dtype.itemsize * int(torch.Size(shape).numel())
        return parcel.buffer[place : place + size].view(dtype).view(shape)

    def view(kind: type, layout: dict[str, Any]) -> Any:
        return kind(**{name: None if at is None else tensor(*at) for name, at in layout.items()})

    return [(windows, [view(*layout) for layout in layouts]) for windows, layouts in parcel.steps]
