"""Cell type and brain region of units, gathered over all recordings that have them."""

from __future__ import annotations

from collections import Counter

import numpy as np

from finetune.tasks.decoding_task import Labels
from finetune.tasks.task import Found, Sources
from finetune.tasks.unit_task import UnitProblem
from foundation.embedding.frozen_embeddings import spread_starts
from foundation.store import StoredRecording


def find_cell_types(sources: Sources) -> Found:
    """Return the task of predicting ``cell_type`` from a unit's activity."""
    return find_units(sources, "cell_type", "Cell type of units")


def find_locations(sources: Sources) -> Found:
    """Return the task of predicting ``location``, the brain region, from a unit's activity."""
    return find_units(sources, "location", "Brain region of units")


def find_units(sources: Sources, column: str, title: str) -> Found:
    """One problem over all units with text in a column of the units table.

    Left out, and said so: recordings whose resolution is coarser than a token or that hold no window, activity of
    another kind than most, and classes that are found in too few animals to be tested in one not seen (units, if the
    store has but one animal).
    """
    found, notes = Found(), list[str]()
    recordings = []
    for recording in sources.labelled(column):
        reason = _unfit(recording, sources)
        if reason:
            notes.append(f"{recording.record.path} is left out: {reason}")
        else:
            recordings.append(recording)
    recordings, dropped = _one_kind(recordings, column)
    notes += dropped
    text: list[str] = []
    recording_S: list[int] = []
    unit_S: list[int] = []
    for k, recording in enumerate(recordings):
        names = recording.units.text(column)
        for unit in np.flatnonzero(names != ""):
            text.append(str(names[unit]))
            recording_S.append(k)
            unit_S.append(int(unit))
    subjects = np.array([r.record.subject for r in recordings])
    kept, dropped = _testable(np.array(text), subjects[recording_S] if recording_S else subjects[:0], sources.folds)
    notes += dropped
    if len(kept) < 2:
        found.skipped = [*notes, f"{column}: fewer than two classes are left"] if text else notes
        return found
    keep = np.isin(text, kept)
    used, recording_K = np.unique(np.array(recording_S)[keep], return_inverse=True)
    labels = Labels(
        task=column,
        target="all",
        title=title,
        y_S=np.searchsorted(kept, np.array(text)[keep]),
        classes=tuple(kept),
        notes=notes,
    )
    windows = sources.windows
    problem = UnitProblem(
        labels,
        [recordings[k] for k in used],
        recording_K,
        np.array(unit_S)[keep],
        readers=sources.readers,
        bin_width=windows.unit_token / sources.bins_per_token,
        n_bins=windows.unit_tokens * sources.bins_per_token,
        windows=windows.unit_windows,
        seed=sources.seed,
        tokens=windows.unit_tokens,
    )
    found.problems.append(problem)
    return found


def _unfit(recording: StoredRecording, sources: Sources) -> str:
    windows = sources.windows
    if recording.resolution > windows.unit_token + 1e-9:
        return f"its resolution of {recording.resolution:g} s is coarser than a token of {windows.unit_token:g} s"
    seconds = windows.unit_token * windows.unit_tokens
    if not len(spread_starts(sources.readers(recording.id), seconds, 1, 0)):
        return f"no window of {seconds:g} s fits its observed time"
    return ""


def _one_kind(recordings: list[StoredRecording], column: str) -> tuple[list[StoredRecording], list[str]]:
    """Recordings of the kind (spikes, counts, values) that has most labelled units."""
    units: Counter[str] = Counter()
    for recording in recordings:
        units[recording.kind] += int((recording.units.text(column) != "").sum())
    if len(units) < 2:
        return recordings, []
    kind = units.most_common(1)[0][0]
    others = [r for r in recordings if r.kind != kind]
    return [r for r in recordings if r.kind == kind], [
        f"{r.record.path} is left out: it holds {r.kind}, and most labelled units have {kind}" for r in others
    ]


def _testable(text_S: np.ndarray, subject_S: np.ndarray, folds: int) -> tuple[list[str], list[str]]:
    """Classes that can be tested on units not seen, sorted, and what is left out."""
    several = len(set(subject_S.tolist())) > 1
    kept, notes = [], []
    for name in sorted(set(text_S.tolist())):
        units, animals = int((text_S == name).sum()), len(set(subject_S[text_S == name].tolist()))
        if several and animals < 2:
            notes.append(f"class {name!r} ({units} units) is left out: it is found in one animal only")
        elif not several and units < folds:
            notes.append(f"class {name!r} is left out: it has {units} units, fewer than the {folds} folds")
        else:
            kept.append(name)
    return kept, notes
