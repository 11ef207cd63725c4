"""Named counts of what reading a file changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from foundation.common.errors import SourceError

# Counters of losses and corrections; `strict` refuses a recording with any of them.
LOSSES = frozenset(
    {
        "column_values_dropped",
        "conversions_impossible",
        "intervals_dropped",
        "layouts_unknown",
        "obs_intervals_dropped",
        "parts_left_out",
        "rates_impossible",
        "resolution_ignored",
        "rois_unnamed",
        "other_times_suspicious",
        "samples_dropped",
        "series_sorted",
        "series_unfinished",
        "spikes_dropped_nan",
        "spikes_dropped_out_of_range",
        "spike_times_suspicious",
        "spikes_dropped_without_unit",
        "table_ids_numbered",
        "table_rows_cut",
        "texts_filled_in",
        "texts_not_utf8",
        "units_sorted",
        "units_tables_left_out",
        "values_not_finite",
    }
)


def refuse_losses(found: Mapping[str, float]) -> None:
    """Raise if reading lost or corrected anything.

    Args:
        found: counter name -> number, as `Quality.found` returns it.

    Raises:
        SourceError: naming each counter of `LOSSES` that is not 0.

    Example:
        >>> refuse_losses({"regions_unknown": 2.0})
        >>> refuse_losses({"samples_dropped": 3.0})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        foundation.common.errors.SourceError: samples_dropped is 3: expected 0 with strict; ...
    """
    lost = [f"{name} is {number:g}" for name, number in sorted(found.items()) if name in LOSSES and number]
    if lost:
        raise SourceError(f"{', '.join(lost)}: expected 0 with strict; without strict this is corrected")


class Quality(defaultdict[str, float]):
    """Counters by name, 0 by default.

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
        """Return the non-zero counters, sorted by name."""
        return {name: float(number) for name, number in sorted(self.items()) if number}
