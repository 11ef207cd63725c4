"""Simulated populations whose cell types, areas, states and movements are known, as NWB files."""

from ingest.simulate.run import listing, simulate_izhikevich
from ingest.simulate.settings import SimulateSettings

__all__ = ["SimulateSettings", "listing", "simulate_izhikevich"]
