"""Descriptions of a recording for the catalog's page."""

from __future__ import annotations

from typing import Any

import numpy as np

from foundation.common.output.printable import count
from foundation.store import CatalogRow, StoredRecording
from foundation.store.format.encode import decode_column
from foundation.store.format.zarr_arrays import read_array

FIGURES = {
    "qc_rate": ("rate", "Hz"),
    "qc_presence_ratio": ("presence ratio", ""),
    "qc_isi_violations": ("intervals below the refractory period", "share"),
    "qc_contamination": ("estimated contamination", "share"),
    "qc_snr": ("signal to noise", ""),
    "qc_amplitude_cutoff": ("spikes missed", "share"),
}


def column_of(recording: StoredRecording, name: str) -> np.ndarray | None:
    """Return one column of a recording's units, reading no other; None if there is no such column."""
    path = f"units/{name}"
    return decode_column(read_array(recording.group, path)) if path in recording.group else None


def facts_of(recording: StoredRecording) -> list[tuple[str, str]]:
    """Return the facts about a recording: names and values."""
    record, subject = recording.record, recording.subject
    kinds = {"spikes": "spike trains", "counts": "sampled counts", "values": "sampled values"}
    resolution = f"{record.resolution:g} s" if record.resolution else "exact"
    found = [
        ("activity", f"{kinds[recording.kind]}; resolution {resolution}"),
        ("units", count(record.n_units, "unit")),
        ("spikes", f"{record.n_spikes:,}"),
        ("observed", duration(record.duration)),
        ("subject", ", ".join(text for text in (subject.species, subject.sex, subject.age) if text)),
        ("laboratory", ", ".join(text for text in (record.lab, recording.attributes["institution"]) if text)),
        ("recorded", recording.attributes["start_time"]),
        ("description", recording.attributes["description"]),
    ]
    return [(name, value) for name, value in found if value]


def provenance_of(recording: StoredRecording) -> list[tuple[str, str]]:
    """Return a recording's provenance: names and values."""
    source = recording.record.source
    names = ("archive", "dandiset", "version", "path", "asset", "embargo", "licence", "digest")
    found = [(name, str(getattr(source, name))) for name in names]
    found += [("recording", recording.id), ("recipe", recording.record.recipe)]
    return [(name, value or "not stated") for name, value in found if value or name == "licence"]


def quality_of(record: CatalogRow, control: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the results of quality control and the repairs made on reading: names and values."""
    if not control:
        return [("units", "ingested without quality control")]
    counts = control["counts"]
    found = [
        ("units", f"{control['units_kept']:,} kept of {control['units_in_file']:,}"),
        ("gaps in observation", spans_text(control["gaps"])),
        ("silence of all units", spans_text(control["silences"])),
        ("duplicate spikes", f"{counts['duplicate_spikes']:,} in {count(control['units_with_duplicates'], 'unit')}"),
        *((f"clock jumps, {name}", spans_text(value)) for name, value in control["clock_jumps"].items()),
        *((f"{rule}: not applied", reason) for rule, reason in control["not_applied"].items()),
        *((f"{rule}: unknown", f"of {count(n, 'unit')}, kept") for rule, n in control["unknown"].items()),
    ]
    if not counts["duplicate_spikes"]:
        found = [("duplicate spikes", "none") if name == "duplicate spikes" else (name, text) for name, text in found]
    if not control["clock_jumps"]:
        found.append(("clock jumps", "none"))
    mended = ((name.replace("_", " "), f"{number:g}") for name, number in record.quality.items())
    return found + [(name, number) for name, number in mended if not name.startswith("units dropped")]


def spans_text(spans: dict[str, Any] | None) -> str:
    """Return stretches of time in words.

    Example:
        >>> spans_text({"count": 2, "seconds": 90.0, "longest": 60.0, "spans": [[0.0, 60.0], [100.0, 130.0]]})
        '2: 1.5 min in all, the longest 1 min'
    """
    if spans is None:
        return "not looked for"
    if not spans["count"]:
        return "none"
    return f"{spans['count']:,}: {duration(spans['seconds'])} in all, the longest {duration(spans['longest'])}"


def duration(seconds: float) -> str:
    """Return seconds in the unit that reads best.

    Example:
        >>> duration(0.25), duration(90.0), duration(7200.0)
        ('0.25 s', '1.5 min', '2 h')
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 3600 else f"{seconds / 3600:.3g} h"


def figure(number: float) -> str:
    """Return a number for a narrow column: three digits, or two for small numbers.

    Example:
        >>> figure(16.482), figure(0.00059631), figure(0.0)
        ('16.5', '0.0006', '0')
    """
    return f"{number:.3g}" if abs(number) >= 0.01 else f"{number:.2g}"


def spread_of(recording: StoredRecording, name: str) -> tuple[str, str, str, str, str] | None:
    """Return minimum, median and maximum of a column of the units, and how many have a value; None if none has one."""
    values = column_of(recording, name)
    if values is None or not np.isfinite(values).any():
        return None
    title, unit = FIGURES[name]
    finite = values[np.isfinite(values)]
    least, median, most = (figure(number) for number in np.percentile(finite, (0, 50, 100)))
    return f"{title} ({unit})" if unit else title, least, median, most, f"{len(finite):,} of {len(values):,}"


def known_of(recording: StoredRecording) -> list[str]:
    """Return a line for each label, behaviour and table, without reading samples."""
    known = []
    for name in ("cell_type", "location"):
        values = column_of(recording, name)
        if values is not None and (values.astype(str) != "").any():
            names, counts = np.unique(values.astype(str), return_counts=True)
            ranked = sorted(zip(counts.tolist(), names.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))
            parts = [f"{text or 'not known'} {n}" for n, text in ranked]
            more = f", and {len(parts) - 8} more" if len(parts) > 8 else ""
            known.append(f"{name.replace('_', ' ')}: {', '.join(parts[:8])}{more}")
    for name in recording.attributes["behavior"]:
        data = recording.group[f"behavior/{name}/data"]
        rate = f" at {float(data.attrs['rate']):g} Hz" if "rate" in data.attrs else ""  # type: ignore[arg-type]
        unit = f" in {data.attrs['unit']}" if data.attrs.get("unit") else ""
        known.append(f"{name}: {data.shape[0]:,} samples{rate}{unit}")  # type: ignore[union-attr]
    for name in recording.attributes["intervals"]:
        n = recording.group[f"intervals/{name}/start"].shape[0]  # type: ignore[union-attr]
        columns = sorted(label.split(".", 1)[1] for label in recording.record.labels if label.startswith(f"{name}."))
        known.append(f"{name}: {count(n, 'interval')}" + (f" with {', '.join(columns)}" if columns else ""))
    return known
