"""Epochs over a finite list of windows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


class Epochs:
    """Positions of an endless sequence as (epoch, item) with every item once in an epoch.

    Args:
        size: items of an epoch.
        order: epoch -> ``(size,)`` the items in that epoch's order. The newest order is kept, 8 bytes per item.
    """

    def __init__(self, size: int, order: Callable[[int], np.ndarray]) -> None:
        self.size, self._order = size, order
        self._kept: tuple[int, np.ndarray] | None = None

    def items(self, first: int, last: int) -> list[tuple[int, np.ndarray]]:
        """Return the items at positions ``first`` to ``last - 1``, one entry per epoch."""
        parts = []
        while first < last:
            epoch, place = divmod(first, self.size)
            end = min(self.size, place + last - first)
            if self._kept is None or self._kept[0] != epoch:
                self._kept = (epoch, self._order(epoch))
            parts.append((epoch, self._kept[1][place:end]))
            first += end - place
        return parts
