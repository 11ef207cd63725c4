"""The tasks, by name. A task finds what the store has labels for and hands it over as problems to be decoded."""

from __future__ import annotations

from collections.abc import Callable

from finetune.tasks.labels import behavior, events, sleep_state, unit_labels
from finetune.tasks.own_task import OwnTask, TimeTask, TrialTask, UnitTask
from finetune.tasks.task import Found, Sources

TASKS: dict[str, Callable[[Sources], Found]] = {
    "behavior": behavior.find,
    "cell_type": unit_labels.find_cell_types,
    "coordinates": unit_labels.find_coordinates,
    "events": events.find,
    "location": unit_labels.find_locations,
    "sleep_state": sleep_state.find,
}

__all__ = ["TASKS", "Found", "OwnTask", "Sources", "TimeTask", "TrialTask", "UnitTask"]
