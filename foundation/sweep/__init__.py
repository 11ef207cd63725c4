"""Sweeps over model size and amount of data, and a power law fitted to the results."""

from typing import TYPE_CHECKING

from foundation.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from foundation.sweep.campaign import sweep
    from foundation.sweep.sweep_outcome import Outcome
    from foundation.sweep.sweep_settings import SweepSettings

__all__ = [
    "Outcome",
    "SweepSettings",
    "sweep",
]
__getattr__ = lazy_attributes(
    __name__,
    {
        "foundation.sweep.campaign": ["sweep"],
        "foundation.sweep.sweep_outcome": ["Outcome"],
        "foundation.sweep.sweep_settings": ["SweepSettings"],
    },
)
