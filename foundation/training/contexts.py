"""What a process's windows are in the whole of a run, step by step."""

from __future__ import annotations

import numpy as np
import torch
from torch import distributed

from foundation.data.context import StepContext
from foundation.data.plan import StepPlan
from foundation.data.surround import Surroundings
from foundation.progress import progress
from foundation.store.catalog import Catalog


class Contexts:
    """``contexts(step)`` is the `StepContext` of one process's share of a step.

    Args:
        catalog: the recordings.
        plan: what each step draws.
        steps: of the whole run.
        rank, world: which of how many processes this is.
    """

    def __init__(self, catalog: Catalog, plan: StepPlan, *, steps: int, rank: int = 0, world: int = 1) -> None:
        self.plan, self.steps, self.rank, self.world = plan, steps, rank, world
        surround = plan.spec.surround
        self.surroundings = None if surround is None else Surroundings(catalog.store, catalog.records, surround)
        self._last: StepContext | None = None

    def prepare(self) -> None:
        """Fit surrounding information that is not in the store yet; all processes call it, the first one works."""
        if self.surroundings is None:
            return
        if self.rank == 0:
            for name in progress(self.surroundings.missing(), "surrounding information", unit="recording"):
                self.surroundings.fit(name)
        if distributed.is_initialized():
            distributed.barrier()

    def __call__(self, step: int) -> StepContext:
        if self._last is None or self._last.step != step:  # read with the step's windows, asked for with the step
            self._last = self._made(step)
        return self._last

    def _made(self, step: int) -> StepContext:
        outline, numbers = self.plan.share(step, self.rank, self.world)
        surround_VBS = None
        if self.surroundings is not None:
            mine = self.plan.draw(step, outline, numbers)
            surround_VBS = torch.from_numpy(
                np.stack(
                    [
                        [self.surroundings(w.recording, v.start, v.n_bins * w.bin_width) for w, v in pairs]
                        for pairs in zip(*([(w, v) for v in w.views] for w in mine), strict=True)
                    ]
                )
            )
        return StepContext(
            item_B=torch.from_numpy(numbers),
            recording_B=torch.from_numpy(outline.recording_M[numbers]),
            seed=self.plan.seed,
            step=step,
            steps=self.steps,
            surround_VBS=surround_VBS,
            bins_per_token=self.plan.bins_per_token,
        )
