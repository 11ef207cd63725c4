"""Which checkpoints stay."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Saved:
    """What rotation must know of a checkpoint.

    Args:
        name: of its folder.
        step: steps done.
        time: seconds since 1970 when it was saved.
        metric: the value of the metric by which the best is kept; NaN where there is none.
    """

    name: str
    step: int
    time: float
    metric: float = math.nan


def to_keep(saved: list[Saved], *, newest: int, hours: float = 0.0, highest: bool = False) -> set[str]:
    """Names of the checkpoints to keep.

    Args:
        saved: all there are, in any order.
        newest: so many of the newest are kept.
        hours: and one for each so many hours, counted from the oldest; 0: none.
        highest: the best metric is the highest, not the lowest; where any has one, the best is kept.

    Example:
        >>> saved = [Saved(f"s{k}", k, 3600.0 * k, metric=abs(k - 3.0)) for k in range(9)]
        >>> sorted(to_keep(saved, newest=2, hours=4.0))
        ['s0', 's3', 's4', 's7', 's8']
    """
    in_order = sorted(saved, key=lambda s: s.step)
    kept = {s.name for s in in_order[-newest:]}
    last = -math.inf
    for s in in_order:
        if hours and s.time - last >= hours * 3600:
            kept.add(s.name)
            last = s.time
    measured = [s for s in in_order if not math.isnan(s.metric)]
    if measured:
        kept.add((max if highest else min)(measured, key=lambda s: s.metric).name)
    return kept
