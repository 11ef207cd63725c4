"""Simulated populations whose cell types, areas, states and movements are known, as NWB files."""

from typing import TYPE_CHECKING

from foundation.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from ingest.simulate.simulate_job import listing, simulate_izhikevich
    from ingest.simulate.simulate_settings import SimulateSettings

__all__ = [
    "SimulateSettings",
    "listing",
    "simulate_izhikevich",
]
__getattr__ = lazy_attributes(
    __name__,
    {
        "ingest.simulate.simulate_job": ["listing", "simulate_izhikevich"],
        "ingest.simulate.simulate_settings": ["SimulateSettings"],
    },
)
