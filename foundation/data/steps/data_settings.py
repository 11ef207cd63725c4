"""Settings of the windows in a step of pretraining."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from foundation.common.errors import ConfigError
from foundation.common.extensions.named_classes import allowed_forms, is_class_name
from foundation.common.settings.setting_limits import Count, Limited, at_least, between

WINDOWS = 3  # increased whenever a seed draws different windows than before: older runs cannot be resumed


@dataclass(frozen=True)
class OwnWindows(Limited):
    """Settings of one objective's separate windows; null settings are those of `DataSettings`.

    Args:
        bin_widths: seconds of a bin.
        tokens_per_step: budget of the objective's windows, in addition to that of the others.
        min_windows: minimum number of windows in a batch.
        max_units: maximum number of units of a window.
        min_units: recordings with fewer units are not drawn, unless all have fewer.
        weight_power: a recording is drawn with (units x observed seconds) to this power,
        unit_power: times its units to this power: 1 with a ``weight_power`` of 0 draws it by its units alone.

    Raises:
        ConfigError: if a value is invalid.
    """

    section = "data.own_windows."
    bin_widths: list[float] | None = None
    tokens_per_step: Annotated[int | None, at_least(1)] = None
    min_windows: Annotated[int | None, at_least(1)] = None
    max_units: Annotated[int | None, at_least(1)] = None
    min_units: Annotated[int | None, at_least(1)] = None
    weight_power: Annotated[float | None, between(0, 1, "(0: equal chances, 1: by size)")] = None
    unit_power: Annotated[float | None, between(0, 2)] = None


@dataclass(frozen=True)
class SamplerSettings:
    """Settings of your own sampler, which chooses recordings and times of windows.

    Args:
        name: a subclass of `foundation.data.StepPlan` as ``mylab.sampling:Trials`` or ``sampling.py:Trials``, or the
            entry point of an installed package; empty: `StepPlan` itself.
        settings: of that class, the fields of its ``settings_class``.

    Raises:
        ConfigError: if the name is not a sampler's, or there are settings without a custom sampler.
    """

    name: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name and not is_class_name("sampler", self.name):
            raise ConfigError(f"data.sampler.name is {self.name!r}: expected {allowed_forms('sampler')}")
        if self.settings and not self.name:
            raise ConfigError(f"data.sampler.settings has {', '.join(self.settings)}: expected data.sampler.name too")


@dataclass(frozen=True)
class DataSettings(Limited):
    """Settings of the windows in a step.

    Args:
        bin_widths: seconds of a bin. A recording uses those at which a token is no shorter than its own resolution and
            the shortest view fits its observed time.
        tokens_per_step: budget of the global batch: units x tokens, summed over windows and views.
        min_windows: minimum number of windows in a batch; at most this many processes can share a step.
        max_units: maximum number of units of a window; a new subset is drawn from larger populations each time.
        min_units: recordings with fewer units are not drawn, unless all have fewer: two units say little about a
            population.
        weight_power: a recording is drawn with (units x observed seconds) to this power,
        unit_power: times its units to this power: 1 with a ``weight_power`` of 0 draws it by its units alone.
        cache_bytes: bytes of decoded activity held in memory, per process (and per worker); see docs/data.md.
        prefetch: batches prepared in advance (by each worker).
        workers: processes that read and bin; 0: a thread beside the training step.
        held_out_time: recording id -> ``[start, end]`` seconds of each interval that training leaves out: no window
            touches it, and rates of units are measured without it.
        held_out_gap: seconds that windows keep from held-out time; null: the longest window of the recording.
        own_windows: name of an objective -> its separate windows, if objectives are summed: for example windows of
            seconds for single units beside those for whole populations. Other objectives share the windows above.
        sampler: your own sampler.

    Raises:
        ConfigError: if a value is invalid.
    """

    bin_widths: list[float] = field(default_factory=lambda: [0.005, 0.025, 1.0])
    tokens_per_step: Count = 16384
    min_windows: Count = 4
    max_units: Count = 64
    min_units: Count = 1
    weight_power: Annotated[float, between(0, 1, "(0: equal chances, 1: by size)")] = 0.5
    unit_power: Annotated[float, between(0, 2)] = 0.0
    cache_bytes: Count = 1 << 30
    prefetch: Count = 2
    workers: Annotated[int, between(0, 256)] = 0
    held_out_time: dict[str, list[list[float]]] = field(default_factory=dict)
    held_out_gap: Annotated[float | None, at_least(0)] = None
    own_windows: dict[str, OwnWindows] = field(default_factory=dict)
    sampler: SamplerSettings = field(default_factory=SamplerSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, spans in self.held_out_time.items():
            for span in spans:
                if len(span) != 2 or not all(map(math.isfinite, span)) or not span[0] < span[1]:
                    raise ConfigError(
                        f"data.held_out_time has {span} for {name!r}: expected [start, end], finite seconds with "
                        "start before end"
                    )
            if not spans:
                raise ConfigError(f"data.held_out_time has no interval for {name!r}: expected [start, end] pairs")
        if not self.bin_widths or any(not 1e-4 <= w <= 3600 for w in self.bin_widths):
            raise ConfigError(
                f"bin_widths is {self.bin_widths}: expected one or more, each from 0.0001 to 3600 seconds"
            )
        for name in self.own_windows:
            self.of(name)

    def of(self, name: str) -> DataSettings:
        """Return the settings of an objective's separate windows.

        Example:
            >>> settings = DataSettings(own_windows={"masked": OwnWindows(bin_widths=[0.1])})
            >>> settings.of("masked").bin_widths, settings.of("masked").max_units
            ([0.1], 64)
        """
        own = {key: value for key, value in vars(self.own_windows[name]).items() if value is not None}
        return replace(self, own_windows={}, **own)
