"""Titles of tasks for people."""

from __future__ import annotations

TASK_TITLES = {
    "behavior": "Behaviour",
    "cell_type": "Cell type",
    "coordinates": "Place of units",
    "events": "Events",
    "location": "Brain region",
    "sleep_state": "Sleep and wake",
}


def task_title(task: str) -> str:
    """Return the title of a task; one that is not shipped is called by its name.

    Example:
        >>> task_title("cell_type"), task_title("my_task")
        ('Cell type', 'My task')
    """
    return TASK_TITLES.get(task) or task.replace("_", " ").capitalize()
