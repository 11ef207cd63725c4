"""Tasks by what settings call them: a shipped name, a YAML file, or a class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from finetune.task_settings import TASK_NAMES, read_task
from finetune.tasks import TASKS
from finetune.tasks.own_task import OwnTask
from finetune.tasks.task import Found, Sources
from finetune.tasks.yaml_task import yaml_task
from foundation.common.errors import ConfigError
from foundation.common.extensions.named_classes import find_class, plain_failure

Finder = Callable[[Sources], Found]


def load_tasks(names: Sequence[str] | None) -> dict[str, Finder]:
    """Return what finds each task in a store, by the name of the task.

    Args:
        names: as settings have them; None: all shipped tasks.

    Raises:
        ConfigError: if a file or class cannot be loaded, or two tasks have one name.
    """
    found: dict[str, Finder] = {}
    for name in names or TASK_NAMES:
        if name in TASKS:
            task, finder = name, TASKS[name]
        else:
            own = own_task(name)
            task, finder = own.name, own.found
        if task in found:
            raise ConfigError(f"tasks has {name!r}, a second task called {task!r}: expected each once")
        found[task] = finder
    return found


def own_task(name: str) -> OwnTask:
    """Return a task of one's own.

    Raises:
        ConfigError: if it cannot be loaded, or is no task.
    """
    if name.endswith((".yaml", ".yml")):
        return yaml_task(read_task(name))
    made: Any = find_class("task", name, "tasks")
    with plain_failure(f"tasks is {name!r}, which cannot be made"):
        task: OwnTask = made()
    try:
        task.check()
    except ConfigError as error:
        raise ConfigError(f"tasks has {name!r}: {error}") from error
    return task
