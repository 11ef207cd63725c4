"""Sweeps over size of model and amount of data, and the power law that fits what comes out."""

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
