"""Which recordings are kept once they are open and their units have been judged."""

from __future__ import annotations

from foundation.store import Recording
from ingest.quality.recording_filter_settings import KeepRules


def why_not(recording: Recording, rules: KeepRules) -> str:
    """Why a recording is left out; ``''`` if it is kept.

    Example:
        >>> from foundation.store import Interval, Source, Spikes, Subject, Units
        >>> recording = Recording(Source("a.nwb", "0"), Subject("m"), "s", Units(1), Interval.single(0.0, 10.0),
        ...                       Spikes.from_trains([[1.0]]))
        >>> why_not(recording, KeepRules())
        ''
        >>> why_not(recording, KeepRules(least_duration=60.0, labels=["cell_type"]))
        '10 s observed, least_duration is 60 s; no cell_type, it has no labels'
    """
    reasons = []
    if recording.n_units < rules.least_units:
        n_dropped = recording.control.get("counts", {}).get("units_dropped", 0)
        text = f"{recording.n_units} units, least_units is {rules.least_units}"
        reasons.append(f"{text} (quality control dropped {n_dropped})" if n_dropped else text)
    if recording.domain.duration < rules.least_duration:
        reasons.append(f"{recording.domain.duration:g} s observed, least_duration is {rules.least_duration:g} s")
    missing = [label for label in rules.labels if label not in recording.labels and label not in recording.intervals]
    if missing:
        reasons.append(f"no {', '.join(missing)}, it has {', '.join(recording.labels) or 'no labels'}")
    return "; ".join(reasons)
