"""The tasks, by name. A task finds what the store has labels for and hands it over as problems to be decoded."""

from __future__ import annotations

from collections.abc import Callable

from finetune.tasks import behavior, sleep_state, unit_labels
from finetune.tasks.task import Found, Sources

TASKS: dict[str, Callable[[Sources], Found]] = {
    "behavior": behavior.find,
    "cell_type": unit_labels.find_cell_types,
    "location": unit_labels.find_locations,
    "sleep_state": sleep_state.find,
}

__all__ = ["TASKS", "Found", "Sources"]
