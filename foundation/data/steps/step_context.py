"""What a process's windows are in the whole of the run: for draws, for telling recordings apart, for schedules."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from foundation.data.batch import WindowBatch
from foundation.data.keyed_random import Draws


@dataclass(frozen=True)
class StepContext:
    """Place of B windows in a step, and of the step in the run.

    Args:
        item_B: int64, the windows' numbers in the global batch.
        recording_B: int64, a number per recording.
        seed: of the run.
        step: from 0.
        steps: of the whole run; 0 where there is no end in sight.
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
        """Windows that are the whole batch, of one recording."""
        item_B = torch.arange(len(view), device=view.x_BNT.device)
        return cls(item_B, torch.zeros_like(item_B))

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0 at the first step and 1 at the last."""
        return min(self.step / max(self.steps - 1, 1), 1.0) if self.steps else 0.0

    def draws(self, purpose: str, number: int = 0) -> Draws:
        """Random numbers of these windows, for a named purpose."""
        return Draws.of(seed=self.seed, step=self.step, item_B=self.item_B).child(purpose, number)

    def to(self, device: torch.device | str) -> StepContext:
        """The same context on a device."""
        surround = None if self.surround_VBS is None else self.surround_VBS.to(device)
        return replace(
            self, item_B=self.item_B.to(device), recording_B=self.recording_B.to(device), surround_VBS=surround
        )
