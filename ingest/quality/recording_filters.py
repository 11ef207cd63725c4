"""Which recordings are kept, decided when they are open and their units have been judged."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from foundation.common.errors import ConfigError
from foundation.common.renamed_settings import renamed

if TYPE_CHECKING:  # settings are quick to import
    from foundation.store import Recording


@dataclass(frozen=True)
class KeepRules:
    """What a recording needs to be kept. One that has less is left out, and its receipt says why.

    Args:
        min_units: units that quality control left.
        min_duration: seconds of observed time.
        labels: what must be known of it, by the names that ``foundation catalog`` lists: ``cell_type``, ``position``,
            ``states.state``, or the name of a table such as ``trials``.
    """

    min_units: int = renamed("least_units", 1)
    min_duration: float = renamed("least_duration", 0.0)
    labels: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.min_units < 1:
            raise ConfigError(f"min_units is {self.min_units}: allowed is 1 or more")
        if not 0 <= self.min_duration < math.inf:
            raise ConfigError(f"min_duration is {self.min_duration}: allowed is a number of seconds, 0 or more")


def why_not(recording: Recording, rules: KeepRules) -> str:
    """Why a recording is left out; ``''`` if it is kept.

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
