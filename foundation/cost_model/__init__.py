"""The cost of a training step on hardware that need not be available: `foundation plan`."""

from typing import TYPE_CHECKING

from foundation.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from foundation.cost_model.cost_plan import Plan
    from foundation.cost_model.cost_settings import ArchiveSettings, PlanSettings
    from foundation.cost_model.hardware import Hardware, load_hardware
    from foundation.cost_model.step_cost import StepCost, StepSeconds, step_cost, step_seconds

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
        "foundation.cost_model.hardware": ["Hardware", "load_hardware"],
        "foundation.cost_model.cost_plan": ["Plan"],
        "foundation.cost_model.cost_settings": ["ArchiveSettings", "PlanSettings"],
        "foundation.cost_model.step_cost": ["StepCost", "StepSeconds", "step_cost", "step_seconds"],
    },
)
