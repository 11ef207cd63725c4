"""Which recordings are kept, as settings that are quick to import."""

from __future__ import annotations

from dataclasses import dataclass, field

from foundation.common.settings.renamed_settings import renamed
from foundation.common.settings.setting_limits import Count, Limited, NonNegative


@dataclass(frozen=True)
class KeepRules(Limited):
    """What a recording needs to be kept. One that has less is left out, and its receipt says why.

    Args:
        min_units: units that quality control left.
        min_duration: seconds of observed time.
        labels: what must be known of it, by the names that ``foundation catalog`` lists: ``cell_type``, ``position``,
            ``states.state``, or the name of a table such as ``trials``.

    Raises:
        ConfigError: if a value is beyond its limit.
    """

    section = "keep."
    min_units: Count = renamed("least_units", 1)
    min_duration: NonNegative = renamed("least_duration", 0.0)
    labels: list[str] = field(default_factory=list)
