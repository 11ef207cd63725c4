"""Observed time in commit records: so that windows are drawn from a catalog without opening a recording."""

from __future__ import annotations

from typing import Any

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


def from_record(record: dict[str, Any]) -> Interval | None:
    """Observed time as `listed` wrote it, bit for bit; None where the record does not have it.

    Example:
        >>> from_record({"observed": [[0.0, 9.5]]}).end.tolist()
        [9.5]
        >>> from_record({}) is None
        True
    """
    spans = record.get("observed")
    if spans is None:
        return None
    pairs_K2 = np.array(spans, dtype=np.float64).reshape(-1, 2)
    return Interval(pairs_K2[:, 0].copy(), pairs_K2[:, 1].copy())
