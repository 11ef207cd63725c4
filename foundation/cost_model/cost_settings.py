"""Settings of `foundation plan`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any

from foundation.common.errors import ConfigError
from foundation.common.settings.setting_limits import Count, Limited, Positive, one_of
from foundation.training.pretrain_settings import PretrainSettings


@dataclass(frozen=True)
class ArchiveSettings(Limited):
    """Settings of an archive of similar recordings, from which a run draws.

    Args:
        recordings: number of recordings.
        units: units of each recording.
        seconds: duration of each recording.
        rate: spikes per second of a unit.
        bytes_per_spike: in the store, compressed (docs/benchmarks/store-layout.md has 1.9 to 5.3).

    Raises:
        ConfigError: if a value is invalid.
    """

    section = "archive."
    recordings: Count = 1_000_000
    units: Count = 163
    seconds: Positive = 3600.0
    rate: Positive = 5.0
    bytes_per_spike: Positive = 2.2

    @property
    def spikes(self) -> float:
        """Number of spikes of one recording."""
        return self.units * self.rate * self.seconds

    @property
    def block_seconds(self) -> float:
        """Return the seconds of one block of spikes."""
        from foundation.store.format.spike_blocks import SPIKES_PER_BLOCK

        return min(SPIKES_PER_BLOCK / (self.units * self.rate), self.seconds)


@dataclass(frozen=True)
class PlanSettings(PretrainSettings):
    """Settings of `foundation plan`: the settings of a run (`PretrainSettings`), and the hardware to plan for.

    Args:
        store: ignored; ``archive`` describes the recordings.
        output: ignored.
        nodes: number of machines.
        gpus: devices per machine; one process runs on each device.
        hardware: name of a description, such as ``h100``, a YAML file, or ``this-machine``, which is measured now.
        batch: ``device``: ``data.tokens_per_step`` is each device's share, so that a step grows with the number of
            devices; ``step``: it is the total of the step, as in `foundation pretrain`.
        archive: the recordings.

    Raises:
        ConfigError: if a value is invalid.
    """

    store: str = ""
    output: str = ""
    nodes: Count = 1
    gpus: Count = 8
    hardware: str = "h100"
    batch: Annotated[str, one_of("device", "step")] = "device"
    archive: ArchiveSettings = field(default_factory=ArchiveSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nodes * self.gpus > 65_536:
            raise ConfigError(f"nodes is {self.nodes} and gpus {self.gpus}: expected at most 65536 devices in all")

    def run(self) -> PretrainSettings:
        """Return the run with the global step of all devices."""
        world = self.nodes * self.gpus
        plain = {f.name: getattr(self, f.name) for f in fields(PretrainSettings)}
        if self.batch == "device":
            own = {name: _times(one, world) for name, one in self.data.own_windows.items()}
            plain["data"] = replace(_times(self.data, world), own_windows=own)
        elif world > self.data.min_windows:
            raise ConfigError(
                f"nodes is {self.nodes} and gpus {self.gpus}: expected at most "
                f"data.min_windows={self.data.min_windows} devices in all, so that each has a window; give batch: "
                "device, or raise data.min_windows and data.tokens_per_step"
            )
        return PretrainSettings(**plain)


def _times(settings: Any, world: int) -> Any:
    """Return `DataSettings` or `OwnWindows` with the budget of a number of devices."""
    numbers = {name: getattr(settings, name) for name in ("tokens_per_step", "min_windows")}
    return replace(settings, **{name: None if n is None else n * world for name, n in numbers.items()})
