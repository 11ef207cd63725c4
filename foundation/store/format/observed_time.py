"""Observed time in commit records: so that windows are drawn from a catalog without opening a recording."""

from __future__ import annotations

import numpy as np

from foundation.store.interval import Interval

LISTED = 64


def listed(domain: Interval) -> list[list[float]] | None:
    """Observed time as a commit record holds it: start and end of intervals that do not touch; None above 64 of them.

    Example:
        >>> listed(Interval([0.0, 5.0], [5.0, 9.5]))
        [[0.0, 9.5]]
    """
    observed = domain.union()
    return np.stack([observed.start, observed.end], axis=1).tolist() if len(observed) <= LISTED else None
