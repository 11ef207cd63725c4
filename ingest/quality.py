"""What reading a file changed, as numbers with names."""

from __future__ import annotations

from collections import defaultdict


class Quality(defaultdict[str, float]):
    """Name -> number, 0 until something is added.

    Example:
        >>> quality = Quality()
        >>> quality["units_sorted"] += True
        >>> quality["spikes_dropped_nan"] += 0
        >>> quality.found()
        {'units_sorted': 1.0}
    """

    def __init__(self) -> None:
        super().__init__(float)

    def found(self) -> dict[str, float]:
        """The names whose number is not 0, sorted."""
        return {name: float(number) for name, number in sorted(self.items()) if number}
