"""One process's share of a step: the windows, their place in the run, and the batch that is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch

from foundation.data.batch import WindowBatch
from foundation.data.covariate_settings import SurroundSettings
from foundation.data.keyed_random import Draws
from foundation.data.windows import NANOSECONDS, WindowTable
from foundation.store.catalog_row import CatalogRows


@dataclass(frozen=True)
class StepWindows:
    """The B windows of one process in a step, in V views.

    Args:
        step: number of the step, from 0.
        item_B: ``(B,)`` int64, the windows' numbers in the global batch.
        tables: V tables, one for each view.
        start_VB: ``(V, B)`` float64 seconds, before they are rounded to nanoseconds.
        seconds_VB: ``(V, B)`` float64, the length of each view.
        bins_per_token: time is padded to a multiple of this; 0: to a multiple of the loader's value.
    """

    step: int
    item_B: np.ndarray
    tables: list[WindowTable]
    start_VB: np.ndarray
    seconds_VB: np.ndarray
    bins_per_token: int = 0

    @classmethod
    def of(cls, step: int, item_B: np.ndarray, tables: list[WindowTable]) -> StepWindows:
        """Return windows whose times were drawn in whole nanoseconds."""
        start_VB = np.stack([table.start_B for table in tables]) / NANOSECONDS
        seconds_VB = np.stack([table.n_bins_B * table.width_B for table in tables]) / NANOSECONDS
        return cls(step, item_B, tables, start_VB, seconds_VB)

    @property
    def recordings(self) -> np.ndarray:
        """Return ``(B,)`` int64, the index of each window's recording in the plan's recordings."""
        return self.tables[0].recording_B

    def __len__(self) -> int:
        return len(self.item_B)


class Plan(Protocol):
    """The windows of every step, as a function of the step number alone.

    Attributes:
        recordings: ids of the recordings that tables refer to.
        seed: of all draws.
        bins_per_token: time is padded to a multiple of this, unless the loader has another value.
        surround: the surrounding information that a step's context holds, or None.
        steps_together: number of consecutive steps that one worker should read, as they use the same blocks; None: any.
    """

    @property
    def recordings(self) -> Sequence[str]: ...

    @property
    def seed(self) -> int: ...

    @property
    def bins_per_token(self) -> int: ...

    @property
    def surround(self) -> SurroundSettings | None: ...

    @property
    def steps_together(self) -> int | None: ...

    def check(self, records: CatalogRows, rank: int, world: int) -> None:
        """Raise if the plan does not fit its recordings or processes; warn about bins finer than time resolution.

        Raises:
            ConfigError: if ``world`` processes cannot share a step.
        """

    def windows(self, step: int, rank: int = 0, world: int = 1) -> StepWindows:
        """Draw one process's windows of a step, of ``world`` processes."""

    def epoch(self) -> tuple[Plan, int] | None:
        """Return a plan that ends with the first epoch, and its number of steps; None if there are no epochs."""


@dataclass(frozen=True)
class StepContext:
    """Place of B windows in a step, and of the step in the run: for draws, for pairs, for schedules.

    Args:
        item_B: int64, the windows' numbers in the global batch.
        recording_B: int64, a number per recording.
        seed: of the run.
        step: from 0.
        steps: of the whole run; 0 if unlimited.
        surround_VBS: surrounding information of each view's windows (V views), or None.
        bins_per_token: bins that make one token of the model.

    Example:
        >>> context = StepContext(torch.arange(2), torch.zeros(2, dtype=torch.int64), step=5, steps=11)
        >>> context.progress
        0.5
    """

    item_B: torch.Tensor
    recording_B: torch.Tensor
    seed: int = 0
    step: int = 0
    steps: int = 0
    surround_VBS: torch.Tensor | None = None
    bins_per_token: int = 1

    @classmethod
    def alone(cls, view: WindowBatch) -> StepContext:
        """Return the context of windows of one recording that form a whole batch."""
        item_B = torch.arange(len(view), device=view.x_BNT.device)
        return cls(item_B, torch.zeros_like(item_B))

    @property
    def progress(self) -> float:
        """Return the finished share of the run, 0 at the first step and 1 at the last."""
        return min(self.step / max(self.steps - 1, 1), 1.0) if self.steps else 0.0

    def draws(self, purpose: str, number: int = 0) -> Draws:
        """Return random numbers for these windows, for a named purpose."""
        return Draws.of(seed=self.seed, step=self.step, item_B=self.item_B).child(purpose, number)

    def to(self, device: torch.device | str) -> StepContext:
        """Return the context on a device."""
        surround = None if self.surround_VBS is None else self.surround_VBS.to(device)
        return replace(
            self, item_B=self.item_B.to(device), recording_B=self.recording_B.to(device), surround_VBS=surround
        )


@dataclass
class StepBatch:
    """One process's share of a step, with its data.

    Args:
        views: a `WindowBatch` (or `PackedBatch`) per view; ``batch.x_BNT`` and so on are those of the first view.
        windows: the windows of the batch.
        context: the place of the windows in the run.
    """

    views: list[Any]
    windows: StepWindows
    context: StepContext

    @property
    def step(self) -> int:
        """The step's number, from 0."""
        return self.windows.step

    def to(self, device: torch.device | str) -> StepBatch:
        """Return the batch on a device."""
        return replace(self, views=[view.to(device) for view in self.views], context=self.context.to(device))

    def pin_memory(self) -> StepBatch:
        """Return the batch in pinned memory, for asynchronous copies to a GPU."""
        return replace(self, views=[view.pin_memory() for view in self.views])

    def __getattr__(self, name: str) -> torch.Tensor:
        if name.startswith("_") or "views" not in self.__dict__:
            raise AttributeError(name)
        value: torch.Tensor = getattr(self.views[0], name)
        return value

    def __len__(self) -> int:
        return len(self.views[0])
