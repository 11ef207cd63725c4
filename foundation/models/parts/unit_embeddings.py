"""Embeddings of known units, one table per session, so that a new session does not change earlier ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F


class UnitEmbedding(nn.Module):
    """Embeddings of known units. Each session has its own parameter, so that frozen embeddings stay equal bit for bit
    with any optimiser.

    Args:
        sizes: units per table.
        dim: features D.

    Example:
        >>> units = UnitEmbedding([2], dim=4)
        >>> units.add(1)
        >>> units(torch.tensor([[0, 2, -1]])).shape, [table.requires_grad for table in units.tables]
        (torch.Size([1, 3, 4]), [True, True])
    """

    def __init__(self, sizes: Sequence[int], dim: int) -> None:
        super().__init__()
        self.dim = dim
        for size in sizes:
            self.add(size)

    @property
    def tables(self) -> list[torch.Tensor]:
        """``(units, D)`` of each session."""
        return list(self.parameters())

    def add(self, size: int, like: torch.Tensor | None = None) -> None:
        """Add a table for ``size`` more units, initialised to zero: a new unit behaves like an unknown one."""
        zeros_ND = torch.zeros(size, self.dim)
        table_ND = nn.Parameter(zeros_ND if like is None else zeros_ND.to(like))
        self.register_parameter(f"table_{len(self._parameters)}", table_ND)

    def forward(self, unit_id_BN: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Map ``(B, N)`` ids to ``(B, N, D)``; 0 for -1. Without tables ``dtype`` is that of the zeros.

        Raises:
            ValueError: if there are no known units, or an id is out of range.
        """
        n_known = sum(len(table) for table in self.tables)
        if not torch.compiler.is_compiling() and int(unit_id_BN.max()) >= n_known:
            raise ValueError(f"unit_id_BN holds {int(unit_id_BN.max())}: this model knows {n_known} units (add_units)")
        if not n_known:
            return torch.zeros(*unit_id_BN.shape, self.dim, device=unit_id_BN.device, dtype=dtype)
        table_RD = torch.cat(self.tables)
        known = unit_id_BN >= 0
        return F.embedding(unit_id_BN.clamp(min=0), table_RD) * known[..., None]
