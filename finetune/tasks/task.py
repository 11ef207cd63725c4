"""What tasks are given, and what they give back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from finetune.finetune_settings import WindowSettings
from finetune.result import LeftOut
from finetune.tasks.problems.decoding_task import Problem
from foundation.data.reading.reader import ReaderCache
from foundation.store import Catalog, StoredRecording

Attempt = tuple[Problem | None, str]


@dataclass(frozen=True)
class Sources:
    """The store, and how to read it.

    Args:
        catalog: the recordings.
        readers: opens a recording's activity by id.
        windows: lengths of windows and tokens.
        unit_bins, population_bins: bins that make one token of the model's units, and of its population over time.
        folds, seed: of the evaluation.
    """

    catalog: Catalog
    readers: ReaderCache
    windows: WindowSettings
    unit_bins: int
    population_bins: int
    folds: int
    seed: int

    def labelled(self, label: str) -> list[StoredRecording]:
        """Recordings whose catalog row names a label."""
        return [r for r in self.catalog if label in r.record.labels]


@dataclass
class Found:
    """Problems of one task, and why other recordings with its labels are not among them.

    Args:
        problems: to be decoded.
        skipped: recordings that do not have enough of a label, with the reason.
        failed: recordings whose labels could not be read.
    """

    problems: list[Problem] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[LeftOut] = field(default_factory=list)

    def add(self, task: str, recording: StoredRecording, label: str, attempt: Callable[[], Attempt]) -> None:
        """Add what ``attempt`` makes of a label of one recording; an error there leaves the others as they are."""
        try:
            problem, reason = attempt()
        except Exception as error:
            self.failed.append(LeftOut.failure(task, f"{label} of {recording.record.path}", error))
            return
        if problem is None:
            self.skipped.append(f"{recording.record.path} is left out of {label}: {reason}")
        else:
            self.problems.append(problem)


def recording_name(recording: StoredRecording) -> str:
    """A short name of a recording that a folder can have.

    Example:
        >>> from foundation.store import CatalogRow
        >>> class R: record = CatalogRow("f00d", subject="lab/mouse 1", session="a")
        >>> recording_name(R())
        'lab-mouse-1-a'
    """
    record = recording.record
    text = f"{record.subject}-{record.session}" if record.session else str(record.subject)
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:60] or record.id


def target_names(recordings: list[StoredRecording]) -> list[str]:
    """Return a name for each recording, with its id where two share one."""
    names = [recording_name(r) for r in recordings]
    shared = Counter(names)
    return [f"{n}-{r.id[:6]}" if shared[n] > 1 else n for n, r in zip(names, recordings, strict=True)]
