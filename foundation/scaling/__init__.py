"""What a training step costs on hardware that need not be there: `foundation plan`."""

from foundation.scaling.hardware import Hardware, load_hardware
from foundation.scaling.plan import Plan, PlanSettings, plan
from foundation.scaling.reading import ArchiveSettings
from foundation.scaling.step import StepCost, StepSeconds, step_cost, step_seconds
from foundation.scaling.table import table

__all__ = [
    "ArchiveSettings",
    "Hardware",
    "Plan",
    "PlanSettings",
    "StepCost",
    "StepSeconds",
    "load_hardware",
    "plan",
    "step_cost",
    "step_seconds",
    "table",
]
