"""A task of a lab's own, as a YAML file says it: which column or series is the label, and what kind of label it is."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import yaml

from foundation.common.errors import ConfigError
from foundation.common.extensions.named_classes import is_class_name
from foundation.common.settings.setting_limits import Limited, between, one_of

TASK_NAMES = ("behavior", "cell_type", "coordinates", "events", "location", "sleep_state")
UNIT_TASKS = ("cell_type", "coordinates", "location")
METRICS = {
    "classes": "balanced_accuracy",
    "events": "balanced_accuracy",
    "values": "r2",
    "circular": "r2",
}
NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
LABEL = re.compile(r"[^.\s]+(\.[^.\s]+)?")


@dataclass(frozen=True)
class TaskSettings(Limited):
    """What a YAML file says of a task.

    Args:
        task: name of the task, and of the folder of its results.
        label: what is predicted: ``units.<column>`` of the units table, ``<table>.<column>`` of a table of intervals
            (``trials.response``), or the name of a behaviour series (``pupil_area``), as `foundation catalog` lists
            them.
        kind: classes (texts, or numbers of which each is a class), values (numbers), circular (an angle over time) or
            events (marks in time: whether there is one in a time bin).
        metric: the metric of that kind: balanced_accuracy of classes and events, r2 of values and angles; null takes
            it. Angles have their error in degrees beside it.
        per: of a table of intervals: interval (one label for each, read from its first time bins) or time (the label
            of the interval that a time bin lies in).
        columns: more columns of the units table that are predicted together with the label, for example y and z.
        title: for people.
        token: seconds of a time bin; null takes that of the shipped tasks.

    Raises:
        ConfigError: if a value is impossible.

    Example:
        >>> TaskSettings("layer", "units.layer", "classes").metric
        'balanced_accuracy'
        >>> TaskSettings("pupil", "pupil_area", "values", metric="accuracy")
        Traceback (most recent call last):
        ...
        foundation.common.errors.ConfigError: metric is 'accuracy': expected r2, the metric of kind values
    """

    task: str
    label: str
    kind: Annotated[str, one_of(*METRICS)]
    metric: str | None = None
    per: Annotated[str, one_of("interval", "time")] = "interval"
    columns: list[str] = field(default_factory=list)
    title: str = ""
    token: Annotated[float | None, between(0.001, 3600, "seconds")] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_task_name(self.task)
        if not LABEL.fullmatch(self.label):
            raise ConfigError(
                f"label is {self.label!r}: expected units.<column>, <table>.<column> or the name of a behaviour series"
            )
        if self.metric is None:
            object.__setattr__(self, "metric", METRICS[self.kind])
        if self.metric != METRICS[self.kind]:
            raise ConfigError(
                f"metric is {self.metric!r}: expected {METRICS[self.kind]}, the metric of kind {self.kind}"
            )
        table = self.label.split(".")[0] if "." in self.label else ""
        if table and self.kind in ("circular", "events"):
            raise ConfigError(
                f"kind is {self.kind!r}: expected classes or values of a column; {self.label} is a column"
            )
        if table not in ("", "units") and self.kind != "classes":
            raise ConfigError(f"kind is {self.kind!r}: expected classes of a column of intervals, {self.label}")
        if not table and self.kind == "classes":
            raise ConfigError(f"kind is 'classes': expected values, circular or events of the series {self.label!r}")
        if self.columns and (table != "units" or self.kind != "values"):
            raise ConfigError("columns holds more columns: expected them with values of units.<column> only")


def check_task_name(name: str) -> None:
    """Raise ConfigError unless a name can be that of a task of one's own.

    Example:
        >>> check_task_name("layer")
        >>> check_task_name("location")
        Traceback (most recent call last):
        ...
        foundation.common.errors.ConfigError: task is 'location', which is a shipped one: expected another name
    """
    if name in TASK_NAMES:
        raise ConfigError(f"task is {name!r}, which is a shipped one: expected another name")
    if not NAME.fullmatch(name):
        raise ConfigError(f"task is {name!r}: expected small letters, digits and _, a letter first")


def is_own_task(name: str) -> bool:
    """Return whether a name means a task of one's own: a YAML file, or a class (see `named_classes`).

    Example:
        >>> [is_own_task(name) for name in ("layer.yaml", "mylab.tasks:Layer", "location")]
        [True, True, False]
    """
    return name.endswith((".yaml", ".yml")) or is_class_name("task", name)


def read_task(path: str) -> TaskSettings:
    """Return what a YAML file says of a task.

    Raises:
        ConfigError: if there is no such file, or it says something impossible.
    """
    from foundation.common.settings.command import parse_mapping

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"tasks has {path!r}, which cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"tasks has {path!r}, which is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds {content!r}: expected task, label and kind")
    try:
        settings: TaskSettings = parse_mapping(TaskSettings, content)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return settings
