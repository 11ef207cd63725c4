"""What a process's windows are in the whole of a run, step by step."""

from __future__ import annotations

import numpy as np
import torch

from foundation.common.progress import progress
from foundation.data.covariates import Surroundings
from foundation.data.steps.step_context import StepContext
from foundation.data.steps.step_plan import StepPlan
from foundation.store.catalog import Catalog
from foundation.training.distributed.parallel_work import do_own_part
from foundation.training.distributed.process_messages import Control


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

    def prepare(self, control: Control | None = None) -> None:
        """Fit surrounding information that is not in the store yet; all processes call it, and each fits its share.

        Args:
            control: to the other processes; without it this one fits all.

        Raises:
            FoundationError: if it cannot be fitted, in this process or in another one.
        """
        if self.surroundings is None:
            return
        if control is None or control.world == 1:
            self._fit(self.surroundings.missing())
            return
        missing = control.of_first(self.surroundings.missing() if control.rank == 0 else None)
        share = missing[control.rank :: control.world]
        do_own_part(lambda: self._fit(share), control)

    def _fit(self, names: list[str]) -> None:
        assert self.surroundings is not None
        shown = progress(names, "surrounding information", unit="recording") if self.rank == 0 else names
        for name in shown:
            self.surroundings.fit(name)

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
