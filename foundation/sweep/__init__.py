"""Sweeps over size of model and amount of data, and the power law that fits what comes out."""

from foundation.sweep.campaign import sweep
from foundation.sweep.outcome import Outcome
from foundation.sweep.settings import SweepSettings

__all__ = ["Outcome", "SweepSettings", "sweep"]
