"""Which windows a step of pretraining draws."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from foundation.common.errors import ConfigError
from foundation.common.settings.setting_limits import Count, Limited, between

WINDOWS = 3  # raised whenever a seed draws other windows than before: a run that was begun before does not go on


@dataclass(frozen=True)
class DataSettings(Limited):
    """Which windows a step draws.

    Args:
        bin_widths: seconds of a bin. A recording uses those at which a token is no shorter than its own resolution and
            the shortest view fits its observed time.
        tokens_per_step: budget of the global batch: units x tokens, summed over windows and views.
        min_windows: windows in a batch at least; no more processes than this can share a step.
        max_units: units of a window at most; a larger population is subsampled, anew each time.
        weight_power: a recording is drawn with (units x observed seconds) to this power.
        cache_bytes: decoded activity held in memory, per process (and per worker); see docs/data.md.
        prefetch: batches prepared ahead (by each worker).
        workers: processes that read and bin; 0: a thread beside the training step.

    Raises:
        ConfigError: if a value is impossible.
    """

    bin_widths: list[float] = field(default_factory=lambda: [0.005, 0.025, 1.0])
    tokens_per_step: Count = 16384
    min_windows: Count = 4
    max_units: Count = 64
    weight_power: Annotated[float, between(0, 1, "(0: all alike, 1: by size)")] = 0.5
    cache_bytes: Count = 1 << 30
    prefetch: Count = 2
    workers: Annotated[int, between(0, 256)] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.bin_widths or any(not 1e-4 <= w <= 3600 for w in self.bin_widths):
            raise ConfigError(f"bin_widths is {self.bin_widths}: one or more, each from 0.0001 to 3600 seconds")
