"""The tasks, by name. A task finds what the store has labels for and hands it over as problems to be decoded."""

from __future__ import annotations

from collections.abc import Callable

from finetune.tasks import behavior, cell_type, location, sleep_state
from finetune.tasks.task import Found, Sources

TASKS: dict[str, Callable[[Sources], Found]] = {
    "behavior": behavior.find,
    "cell_type": cell_type.find,
    "location": location.find,
    "sleep_state": sleep_state.find,
}

__all__ = ["TASKS", "Found", "Sources"]
