"""Units as the map of the report shows them: embedding, labels, properties, intervals between spikes."""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from finetune.tasks.spike_statistics import within
from finetune.tasks.unit_task import UnitProblem
from foundation.common.files.locks import write_whole
from foundation.common.output.neuron_map import NeuronTable
from foundation.embedding.unit_layouts import unit_layouts
from foundation.store import StoredRecording

log = logging.getLogger(__name__)
FILE = "embeddings.npz"
ISI_EDGES = np.geomspace(1e-3, 10.0, 21)  # s
KNOWN = {"cell_type": "cell type", "location": "region"}
MAX_COLUMNS = 8  # other columns of the units table that are kept, at most
TEXT, NUMBER = "text:", "number:"


def write_neurons(path: Path, problem: UnitProblem, z_SD: np.ndarray, checkpoint: str) -> None:
    """Write labelled units, with what is known of each and their embeddings by a checkpoint, for the map.

    Args:
        path: the .npz.
        problem: labelled units.
        z_SD: ``(S, D)`` their embeddings.
        checkpoint: digest of the model that made them.
    """
    arrays = unit_facts(problem.stored, problem.recording_S, problem.unit_S)
    arrays |= {"z_SD": np.asarray(z_SD, dtype=np.float32), "checkpoint": np.array(checkpoint)}
    arrays["label_S"] = np.array(problem.labels.classes)[problem.labels.y_S] if problem.labels.classes else np.empty(0)
    arrays["subject_S"] = problem.subject_S
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_whole(path, buffer.getvalue())


def unit_facts(
    recordings: Sequence[StoredRecording], recording_S: np.ndarray, unit_S: np.ndarray
) -> dict[str, np.ndarray]:
    """Return what is known of some units, a row each: recording, row, columns of text and of numbers, intervals.

    Columns are animal, session, cell type, region, rate in Hz, and the other columns of the units tables that hold one
    text or number a unit.

    Args:
        recordings: that hold the units.
        recording_S, unit_S: the recording and the row of each.
    """
    n = len(unit_S)
    found = {"recording_S": np.array([recordings[k].id for k in recording_S]), "unit_S": np.asarray(unit_S)}
    found |= {TEXT + name: np.full(n, "", dtype=object) for name in ("animal", "session", *KNOWN.values())}
    found |= {NUMBER + name: np.full(n, np.nan) for name in ("unit", "rate (Hz)")}
    found["isi_SB"] = np.zeros((n, len(ISI_EDGES) - 1), dtype=np.uint8)
    for name, kind in _other_columns(recordings).items():
        found[kind + name] = np.full(n, "" if kind == TEXT else np.nan, dtype=object if kind == TEXT else float)
    for k in np.unique(recording_S):
        recording, here = recordings[k], np.flatnonzero(recording_S == k)
        units, rows = recording.units, unit_S[here]
        found[TEXT + "animal"][here] = str(recording.record.subject)
        found[TEXT + "session"][here] = str(recording.record.session)
        found[NUMBER + "unit"][here] = units["id"][rows] if "id" in units else rows
        for column, name in KNOWN.items():
            found[TEXT + name][here] = units.text(column)[rows]
        for key in found:
            kind, _, name = key.partition(":")
            if name in units and name not in KNOWN:
                found[key][here] = units[name][rows].astype(str if kind + ":" == TEXT else float)
        rates, isi_SB = _activity(recording, rows)
        found[NUMBER + "rate (Hz)"][here] = rates
        found["isi_SB"][here] = isi_SB
    return {key: values.astype(str) if values.dtype == object else values for key, values in found.items()}


def _other_columns(recordings: Iterable[StoredRecording]) -> dict[str, str]:
    """Columns of the units tables with one text or number a unit, and which of the two; at most `MAX_COLUMNS`."""
    found: dict[str, str] = {}
    for recording in recordings:
        for name in recording.units:
            values = recording.units[name]
            if name in KNOWN or name in ("id", "animal", "session") or values.ndim != 1:
                continue
            kind = NUMBER if values.dtype.kind in "fiub" else TEXT
            if found.setdefault(name, kind) != kind:
                found[name] = TEXT
    return dict(list(found.items())[:MAX_COLUMNS])


def _activity(recording: StoredRecording, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rates in Hz (NaN for sampled values), and intervals of units that have spike times."""
    isi_SB = np.zeros((len(rows), len(ISI_EDGES) - 1), dtype=np.uint8)
    seconds = max(recording.domain.duration, 1e-9)
    if recording.activity is not None:
        counted = recording.kind == "counts"
        data = np.asarray(recording.activity.data)[:, rows]
        return (np.nansum(data, axis=0) / seconds if counted else np.full(len(rows), np.nan)), isi_SB
    blocks = recording.spike_blocks
    assert blocks is not None  # a recording has spikes or samples
    spikes, rates = blocks.to_spikes(), np.zeros(len(rows))
    for row, unit in enumerate(rows):
        times, part = within(spikes.train(int(unit)), recording.domain)
        rates[row] = len(times) / seconds
        isi_SB[row] = interval_shares(np.diff(times)[np.diff(part) == 0])
    recording.__dict__.pop("spike_blocks", None)  # read again if it is needed again
    return rates, isi_SB


def interval_shares(isi: np.ndarray) -> np.ndarray:
    """Return ``(20,)`` uint8: how many intervals are in each of `ISI_EDGES`' bins, relative to the fullest (255).

    Example:
        >>> interval_shares(np.array([0.0012, 0.0012, 0.5])).nonzero()[0].tolist()
        [0, 13]
    """
    counts = np.histogram(isi, ISI_EDGES)[0]
    return np.round(255 * counts / max(counts.max(initial=0), 1)).astype(np.uint8)


@dataclass
class Placed:
    """Units of one run, by recording and row.

    Args:
        name: of the run.
        facts: the arrays of `write_neurons`.
        predicted: task -> ``(S,)`` what the run predicted of each unit, ``''`` where it did not.
    """

    name: str
    facts: dict[str, np.ndarray]
    predicted: dict[str, np.ndarray]

    @property
    def keys(self) -> list[tuple[str, int]]:
        """Recording and row of each unit."""
        return list(zip(self.facts["recording_S"].tolist(), self.facts["unit_S"].tolist(), strict=True))


def read_neurons(path: Path, checkpoint: str) -> dict[str, np.ndarray] | None:
    """Return the arrays that `write_neurons` wrote; None if there are none of this checkpoint, or of an older form."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            facts = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile):
        return None
    needed = {"z_SD", "checkpoint", "recording_S", "unit_S", "isi_SB", NUMBER + "unit"}
    if not needed <= facts.keys() or str(facts["checkpoint"]) != checkpoint:
        log.info("%s holds no units of this version and checkpoint: no map of it", path)
        return None
    return facts


def neuron_table(placed: Sequence[Placed]) -> NeuronTable | None:
    """Return all units of some runs as a map: a row a unit, a layout a run and method; None if no run has units.

    Units that a run did not place lie at its middle.
    """
    keys = list(dict.fromkeys(key for one in placed for key in one.keys))
    if not keys:
        return None
    row = {key: n for n, key in enumerate(keys)}
    columns: dict[str, np.ndarray] = {}
    isi_NB = np.zeros((len(keys), len(ISI_EDGES) - 1), dtype=np.uint8)
    layouts = {}
    several = len({one.name for one in placed}) > 1
    for one in placed:
        here = np.array([row[key] for key in one.keys])
        isi_NB[here] = one.facts["isi_SB"]
        for key, values in one.facts.items():
            kind, _, name = key.partition(":")
            if not name:
                continue
            missing = np.nan if kind + ":" == NUMBER else ""
            dtype = float if kind + ":" == NUMBER else object
            columns.setdefault(name, np.full(len(keys), missing, dtype=dtype))[here] = values
        for task, said in one.predicted.items():
            name = f"{task} by {one.name}" if several else f"{task}, predicted"
            columns.setdefault(name, np.full(len(keys), "", dtype=object))[here] = said
    for name in dict.fromkeys(one.name for one in placed):
        parts = [one for one in placed if one.name == name]
        seen = {key: z for one in parts for key, z in zip(one.keys, one.facts["z_SD"], strict=True)}
        here = np.array([row[key] for key in seen])
        for method, xy_M2 in unit_layouts(np.stack(list(seen.values()))).items():
            xy_N2 = np.tile(xy_M2.mean(axis=0, dtype=np.float64), (len(keys), 1))
            xy_N2[here] = xy_M2
            layouts[f"{name}: {method}" if several else method] = xy_N2
    named = _names(columns)
    shown = {"neuron": named, **{n: v.astype(str) if v.dtype == object else v for n, v in columns.items()}}
    shown = {name: values for name, values in shown.items() if name == "neuron" or _has_any(values)}
    shown.pop("unit", None)
    first = {name: shown[name] for name in ("neuron", "region", "cell type", "rate (Hz)", "animal") if name in shown}
    shown = first | shown
    return NeuronTable(layouts, shown, isi_NB if isi_NB.any() else None, ISI_EDGES)


def _names(columns: dict[str, np.ndarray]) -> np.ndarray:
    """A name for each unit: animal, session and its id in the file."""
    parts = zip(columns["animal"], columns["session"], columns["unit"], strict=True)
    return np.array([f"{session or animal} · {int(unit)}" for animal, session, unit in parts])


def _has_any(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).any()) if values.dtype.kind == "f" else bool((values.astype(str) != "").any())
