"""Settings of spike sorting. Quick to import."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Annotated

from foundation.common.digests import json_digest
from foundation.common.errors import ConfigError
from foundation.common.settings.setting_checks import check_local
from foundation.common.settings.setting_limits import (
    Count,
    CountOrNone,
    Limited,
    Natural,
    NonNegative,
    Positive,
    above,
    at_least,
    one_of,
)
from ingest.sorting.clustering.cluster_settings import RECIPES, ClusterSettings

SIGNS = ("auto", "negative", "positive", "both")
SWITCH = ("auto", "on", "off")


@dataclass(frozen=True)
class FilterSettings(Limited):
    """Cleaning of the voltage.

    Args:
        low, high: Hz of the band; high is lowered to 0.45 of the sampling rate.
        order: of the Butterworth filter, which runs forwards and backwards.
        reference: subtract the median of all channels of a group: ``auto`` does so from 16 channels on.
        whiten: remove noise shared by neighbouring channels: ``auto`` does so for groups of two channels or more.
    """

    section = "filter."
    low: Positive = 300.0
    high: Positive = 6000.0
    order: Count = 3
    reference: Annotated[str, one_of(*SWITCH)] = "auto"
    whiten: Annotated[str, one_of(*SWITCH)] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low >= self.high:
            raise ConfigError(f"filter.low is {self.low:g} and filter.high {self.high:g}: expected low below high")


@dataclass(frozen=True)
class DetectionSettings(Limited):
    """Detection of spikes.

    Args:
        method: ``threshold`` of the voltage, or of the nonlinear ``energy`` operator.
        threshold: threshold in units of the noise, ``median(|x|) / 0.6745`` (Quiroga et al. 2004).
        sign: of the peaks; ``auto`` takes the side with the larger deviations.
        dead_time: ms around a peak in which smaller peaks at the same place are ignored.
    """

    section = "detection."
    method: Annotated[str, one_of("threshold", "energy")] = "threshold"
    threshold: Positive = 4.0
    sign: Annotated[str, one_of(*SIGNS)] = "auto"
    dead_time: Annotated[float, above(0, "ms", high=10)] = 0.5


@dataclass(frozen=True)
class WindowSettings(Limited):
    """Windows around peaks.

    Args:
        window: ms.
        before: ms before the peak.
        samples: number of samples of a resampled window.
        radius: µm around a channel within which other channels see its spikes.
        max_channels: maximum channels of a window: the nearest.
    """

    section = "windows."
    window: Annotated[float, above(0, "ms", high=20)] = 2.0
    before: Annotated[float, above(0, "ms", high=20)] = 0.8
    samples: Annotated[int, at_least(8)] = 39
    radius: Positive = 100.0
    max_channels: Count = 12

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.before >= self.window:
            raise ConfigError(f"windows.before is {self.before:g} ms: expected below window, {self.window:g} ms")


@dataclass(frozen=True)
class MatchingSettings(Limited):
    """Template matching, and merging of units.

    Args:
        overlaps: resolve overlapping spikes by template matching.
        drift: seconds per template period, with interpolation between periods. 0: one template for the whole recording.
        merge: merge units that are alike and do not fire together.
        similarity: minimum correlation of templates for merging two units.
        threshold: of the peaks that templates are compared with, in units of the noise, where a channel has
            neighbours: a unit that several channels see is certain although its peak on each is below the threshold of
            detection. A channel of its own keeps the threshold of detection.
        min_snr: minimum peak of a unit's template over the noise of its channel. Smaller units take part in matching
            but are left out.
        min_detectability: minimum norm of a unit's template in white voltage; smaller units are left out too: distant
            neurons cannot be distinguished there.
        min_spikes: minimum spikes of a unit.
        min_rate: minimum spikes per second of a unit.
    """

    section = "matching."
    overlaps: bool = True
    drift: NonNegative = 60.0
    merge: bool = True
    similarity: Annotated[float, above(0, high=1)] = 0.95
    threshold: Positive = 3.0
    min_snr: NonNegative = 2.5
    min_detectability: NonNegative = 6.0
    min_spikes: Natural = 20
    min_rate: NonNegative = 0.02


@dataclass(frozen=True)
class SortSettings(Limited):
    """Settings of a sorting.

    Args:
        recipe: of the clustering: v0 to v3, or pca.
        n_units: number of units of each neighbourhood; null: the recipe finds it.
        filter: cleaning of the voltage.
        detection: detection of spikes.
        windows: windows around peaks.
        clustering: options of the recipes.
        matching: template matching and merging.
        max_spikes: maximum spikes of a neighbourhood to cluster, spread over the recording (the number of each
            second is rounded up); the others are assigned.
        chunk: seconds read at a time; null: as many as fit into ``memory``.
        memory: MB of voltage in memory at a time.
        seed: random seed.
    """

    recipe: Annotated[str, one_of(*RECIPES)] = "v3"
    n_units: CountOrNone = None
    filter: FilterSettings = field(default_factory=FilterSettings)
    detection: DetectionSettings = field(default_factory=DetectionSettings)
    windows: WindowSettings = field(default_factory=WindowSettings)
    clustering: ClusterSettings = field(default_factory=ClusterSettings)
    matching: MatchingSettings = field(default_factory=MatchingSettings)
    max_spikes: Annotated[int, at_least(100)] = 20_000
    chunk: CountOrNone = None
    memory: Positive = 256.0
    seed: Natural = 0


def sorted_digest(recipe_digest: str, settings: SortSettings) -> str:
    """Return the recipe part of a sorted recording's id: other settings give another id.

    ``chunk`` and ``memory`` do not affect the result and are left out.
    """
    how = {name: value for name, value in asdict(settings).items() if name not in ("chunk", "memory")}
    return json_digest([recipe_digest, how])


@dataclass(frozen=True)
class RawSettings(Limited):
    """Layout of a plain binary file. All channels of a sample are adjacent.

    A file ``info.json`` or ``<file>.json`` beside it with ``sample_rate``, ``shape`` and ``dtype`` works as well.

    Args:
        sampling_rate: Hz.
        dtype: of a number: int16, uint16, int32, float32 or float64, little-endian unless it begins with ``>``.
        channels: numbers of a sample.
        gain: µV of a step.
        offset: µV of a stored 0.
        header: bytes before the first sample.
        cut: leave out an unfinished sample at the end of the file, instead of refusing it.
        group_size: channels of a group: 1 for single electrodes, 4 for tetrodes; null: one group.
        probe: a probeinterface JSON file with the positions of the channels.
        stream: number of the stream to sort, in neo formats with several streams.
        series: path of the ElectricalSeries in an NWB file, such as acquisition/raw; null: the fastest.
    """

    section = "raw."
    sampling_rate: Annotated[float | None, above(0, "Hz")] = None
    dtype: str | None = None
    channels: CountOrNone = None
    gain: float | None = None
    offset: float = 0.0
    header: Natural = 0
    cut: bool = False
    group_size: CountOrNone = None
    probe: str | None = None
    stream: Natural = 0
    series: str | None = None


@dataclass(frozen=True)
class SortCommand(SortSettings):
    """Input and output of a sorting.

    Args:
        input: an NWB file, a plain binary file, or a recording in a format that neo reads.
        output: a folder: units.nwb, phy/, report.html, and work/ until it is finished.
        store: a store that also gets the sorted recording.
        raw: layout of a plain binary file.
        report: write report.html.
    """

    input: str = ""
    output: str = ""
    store: str | None = None
    raw: RawSettings = field(default_factory=RawSettings)
    report: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_local(output=self.output)
        for key in ("input", "output"):
            if not getattr(self, key).strip():
                raise ConfigError(f"{key} is {getattr(self, key)!r}: expected a path")
