"""What a training step costs on hardware that need not be there: `foundation plan`."""

from typing import TYPE_CHECKING

from foundation.lazy import lazy_attributes

if TYPE_CHECKING:
    from foundation.scaling.hardware import Hardware, load_hardware
    from foundation.scaling.plan import Plan
    from foundation.scaling.plan_settings import ArchiveSettings, PlanSettings
    from foundation.scaling.step import StepCost, StepSeconds, step_cost, step_seconds

__all__ = [
    "ArchiveSettings",
    "Hardware",
    "Plan",
    "PlanSettings",
    "StepCost",
    "StepSeconds",
    "load_hardware",
    "step_cost",
    "step_seconds",
]
__getattr__ = lazy_attributes(
    __name__,
    {
        "foundation.scaling.hardware": ["Hardware", "load_hardware"],
        "foundation.scaling.plan": ["Plan"],
        "foundation.scaling.plan_settings": ["ArchiveSettings", "PlanSettings"],
        "foundation.scaling.step": ["StepCost", "StepSeconds", "step_cost", "step_seconds"],
    },
)
