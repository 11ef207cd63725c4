"""Rows of the population stream that a network makes from measured properties of each unit.

A unit's own row must be fitted. A made row is computed from the unit's identity: numbers that are measured once over
the recording's time (`foundation.embedding.unit_identity`) and kept beside the rows. All units share the network, so it
serves populations that pretraining never saw.
"""

from __future__ import annotations

import torch
from torch import nn

from foundation.models.parts.interval_tokens import INTERVALS, LAGS

AUTOCORRELATION, COUPLING, AXES = 5, 3, 5  # lags in tokens of 0.1 s; lags on either side; principal axes
# Log rate, log variability, shares of lengths of interval, shares of lags, autocorrelation, correlation with the other
# units' mean, sizes of loadings on principal axes.
IDENTITY = 2 + INTERVALS + len(LAGS) - 1 + AUTOCORRELATION + 2 * COUPLING + 1 + AXES
INNER = 128


class MadeRows(nn.Module):
    """A perceptron from the identities of units to their rows.

    Args:
        width: numbers of a row.

    Example:
        >>> MadeRows(9)(torch.zeros(2, 3, IDENTITY)).shape
        torch.Size([2, 3, 9])
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner, self.out = nn.Linear(IDENTITY, INNER), MadeOut(INNER, width)

    def forward(self, identity_BNF: torch.Tensor) -> torch.Tensor:
        """Map ``(B, N, F)`` identities to ``(B, N, X)`` rows."""
        rows_BNX: torch.Tensor = self.out(nn.functional.gelu(self.inner(identity_BNF)))
        return rows_BNX


class MadeOut(nn.Linear):
    """The last layer; initialised so small that made rows have the size of new rows."""
