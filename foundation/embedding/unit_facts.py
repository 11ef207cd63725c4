"""Properties of units beside their embeddings: labels, columns, rates, intervals between spikes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from foundation.store import Interval, StoredRecording

ISI_EDGES = np.geomspace(1e-3, 10.0, 21)  # s
KNOWN = {"cell_type": "cell type", "location": "region"}
MAX_COLUMNS = 8  # maximum number of other columns of the units table
TEXT, NUMBER = "text:", "number:"


def unit_facts(
    recordings: Sequence[StoredRecording], recording_S: np.ndarray, unit_S: np.ndarray
) -> dict[str, np.ndarray]:
    """Return properties of some units, one row each: recording, row, columns of text and of numbers, intervals.

    Columns are animal, session, cell type, region, rate in Hz, and the other columns of the units tables with one text
    or number per unit.

    Args:
        recordings: the recordings of the units.
        recording_S, unit_S: the recording and the row of each unit.
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
    """Return at most `MAX_COLUMNS` columns of the units tables with a text or a number per unit, and their kind."""
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
    """Return rates in Hz (NaN for sampled values), and intervals of units with spike times."""
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
    recording.__dict__.pop("spike_blocks", None)  # read again when needed
    return rates, isi_SB


def interval_shares(isi: np.ndarray) -> np.ndarray:
    """Return ``(20,)`` uint8: number of intervals in each of `ISI_EDGES`' bins, relative to the fullest bin (255).

    Example:
        >>> interval_shares(np.array([0.0012, 0.0012, 0.5])).nonzero()[0].tolist()
        [0, 13]
    """
    counts = np.histogram(isi, ISI_EDGES)[0]
    return np.round(255 * counts / max(counts.max(initial=0), 1)).astype(np.uint8)


def within(times: np.ndarray, domain: Interval) -> tuple[np.ndarray, np.ndarray]:
    """Return the spikes in observed time, and the observed interval of each.

    Example:
        >>> times, part = within(np.array([0.5, 1.5, 2.5]), Interval([0.0, 2.0], [1.0, 3.0]))
        >>> times.tolist(), part.tolist()
        ([0.5, 2.5], [0, 1])
    """
    merged = domain.union()
    part = np.searchsorted(merged.start, times, side="right") - 1
    inside = part >= 0
    inside[inside] = times[inside] < merged.end[part[inside]]
    return times[inside], part[inside]
