"""Filters of recordings, as settings that import quickly."""

from __future__ import annotations

from dataclasses import dataclass, field

from foundation.common.settings.renamed_settings import renamed
from foundation.common.settings.setting_limits import Count, Limited, NonNegative


@dataclass(frozen=True)
class KeepRules(Limited):
    """Minimum requirements of a recording. Others are left out, with the reason in the receipt.

    Args:
        min_units: minimum units after quality control.
        min_duration: minimum seconds of observed time.
        labels: required labels, as listed by ``foundation catalog``: ``cell_type``, ``position``,
            ``states.state``, or the name of a table such as ``trials``.

    Raises:
        ConfigError: if a value is out of range.
    """

    section = "keep."
    min_units: Count = renamed("least_units", 1)
    min_duration: NonNegative = renamed("least_duration", 0.0)
    labels: list[str] = field(default_factory=list)
