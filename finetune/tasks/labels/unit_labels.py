"""Labels of units, gathered over all recordings that have them: cell type, brain region, coordinates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from finetune.tasks.labels.region_divisions import divisions_of
from finetune.tasks.problems.decoding_task import Labels
from finetune.tasks.problems.unit_task import UnitProblem
from finetune.tasks.task import Found, Sources
from foundation.embedding.frozen_embeddings import spread_starts
from foundation.store import StoredRecording

# Columns of the units table, those of electrodes among them, that say where a unit is.
COORDINATES = (("x", "y", "z"), ("ccf_ap", "ccf_dv", "ccf_lr"), ("ccf_x", "ccf_y", "ccf_z"), ("depth",))


def find_cell_types(sources: Sources) -> Found:
    """Return the task of predicting ``cell_type`` from a unit's activity."""
    return find_units(sources, "cell_type", "Cell type of units")


def find_locations(sources: Sources) -> Found:
    """Return the task of predicting ``location``, the brain region, from a unit's activity.

    Regions of the mouse's ontology are part of a division (`divisions_of`), and that is scored too.
    """
    found = find_units(sources, "location", "Brain region of units")
    for problem in found.problems:
        divisions = divisions_of(problem.labels.classes)
        if 2 <= len(set(divisions)) < len(divisions):
            problem.labels.parents = divisions
    return found


def find_coordinates(sources: Sources) -> Found:
    """Return the task of predicting where a unit is, by regression, for each set of coordinates that units have."""
    found = Found()
    for names in COORDINATES:
        recordings = [r for r in sources.catalog if all(name in r.units for name in names)]
        title, target = f"Place of units ({', '.join(names)})", "-".join(names)
        more = units_with_values(sources, "coordinates", title, recordings, partial(_columns, names), names, target)
        found.problems += more.problems
        found.skipped += more.skipped
    return found


def _columns(names: Sequence[str], recording: StoredRecording) -> np.ndarray:
    return np.stack([np.asarray(recording.units[name], dtype=np.float64) for name in names], axis=1)


def find_units(sources: Sources, column: str, title: str) -> Found:
    """One problem over all units with text in a column of the units table."""
    return units_with_text(sources, column, title, sources.labelled(column), lambda r: r.units.text(column))


def units_with_text(
    sources: Sources,
    task: str,
    title: str,
    recordings: list[StoredRecording],
    text_of: Callable[[StoredRecording], np.ndarray],
) -> Found:
    """Return the target of a class for each unit, over all units of some recordings that have a text.

    Left out, with a warning: recordings whose resolution is coarser than a token or that hold no window, activity of
    another kind than most, and classes that are found in too few animals to be tested in one not seen (units, if the
    store has but one animal).

    Args:
        sources: the store, and how it is read.
        task, title: see `Labels`.
        recordings: that may have labelled units.
        text_of: gives the ``(N,)`` texts of a recording's units, ``''`` for unlabelled ones.
    """
    found = Found()
    recordings, notes = _usable(sources, recordings, lambda r: text_of(r) != "")
    text: list[str] = []
    recording_S: list[int] = []
    unit_S: list[int] = []
    for k, recording in enumerate(recordings):
        names = text_of(recording)
        for unit in np.flatnonzero(names != ""):
            text.append(str(names[unit]))
            recording_S.append(k)
            unit_S.append(int(unit))
    subjects = np.array([r.record.subject for r in recordings])
    kept, dropped = _testable(np.array(text), subjects[recording_S] if recording_S else subjects[:0], sources.folds)
    notes += dropped
    if len(kept) < 2:
        found.skipped = [*notes, f"{task}: fewer than two classes are left"] if text else notes
        return found
    keep = np.isin(text, kept)
    used, recording_K = np.unique(np.array(recording_S)[keep], return_inverse=True)
    labels = Labels(
        task=task,
        target="all",
        title=title,
        y_S=np.searchsorted(kept, np.array(text)[keep]),
        classes=tuple(kept),
        notes=notes,
    )
    found.problems.append(_problem(sources, labels, [recordings[k] for k in used], recording_K, np.array(unit_S)[keep]))
    return found


def units_with_values(
    sources: Sources,
    task: str,
    title: str,
    recordings: list[StoredRecording],
    values_of: Callable[[StoredRecording], np.ndarray],
    value_names: Sequence[str] = (),
    target: str = "all",
) -> Found:
    """Return the target of numbers for each unit, over all units of some recordings that have them.

    Args:
        sources: the store, and how it is read.
        task, title, target: see `Labels`.
        recordings: that may have labelled units.
        values_of: gives ``(N,)`` or ``(N, K)`` numbers of a recording's units, NaN for unlabelled ones.
        value_names: names of the K numbers.
    """
    found = Found()

    def values(recording: StoredRecording) -> np.ndarray:
        return np.asarray(values_of(recording), dtype=np.float64).reshape(len(recording.units), -1)

    recordings, notes = _usable(sources, recordings, lambda r: np.isfinite(values(r)).all(axis=1))
    rows = [(k, np.flatnonzero(np.isfinite(values(r)).all(axis=1))) for k, r in enumerate(recordings)]
    rows = [(k, units) for k, units in rows if len(units)]
    if sum(len(units) for _, units in rows) < 2 * sources.folds:
        found.skipped = [*notes, f"{task}: fewer than two units a fold have a number"] if rows else notes
        return found
    y_SK = np.concatenate([values(recordings[k])[units] for k, units in rows])
    moves = y_SK.std(axis=0) > 1e-9 * (1 + np.abs(y_SK).mean(axis=0))
    if not moves.any():
        found.skipped = [*notes, f"{task}: all units have the same number"]
        return found
    names = list(value_names) if len(value_names) == len(moves) else [f"{task} {k}" for k in range(len(moves))]
    names = [task] if len(moves) == 1 and not value_names else names
    kept = tuple(name for name, moving in zip(names, moves, strict=True) if moving)
    labels = Labels(task=task, target=target, title=title, y_S=y_SK[:, moves], value_names=kept, notes=notes)
    recording_S = np.concatenate([np.full(len(units), place) for place, (_, units) in enumerate(rows)])
    used = [recordings[k] for k, _ in rows]
    found.problems.append(_problem(sources, labels, used, recording_S, np.concatenate([units for _, units in rows])))
    return found


def _problem(
    sources: Sources, labels: Labels, recordings: list[StoredRecording], recording_S: np.ndarray, unit_S: np.ndarray
) -> UnitProblem:
    windows = sources.windows
    return UnitProblem(
        labels,
        recordings,
        recording_S,
        unit_S,
        readers=sources.readers,
        bin_width=windows.unit_token / sources.unit_bins,
        n_bins=windows.unit_tokens * sources.unit_bins,
        bins_per_token=sources.unit_bins,
        windows=windows.unit_windows,
        seed=sources.seed,
        tokens=windows.unit_tokens,
    )


def _usable(
    sources: Sources, recordings: list[StoredRecording], labelled: Callable[[StoredRecording], np.ndarray]
) -> tuple[list[StoredRecording], list[str]]:
    """Recordings that hold a window and the kind of activity that most labelled units have, and what is left out."""
    kept, notes = [], []
    for recording in recordings:
        reason = _unfit(recording, sources)
        if reason:
            notes.append(f"units of {recording.record.path} are left out: {reason}")
        else:
            kept.append(recording)
    kept, dropped = _one_kind(kept, labelled)
    return kept, notes + dropped


def _unfit(recording: StoredRecording, sources: Sources) -> str:
    windows = sources.windows
    token = windows.unit_token
    if recording.resolution > token + 1e-9:
        return f"the recording's resolution of {recording.resolution:g} s is coarser than a token of {token:g} s"
    seconds = token * windows.unit_tokens
    if not len(spread_starts(sources.readers(recording.id), seconds, 1, 0)):
        return f"no window of {seconds:g} s fits its observed time"
    return ""


def _one_kind(
    recordings: list[StoredRecording], labelled: Callable[[StoredRecording], np.ndarray]
) -> tuple[list[StoredRecording], list[str]]:
    """Recordings of the kind (spikes, counts, values) that has most labelled units."""
    units: Counter[str] = Counter()
    for recording in recordings:
        units[recording.kind] += int(labelled(recording).sum())
    if len(units) < 2:
        return recordings, []
    kind = units.most_common(1)[0][0]
    others = [r for r in recordings if r.kind != kind]
    return [r for r in recordings if r.kind == kind], [
        f"units of {r.record.path} are left out: it holds {r.kind}, and most labelled units have {kind}" for r in others
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
