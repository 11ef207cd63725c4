"""Titles of tasks."""

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
    """Return the title of a task; a task that is not shipped gets its name as title.

    Example:
        >>> task_title("cell_type"), task_title("my_task")
        ('Cell type', 'My task')
    """
    return TASK_TITLES.get(task) or task.replace("_", " ").capitalize()
