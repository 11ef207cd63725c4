"""Embeddings of the global batch as rows: one per unit, or one per window."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import distributed as dist
from torch import nn

from foundation.data.batch import WindowBatch
from foundation.data.buckets import Bucket, buckets
from foundation.data.steps.step import StepContext
from foundation.models.batch_norm import several_processes
from foundation.objectives.parts.gather import gather_rows


class TooFewRowsError(ValueError):
    """Raised if the global batch of a step holds too little to compare; all processes raise it together."""


def parts_for_all(view: WindowBatch) -> tuple[list[Bucket], int]:
    """Return parts of similar size of a batch, and the extra model runs that make the number equal on all processes.

    Under ZeRO-3 every run of a model gathers its weights from all processes, and a batch norm over the global batch
    gathers its statistics: processes with different numbers of runs would wait for each other endlessly.
    """
    parts = buckets(view)
    if not several_processes():
        return parts, 0
    most = torch.tensor([len(parts)], device=view.x_BNT.device)
    dist.all_reduce(most, op=dist.ReduceOp.MAX)
    return parts, int(most) - len(parts)


def unit_embeddings(model: nn.Module, view: WindowBatch) -> torch.Tensor:
    """Return ``(B, N, D)`` embeddings of a batch's units, computed in parts of similar size; 0 where padded."""
    parts, idle = parts_for_all(replace(view, population_row_BN=None))
    z_parts = [(part.rows_B, model(**part.model_inputs()).z_BND) for part in parts]
    batch, n_units = view.mask_BN.shape
    z_BND = z_parts[0][1].new_zeros(batch, n_units, z_parts[0][1].shape[-1])
    for rows, z in z_parts:
        z_BND[rows, : z.shape[1]] = z
    for _ in range(idle):
        z_BND = z_BND + 0.0 * model(**parts[-1].first().model_inputs()).z_BND.sum()
    return z_BND


def population_embeddings(model: nn.Module, view: WindowBatch) -> torch.Tensor:
    """Return ``(B, D)`` embeddings of a batch's populations: the mean over valid tokens."""
    y_BD: torch.Tensor | None = None
    parts, idle = parts_for_all(view)
    alone = {} if view.population_row_BN is None else {"units": False}
    for part in parts:
        p_BTD = model(**part.model_inputs(), **alone).p_BTD
        tokens_BT = part.windows.mask_BT.unflatten(1, (p_BTD.shape[1], -1)).all(-1)
        mean_BD = (p_BTD * tokens_BT[..., None]).sum(1) / tokens_BT.sum(1).clamp(min=1)[:, None]
        if y_BD is None:
            y_BD = mean_BD.new_zeros(len(view), mean_BD.shape[-1])
        y_BD[part.rows_B] = mean_BD
    assert y_BD is not None
    for _ in range(idle):
        y_BD = y_BD + 0.0 * model(**parts[-1].first().model_inputs(), **alone).p_BTD.sum()
    return y_BD


@dataclass(frozen=True)
class Rows:
    """M rows of the global batch.

    Args:
        z_VMD: embeddings of each of V views, with gradients.
        item_M: number of each row's window in the global batch.
        counted_BN: which units of this process's windows have a row; None for populations.
    """

    z_VMD: list[torch.Tensor]
    item_M: torch.Tensor
    counted_BN: torch.Tensor | None

    def of_windows(self, value_B: torch.Tensor) -> torch.Tensor:
        """Gather a tensor of this process's windows ``(B, ...)`` for the rows of all processes ``(M, ...)``."""
        if self.counted_BN is None:
            return gather_rows(value_B)
        return gather_rows(value_B[self.counted_BN.nonzero(as_tuple=True)[0]])

    def of_units(self, value_BN: torch.Tensor) -> torch.Tensor:
        """Gather a tensor of units ``(B, N)`` for the rows of all processes ``(M,)``."""
        assert self.counted_BN is not None
        return gather_rows(value_BN[self.counted_BN])


def counted_units(views: list[WindowBatch], min_events: float) -> torch.Tensor:
    """Return ``(B, N)`` units that are valid in all views and have at least this much activity in each."""
    counted_BN = views[0].mask_BN.clone()
    for view in views:
        counted_BN &= view.mask_BN & (view.x_BNT.abs().sum(-1) >= min_events)
    return counted_BN


def embed_rows(
    model: nn.Module,
    views: list[WindowBatch],
    context: StepContext,
    level: str,
    counted_BN: torch.Tensor | None = None,
) -> Rows:
    """Return the rows of all processes for views of the same windows.

    Args:
        model: returns ``z_BND`` or ``p_BTD``.
        views: batches that show the same units row by row.
        context: position of the windows in the run.
        level: ``units`` or ``population``.
        counted_BN: the units that get a row (see `counted_units`); for the level ``units`` only.
    """
    if level == "units":
        assert counted_BN is not None
        z_VMD = [gather_rows(unit_embeddings(model, view)[counted_BN]) for view in views]
    else:
        counted_BN = None
        z_VMD = [gather_rows(population_embeddings(model, view)) for view in views]
    rows = Rows(z_VMD, context.item_B, counted_BN)
    return Rows(z_VMD, rows.of_windows(context.item_B), counted_BN)


def check_rows(count: int, level: str) -> None:
    """Raise unless a step has rows to compare.

    Raises:
        TooFewRowsError: if there are fewer than two rows.
    """
    if count < 2:
        what = "units were active in both segments" if level == "units" else "windows are in the global batch"
        raise TooFewRowsError(f"only {count} {what} of a step: raise tokens_per_step, or lower min_events")
