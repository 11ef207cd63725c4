"""Rows of all processes in one tensor, with gradients, for losses over the global batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed as dist

from foundation.models.batch_norm import several_processes


class _GatherRows(torch.autograd.Function):
    """Gather rows of all processes, for a loss that every process computes, with averaged gradients.

    The gradient of a process's own rows is that from its own copy of the loss, times the number of processes; nothing
    needs to be sent back.
    """

    @staticmethod
    def forward(ctx: Any, rows_MD: torch.Tensor) -> torch.Tensor:
        world, rank = dist.get_world_size(), dist.get_rank()
        count = torch.tensor([len(rows_MD)], device=rows_MD.device)
        counts = [torch.zeros_like(count) for _ in range(world)]
        dist.all_gather(counts, count)
        sizes = [int(c) for c in counts]
        padded = rows_MD.new_zeros((max(sizes), *rows_MD.shape[1:]))
        padded[: len(rows_MD)] = rows_MD
        parts = [torch.empty_like(padded) for _ in range(world)]
        dist.all_gather(parts, padded)
        ctx.mine = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        ctx.world = world
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        return grads[0][ctx.mine] * ctx.world


def gather_rows(rows_MD: torch.Tensor) -> torch.Tensor:
    """Gather ``(M, D)`` rows of all processes in the order of ranks; M may differ between processes.

    Without a process group the rows are returned unchanged. The loss must be the same function of the gathered rows on
    every process, and gradients must be averaged over processes, as DeepSpeed and DDP do.

    Example:
        >>> gather_rows(torch.ones(2, 3)).shape
        torch.Size([2, 3])
    """
    if not several_processes():
        return rows_MD
    gathered: torch.Tensor = _GatherRows.apply(rows_MD.contiguous())
    return gathered
