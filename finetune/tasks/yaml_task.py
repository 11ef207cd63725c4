"""Tasks that a YAML file describes, made of the classes that a lab's own task would be of."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from finetune.task_settings import TaskSettings
from finetune.tasks.labels.events import events_at
from finetune.tasks.labels.sleep_state import states_at
from finetune.tasks.labels.time_series import angle_at, value_at
from finetune.tasks.own_task import OwnTask, TimeTask, TrialTask, UnitTask
from foundation.common.digests import json_digest
from foundation.store import Interval, StoredRecording


def yaml_task(settings: TaskSettings) -> OwnTask:
    """Return the task that settings describe.

    Example:
        >>> yaml_task(TaskSettings("layer", "units.layer", "classes")).heading
        'Layer'
    """
    table = settings.label.split(".")[0] if "." in settings.label else ""
    kind: type[_Units | _Trials | _States | _Series] = _Series
    if table:
        kind = _Units if table == "units" else _Trials if settings.per == "interval" else _States
    return kind(settings)


class _Described:
    """A task that settings describe."""

    def __init__(self, settings: TaskSettings) -> None:
        self.settings, self.name, self.title = settings, settings.task, settings.title
        self.token, self.circular = settings.token, settings.kind == "circular"
        self.table, _, self.column = settings.label.rpartition(".")

    @property
    def defined_by(self) -> str:
        """Digest of the settings, but for the title."""
        return json_digest({**asdict(self.settings), "title": ""})


class _Units(_Described, UnitTask):
    def __init__(self, settings: TaskSettings) -> None:
        super().__init__(settings)
        self.value_names = (self.column, *settings.columns)  # type: ignore[misc]

    def labels(self, recording: StoredRecording) -> np.ndarray | None:
        if self.column not in recording.units:
            return None
        if self.settings.kind == "classes":
            return recording.units.text(self.column)
        missing = [name for name in self.settings.columns if name not in recording.units]
        if missing:
            return None
        columns = [np.asarray(recording.units[name], dtype=np.float64) for name in self.value_names]
        return np.stack(columns, axis=1)


class _Trials(_Described, TrialTask):
    def trials(self, recording: StoredRecording) -> tuple[Interval, np.ndarray] | None:
        table = recording.intervals.get(self.table)
        if table is None or self.column not in table.columns:
            return None
        return table, class_texts(table.columns[self.column])


class _States(_Described, TimeTask):
    def at(self, recording: StoredRecording, time_T: np.ndarray) -> np.ndarray | None:
        table = recording.intervals.get(self.table)
        if table is None or self.column not in table.columns:
            return None
        named = Interval(table.start, table.end, {"state": class_texts(table.columns[self.column])})
        return states_at(named, time_T)


class _Series(_Described, TimeTask):
    def __init__(self, settings: TaskSettings) -> None:
        super().__init__(settings)
        if settings.kind != "circular":
            self.value_names = ()  # type: ignore[misc]

    def at(self, recording: StoredRecording, time_T: np.ndarray) -> np.ndarray | None:
        series = recording.behavior.get(self.settings.label)
        if series is None:
            return None
        if self.settings.kind == "events":
            return events_at(series, time_T, self.token or 0.1)
        return angle_at(series, time_T) if self.circular else value_at(series, time_T)


def class_texts(values: np.ndarray) -> np.ndarray:
    """Return a column as texts, each a class: numbers that are whole without a point, NaN as ``''``.

    Example:
        >>> class_texts(np.array([1.0, np.nan, 0.5])).tolist(), class_texts(np.array(["a", ""])).tolist()
        (['1', '', '0.5'], ['a', ''])
    """
    if values.dtype.kind in "fiub":
        return np.array(["" if np.isnan(value) else f"{value:g}" for value in values.astype(float).tolist()])
    return values.astype(str)
