"""Tasks of a lab's own: a class says what the label of a unit, of a moment or of a trial is; the rest is done here."""

from __future__ import annotations

import hashlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import numpy as np

from finetune.task_settings import check_task_name
from finetune.tasks.labels import behavior, sleep_state, unit_labels
from finetune.tasks.task import Attempt, Found, Sources, target_names
from foundation.common.errors import ConfigError
from foundation.store import Interval, StoredRecording


class OwnTask(ABC):
    """A task: a target of prediction that is found in a store.

    A subclass of `UnitTask`, `TimeTask` or `TrialTask` gives a name and one method; it needs no other.

    Attributes:
        name: of the task, and of the folder of its results; small letters, digits and ``_``.
        title: for people.
    """

    name: str = ""
    title: str = ""

    def check(self) -> None:
        """Raise ConfigError if the task cannot be run."""
        check_task_name(self.name)

    @property
    def heading(self) -> str:
        """The title, or the name as words."""
        return self.title or self.name.replace("_", " ").capitalize()

    @property
    def defined_by(self) -> str:
        """Digest of what defines the task: a result is made anew when it changes."""
        try:
            text = inspect.getsource(type(self))
        except (OSError, TypeError):
            text = type(self).__qualname__
        return hashlib.sha256(text.encode()).hexdigest()

    @abstractmethod
    def find(self, sources: Sources) -> Found:
        """Return what a store has of the task."""

    def found(self, sources: Sources) -> Found:
        """Return what a store has of the task, marked with what defines it."""
        found = self.find(sources)
        for problem in found.problems:
            problem.labels.defined_by = self.defined_by
        return found

    def _each(self, sources: Sources, attempt_of: Callable[[Sources, StoredRecording, str], Attempt]) -> Found:
        """One target for each recording that the task has a label for."""
        found = Found()
        recordings = list(sources.catalog)
        for recording, name in zip(recordings, target_names(recordings), strict=True):
            found.add(self.name, recording, self.name, partial(attempt_of, sources, recording, name))
        found.skipped = [line for line in found.skipped if not line.endswith(NO_LABEL)]
        return found


NO_LABEL = "it has no such label"


class UnitTask(OwnTask):
    """Predict something of each unit, over all recordings, as cell type and location are.

    Attributes:
        value_names: names of the numbers, where labels are numbers.

    Example:
        >>> class Fast(UnitTask):
        ...     name, title = "fast", "Units above 5 Hz"
        ...     def labels(self, recording):
        ...         return np.where(recording.units["qc_rate"] > 5, "fast", "slow")
        >>> Fast().heading
        'Units above 5 Hz'
    """

    value_names: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def labels(self, recording: StoredRecording) -> np.ndarray | None:
        """Return the label of each unit of a recording.

        Returns:
            ``(N,)`` texts, ``''`` without one; or ``(N,)`` or ``(N, K)`` numbers, NaN without one; None
            if the recording has no such labels.
        """

    def find(self, sources: Sources) -> Found:
        """Return one target with the labelled units of all recordings."""
        labels = {}
        for recording in sources.catalog:
            values = self.labels(recording)
            if values is not None:
                labels[recording.id] = np.asarray(values)
        kinds = {values.dtype.kind in "fiub" for values in labels.values()}
        if len(kinds) > 1:
            raise ConfigError(f"{self.name} gives texts for some recordings and numbers for others: expected one kind")
        recordings = [recording for recording in sources.catalog if recording.id in labels]
        if kinds == {True}:
            return unit_labels.units_with_values(
                sources, self.name, self.heading, recordings, lambda r: labels[r.id], self.value_names
            )
        return unit_labels.units_with_text(
            sources, self.name, self.heading, recordings, lambda r: labels[r.id].astype(str)
        )


class TimeTask(OwnTask):
    """Predict something of each moment from a recording's whole population, as velocity and sleep state are.

    Attributes:
        token: seconds of a time bin; None takes that of behaviour.
        circular: whether numbers are an angle in radians: its cosine and sine are predicted, and scored in degrees too.
        value_names: names of the numbers with their unit of measure.
    """

    token: float | None = None
    circular: bool = False
    value_names: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def at(self, recording: StoredRecording, time_T: np.ndarray) -> np.ndarray | None:
        """Return the label at each time.

        Args:
            recording: one of the store.
            time_T: ``(T,)`` seconds, the middles of time bins of ``token`` seconds.

        Returns:
            ``(T,)`` texts, ``''`` without one; or ``(T,)`` or ``(T, K)`` numbers, NaN without one; None
            if the recording has no such label.
        """

    def find(self, sources: Sources) -> Found:
        """Return a target for each recording: populations differ."""
        return self._each(sources, self._attempt)

    def _attempt(self, sources: Sources, recording: StoredRecording, name: str) -> Attempt:
        probe = self.at(
            recording, np.array([float(recording.domain.start[0])]) if len(recording.domain) else np.empty(0)
        )
        if probe is None:
            return None, NO_LABEL
        token = self.token or sources.windows.behavior_token

        def at(times: np.ndarray) -> np.ndarray:
            values = self.at(recording, times)
            assert values is not None  # it was there a moment ago
            return np.asarray(values)

        title = f"{self.heading}, {name}"
        if np.asarray(probe).dtype.kind not in "fiub":
            tokens = sources.windows.behavior_tokens
            return sleep_state.classes_over_time(
                sources, recording, at, task=self.name, target=name, title=title, token=token, tokens=tokens
            )
        return behavior.values_over_time(
            sources, recording, at, task=self.name, target=name, title=title, label=self.name, token=token,
            circular=self.circular, value_names=self.value_names,
        )  # fmt: skip


class TrialTask(OwnTask):
    """Predict one class for each trial from the population in its first time bins, as reach direction is."""

    token: float | None = None

    @abstractmethod
    def trials(self, recording: StoredRecording) -> tuple[Interval, np.ndarray] | None:
        """Return trials and the text of each, ``''`` without one; None if the recording has no trials."""

    def find(self, sources: Sources) -> Found:
        """Return a target for each recording: populations differ."""
        return self._each(sources, self._attempt)

    def _attempt(self, sources: Sources, recording: StoredRecording, name: str) -> Attempt:
        found = self.trials(recording)
        if found is None:
            return None, NO_LABEL
        trials, text = found
        classes = sorted(set(text.astype(str).tolist()) - {""})
        y_K = np.array([classes.index(t) if t else -1 for t in text.astype(str).tolist()])
        return behavior.classes_of_trials(
            sources, recording, trials, y_K, classes, task=self.name, target=name, title=f"{self.heading}, {name}",
            label=self.name, token=self.token or sources.windows.behavior_token,
        )  # fmt: skip
