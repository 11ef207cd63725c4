"""Tasks by what settings call them: a shipped name, a YAML file, or a class."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from finetune.task_settings import TASK_NAMES, read_task
from finetune.tasks import TASKS
from finetune.tasks.own_task import OwnTask
from finetune.tasks.task import Found, Sources
from finetune.tasks.yaml_task import yaml_task
from foundation.common.errors import ConfigError

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
    place, _, kind = name.rpartition(":")
    made: Any = getattr(_module(place, name), kind, None)
    if made is None:
        raise ConfigError(f"tasks has {name!r}: {place} has no {kind!r}")
    if not (isinstance(made, type) and issubclass(made, OwnTask)):
        raise ConfigError(
            f"tasks has {name!r}: expected a subclass of UnitTask, TimeTask or TrialTask of finetune.tasks"
        )
    try:
        task: OwnTask = made()
    except TypeError as error:
        raise ConfigError(f"tasks has {name!r}, which cannot be made: {error}") from error
    try:
        task.check()
    except ConfigError as error:
        raise ConfigError(f"tasks has {name!r}: {error}") from error
    return task


def _module(place: str, name: str) -> Any:
    """A module by its dotted path, or by its file."""
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except ImportError as error:
            text = f"tasks has {name!r}, which cannot be imported: {error}; a file is named as path/to/file.py:Class"
            raise ConfigError(text) from error
    path = Path(place).resolve()
    if not path.is_file():
        raise ConfigError(f"tasks has {name!r}: there is no file {place!r}")
    known = f"foundation_task_{path.stem}"
    spec = importlib.util.spec_from_file_location(known, path)
    assert spec is not None  # a .py file has one
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[known] = module  # where inspect finds the source of its classes
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"tasks has {name!r}, which fails: {type(error).__name__}: {error}") from error
    return module
