"""Shapes of the windows of a step, before any is read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from foundation.data.batch import WindowBatch
from foundation.data.buckets import buckets
from foundation.data.steps.data_settings import DataSettings
from foundation.data.steps.step_outline import deal, fitted
from foundation.data.steps.step_plan import StepPlan
from foundation.data.steps.views import ViewSpec

Part = tuple[int, int, int]  # number of windows, units and tokens, padding included


@dataclass(frozen=True)
class StepShape:
    """The windows of one step.

    Args:
        units_B: units of each window.
        tokens_BV: tokens of each view and candidate.
        seconds_BV: length of each in seconds.
    """

    units_B: np.ndarray
    tokens_BV: np.ndarray
    seconds_BV: np.ndarray

    def __len__(self) -> int:
        return len(self.units_B)

    def share(self, rank: int, world: int) -> StepShape:
        """Return one process's windows, of ``world`` processes, assigned as in training."""
        mine = deal(self.costs, world) == rank
        return StepShape(self.units_B[mine], self.tokens_BV[mine], self.seconds_BV[mine])

    def parts(self, view: int) -> list[Part]:
        """Return a view in the encoder's form: padded windows of similar size together (`WindowBatch.buckets`)."""
        n, t = int(self.units_B.max()), int(self.tokens_BV[:, view].max())
        batch = len(self)
        there = WindowBatch(
            x_BNT=torch.zeros((), dtype=torch.uint8).expand(batch, n, t),
            mask_BN=torch.arange(n) < torch.from_numpy(self.units_B)[:, None],
            mask_BT=torch.arange(t) < torch.from_numpy(self.tokens_BV[:, view].copy())[:, None],
            dt_B=torch.ones(batch),
            modality_B=torch.zeros(batch, dtype=torch.int64),
            start_B=torch.zeros(batch),
        )
        shapes = [tuple(part.windows.x_BNT.shape) for part in buckets(there)]
        return [(int(b), int(n), int(t)) for b, n, t in shapes]

    @property
    def costs(self) -> np.ndarray:
        """Return units x tokens of each window over all views, without padding."""
        return self.units_B * self.tokens_BV.sum(1)

    @property
    def neuron_tokens(self) -> int:
        """Return units x tokens over all windows and views, without padding."""
        return int(self.costs.sum())

    @property
    def rows(self) -> int:
        """Return units over all windows."""
        return int(self.units_B.sum())


def drawn(settings: DataSettings, spec: ViewSpec, *, units: int, bins_per_token: int, seed: int) -> StepShape:
    """Return a step of `StepPlan` filled to its budget, from recordings long enough for any view.

    Args:
        settings: budget and bin widths.
        spec: the views.
        units: units of each recording; of a window at most ``max_units``.
        bins_per_token: bins that make one token.
        seed: of the lengths.

    Example:
        >>> shape = drawn(DataSettings(tokens_per_step=8192), ViewSpec(2, 8, 32), units=40, bins_per_token=4, seed=0)
        >>> len(shape), 6000 < shape.neuron_tokens <= 8192
        (5, True)
    """
    rng = np.random.default_rng(seed)
    n_views, n_units = spec.views + spec.candidates, min(units, settings.max_units)
    most = settings.tokens_per_step // (n_units * n_views * spec.min_tokens) + 1
    tokens_BV = rng.integers(spec.min_tokens, spec.max_tokens + 1, (most, n_views))
    count = fitted(tokens_BV.sum(1) * n_units, settings.tokens_per_step, n_units * n_views * spec.max_tokens)
    widths_B = rng.choice(settings.bin_widths, most)[:count] * bins_per_token
    tokens_BV = tokens_BV[:count]
    return StepShape(np.full(count, n_units), tokens_BV, tokens_BV * widths_B[:, None])


def planned(plan: StepPlan, step: int) -> StepShape:
    """Return a training step of a store."""
    outline = plan.outline(step)
    token_B = np.array(plan.settings.bin_widths)[outline.width_M] * plan.bins_per_token
    units_B = plan.outline.units_R[outline.recording_M]
    return StepShape(units_B, outline.tokens_MV, outline.tokens_MV * token_B[:, None])


def slowest(shape: StepShape, world: int) -> tuple[int, float]:
    """Return the process with the most neuron-tokens, which all others wait for, and its excess over the mean."""
    each_R = np.bincount(deal(shape.costs, world), weights=shape.costs, minlength=world)
    return int(each_R.argmax()), float(each_R.max() / each_R.mean())
