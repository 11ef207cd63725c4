"""Which recordings are kept, as settings that are quick to import."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from foundation.common.errors import ConfigError
from foundation.common.settings.renamed_settings import renamed


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
