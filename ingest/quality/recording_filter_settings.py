"""Which recordings are kept, as `foundation ingest` is told."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from foundation.common.errors import ConfigError


@dataclass(frozen=True)
class KeepRules:
    """What a recording needs to be kept. One that has less is left out, and its receipt says why.

    Args:
        least_units: units that quality control left.
        least_duration: seconds of observed time.
        labels: what must be known of it, by the names that ``foundation catalog`` lists: ``cell_type``, ``position``,
            ``states.state``, or the name of a table such as ``trials``.
    """

    least_units: int = 1
    least_duration: float = 0.0
    labels: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.least_units < 1:
            raise ConfigError(f"least_units is {self.least_units}: allowed is 1 or more")
        if not 0 <= self.least_duration < math.inf:
            raise ConfigError(f"least_duration is {self.least_duration}: allowed is a number of seconds, 0 or more")
