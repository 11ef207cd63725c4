"""Settings of simulated voltage. Quick to import."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from foundation.common.errors import ConfigError
from foundation.common.settings.setting_checks import check_local
from foundation.common.settings.setting_limits import Count, Limited, Natural, Positive, Share, above, between, one_of
from ingest.simulate.simulate_settings import Folder, Name

CHANNELS = {"electrode": 1, "tetrode": 4, "probe": 32}


@dataclass(frozen=True)
class SessionSettings(Limited):
    """One session: its electrodes, units and noise.

    Args:
        seconds: length.
        sampling_rate: Hz.
        electrodes: ``electrode`` (one channel), ``tetrode`` (four, 25 µm apart) or ``probe`` (32 in two columns).
        templates: .npz files with ``waveforms`` (N, T) and ``true_class`` (N,), and ``sample_rate`` where it is known:
            the mean of each class is a unit's waveform. Empty: waveforms of a parametric family.
        template_rate: Hz, of files that hold no ``sample_rate``.
        min_snr, max_snr: a unit's SNR is drawn between the two, evenly in its logarithm. SNR is the size of the peak of
            the unit's mean waveform over the standard deviation of the background (median of its size / 0.6745).
        min_rate, max_rate: Hz, of a unit; drawn evenly between the two.
        refractory: seconds, the shortest interval of a unit.
        bursting: share of the units that fire bursts of 2 to 5 spikes, each 15 % smaller than the one before.
        drift: maximum relative change of a unit's amplitude over the session, up or down.
        background_units: small distant units that make the background.
        background_rate: Hz, of each of them.
        near_units, near_snr, near_rate: multi-unit activity: indistinguishable units of one small amplitude. They are
            not units of the ground truth.
        electronic_noise: white noise, as a share of the background's standard deviation.
        noise: µV, standard deviation of the background.

    Raises:
        ConfigError: if a value is invalid.
    """

    section = "session."
    seconds: Annotated[float, between(1, 86_400)] = 600.0
    sampling_rate: Annotated[float, between(5_000, 100_000, "Hz")] = 24_000.0
    electrodes: Annotated[str, one_of(*CHANNELS)] = "electrode"
    templates: list[str] = field(default_factory=list)
    template_rate: Positive = 24_000.0
    min_snr: Positive = 3.0
    max_snr: Positive = 15.0
    min_rate: Positive = 0.2
    max_rate: Positive = 2.0
    refractory: Annotated[float, between(0, 0.1, "seconds")] = 0.002
    bursting: Share = 0.0
    drift: Annotated[float, between(0, 0.9)] = 0.0
    background_units: Count = 600
    background_rate: Positive = 20.0
    near_units: Natural = 20
    near_snr: Positive = 2.5
    near_rate: Positive = 1.0
    electronic_noise: Annotated[float, between(0, 10)] = 0.2
    noise: Annotated[float, above(0, "µV")] = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("snr", "rate"):
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if high < low:
                raise ConfigError(f"session.max_{name} is {high:g}: expected at least session.min_{name}, {low:g}")
        if self.refractory * self.max_rate >= 0.5:
            most = 0.5 / self.refractory
            raise ConfigError(f"session.max_rate is {self.max_rate:g}: expected below 0.5 / refractory, {most:g}")

    @property
    def channels(self) -> int:
        """Number of channels."""
        return CHANNELS[self.electrodes]


@dataclass(frozen=True)
class VoltageSettings(Limited):
    """Sessions of voltage with known units, one NWB file each.

    Args:
        output: output folder, created if missing.
        min_units, max_units: there are sessions of every number of units from one to the other.
        sessions_each: sessions of each number of units; 2 to 20 units and 5 of each are 95 sessions.
        session: of all sessions.
        name: prefix of subjects' names.
        seed: random seed; a session depends on the seed, its number of units and its own number only.

    Example:
        >>> VoltageSettings("simulated").number_of_sessions
        95
    """

    output: Folder
    min_units: Natural = 2
    max_units: Natural = 20
    sessions_each: Count = 5
    session: SessionSettings = field(default_factory=SessionSettings)
    name: Name = "voltage"
    seed: Natural = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_local(output=self.output)
        if self.max_units < self.min_units:
            raise ConfigError(f"max_units is {self.max_units}: expected at least min_units, {self.min_units}")

    @property
    def number_of_sessions(self) -> int:
        """Number of files."""
        return (self.max_units - self.min_units + 1) * self.sessions_each
