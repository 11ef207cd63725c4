"""Quality control: measure every unit and recording, and drop units by rules, with reasons."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from foundation.common.settings.renamed_settings import former_name
from foundation.store import Recording, Units
from foundation.store.format.spill import empty, let_go, pieces
from ingest.quality.recording_filters import KeepRules
from ingest.quality.session_quality import clock_jumps, gaps, silences, spans
from ingest.quality.unit_quality import unit_figures
from ingest.recipe.name_patterns import first_match, matches
from ingest.recipe.recipe_rules import ControlRules

log = logging.getLogger(__name__)

PREFIX = "qc_"
# Minimum units of a recording to search for silences of all units.
LEAST_UNITS = 5
LEAST = {"min_rate": "rate", "min_presence": "presence_ratio", "min_snr": "snr"}
MOST = {
    "max_isi_violations": "isi_violations",
    "max_contamination": "contamination",
    "max_amplitude_cutoff": "amplitude_cutoff",
}


def assess(recording: Recording, rules: ControlRules) -> Recording:
    """Return the recording with quality metrics, without the units that break a rule.

    Units get the columns ``qc_rate``, ``qc_presence_ratio``, ``qc_isi_violations``, ``qc_contamination``, and where the
    file gives them ``qc_snr`` and ``qc_amplitude_cutoff``; a column of the file with such a name is renamed to
    ``source_qc_...``. ``control`` holds the metrics and the dropped units, ``quality`` counts the dropped units.

    Example:
        >>> from foundation.store import Interval, Source, Spikes, Subject
        >>> recording = Recording(Source("a.nwb", "0"), Subject("m"), "s", Units(2), Interval.single(0.0, 10.0),
        ...                       Spikes.from_trains([[1.0, 2.0, 3.0], [5.0]]))
        >>> kept = assess(recording, ControlRules(min_rate=0.2))
        >>> kept.n_units, kept.units["qc_rate"].tolist(), kept.quality["units_dropped"]
        (1, [0.3], 1.0)
        >>> kept.control["dropped"]
        [{'unit': 1, 'id': 1, 'rule': 'least_rate', 'value': 0.1, 'limit': 0.2}]
    """
    figures = unit_figures(recording, rules.presence_bin, rules.refractory)
    columns = {name: getattr(figures, name) for name in ("rate", "presence_ratio", "isi_violations", "contamination")}
    for name in ("snr", "amplitude_cutoff"):
        given = first_match(getattr(rules, name), [n for n, v in recording.units.items() if v.dtype.kind in "iuf"])
        if given is not None and recording.units[given].ndim == 1:
            columns[name] = recording.units[given].astype(np.float64)
    dropped, unknown, not_applied = _apply(recording.units, columns, rules)
    session = _session(recording, rules)
    lost = sorted({row["unit"] for row in dropped})
    counts = {
        "units_dropped": len(lost),
        "duplicate_spikes": int(figures.duplicates.sum()),
        "gaps": session["gaps"]["count"],
        "silences": session["silences"]["count"] if session["silences"] else 0,
        "clock_jumps": sum(found["count"] for found in session["clock_jumps"].values()),
    }
    control = {
        "counts": counts,
        "units_in_file": recording.n_units,
        "units_kept": recording.n_units - len(lost),
        "units_with_duplicates": int((figures.duplicates > 0).sum()),
        "dropped": dropped,
        "unknown": unknown,
        "not_applied": not_applied,
        **session,
    }
    broken = Counter(f"units_dropped_{row['rule']}" for row in dropped)
    changed = {"units_dropped": len(lost), **broken} if lost else {}
    quality = recording.quality | {name: float(number) for name, number in sorted(changed.items())}
    own = {
        f"source_{n}" if n.removeprefix(PREFIX) in columns and n.startswith(PREFIX) else n: v
        for n, v in recording.units.items()
    }
    units = Units(recording.n_units, own | {f"{PREFIX}{name}": values for name, values in columns.items()})
    keep = np.ones(recording.n_units, dtype=bool)
    keep[lost] = False
    judged = replace(recording, units=units, quality=quality, control=control)
    return judged if keep.all() else _only(judged, keep)


def remarks(recording: Recording) -> str:
    """Return a line of what reading changed and quality control found; ``''`` if nothing.

    Gaps in observation are normal and not listed.
    """
    counts = recording.control.get("counts", {})
    found = {name: counts.get(name, 0) for name in ("duplicate_spikes", "silences", "clock_jumps")}
    parts = [f"{name} {number:g}" for name, number in (recording.quality | found).items() if number]
    return ", ".join(parts + [f"{rule} not applied" for rule in recording.control.get("not_applied", {})])


def why_not(recording: Recording, rules: KeepRules) -> str:
    """Return why a recording is left out; ``''`` if it is kept.

    Example:
        >>> from foundation.store import Interval, Recording, Source, Spikes, Subject, Units
        >>> recording = Recording(Source("a.nwb", "0"), Subject("m"), "s", Units(1), Interval.single(0.0, 10.0),
        ...                       Spikes.from_trains([[1.0]]))
        >>> why_not(recording, KeepRules())
        ''
        >>> why_not(recording, KeepRules(min_duration=60.0, labels=["cell_type"]))
        '10 s observed, min_duration is 60 s; no cell_type, it has no labels'
    """
    reasons = []
    if recording.n_units < rules.min_units:
        n_dropped = recording.control.get("counts", {}).get("units_dropped", 0)
        text = f"{recording.n_units} units, min_units is {rules.min_units}"
        reasons.append(f"{text} (quality control dropped {n_dropped})" if n_dropped else text)
    if recording.domain.duration < rules.min_duration:
        reasons.append(f"{recording.domain.duration:g} s observed, min_duration is {rules.min_duration:g} s")
    missing = [label for label in rules.labels if label not in recording.labels and label not in recording.intervals]
    if missing:
        reasons.append(f"no {', '.join(missing)}, it has {', '.join(recording.labels) or 'no labels'}")
    return "; ".join(reasons)


def _apply(
    units: Units, columns: dict[str, np.ndarray], rules: ControlRules
) -> tuple[list[dict[str, Any]], dict[str, int], dict[str, str]]:
    """Return a row per unit and broken rule, the units without a metric, and the rules not applied with reasons."""
    dropped: list[dict[str, Any]] = []
    unknown: dict[str, int] = {}
    not_applied: dict[str, str] = {}
    identity = units["id"].tolist() if "id" in units else list(range(len(units)))

    def drop(unit: int, rule: str, value: Any, limit: Any) -> None:
        dropped.append({"unit": unit, "id": identity[unit], "rule": rule, "value": value, "limit": limit})

    for key, name in (LEAST | MOST).items():
        limit, rule = getattr(rules, key), former_name(ControlRules, key)  # stored records use the former names
        if limit is None:
            continue
        values = columns.get(name, np.full(len(units), np.nan))
        if len(units) and not np.isfinite(values).any():
            not_applied[rule] = f"{name} is not known of any unit"
            log.warning("control.%s is not applied: %s", key, not_applied[rule])
            continue
        if n := int(np.isnan(values).sum()):
            unknown[rule] = n
        broken = values < limit if key in LEAST else values > limit
        for unit in np.flatnonzero(broken).tolist():
            value = float(values[unit])
            drop(unit, rule, round(value, 6) if np.isfinite(value) else str(value), limit)
    if rules.quality:
        labels = units.text("quality")
        if (labels == "").all():
            not_applied["quality"] = "the file has no labels of sorting quality"
            log.warning("control.quality is not applied: %s", not_applied["quality"])
        else:
            for unit, label in enumerate(labels.tolist()):
                if not matches(rules.quality, label):
                    drop(unit, "quality", label, ", ".join(rules.quality))
    return sorted(dropped, key=lambda row: (row["unit"], row["rule"])), unknown, not_applied


def _session(recording: Recording, rules: ControlRules) -> dict[str, Any]:
    domain = recording.domain
    # One or two neurons may well rest for minutes, and sampled activity has no silences.
    looked = recording.spikes is not None and recording.n_units >= LEAST_UNITS
    silent = silences(recording.spikes, domain, rules.silence) if looked and recording.spikes is not None else None
    jumps = {name: clock_jumps(series, domain, rules.jump) for name, series in sorted(recording.behavior.items())}
    return {
        "duration": round(domain.duration, 6),
        "gaps": spans(gaps(domain)),
        "silences": None if silent is None else spans(silent),
        "clock_jumps": {name: spans(found) for name, found in jumps.items() if len(found)},
    }


def _only(recording: Recording, keep: np.ndarray) -> Recording:
    """Return the recording with a subset of its units."""
    units = Units(int(keep.sum()), {name: values[keep] for name, values in recording.units.items()})
    if recording.spikes is not None:
        return replace(recording, units=units, spikes=recording.spikes.where(keep))
    assert recording.activity is not None  # a recording has either spikes or samples
    all_TN = recording.activity.data
    kept_TM = empty((len(all_TN), int(keep.sum())), all_TN.dtype)
    for piece in pieces(all_TN):
        kept_TM[piece] = all_TN[piece][:, keep]
        let_go(kept_TM)
    return replace(recording, units=units, activity=replace(recording.activity, data=kept_TM))
