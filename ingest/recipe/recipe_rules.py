"""The rules of a recipe: the meaning of columns, tables and series, and which units to drop."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields
from typing import Annotated, Any

from foundation.common.errors import ConfigError
from foundation.common.settings.renamed_settings import renamed
from foundation.common.settings.setting_limits import Limited, Natural, above, between, finite, one_of
from ingest.recipe.pattern_cost import takes_long

ATLASES = ("auto", "allen_ccf", "none")
Duration = Annotated[float, finite(low_too=False)]
ShareOrNone = Annotated[float | None, between(0, 1)]


class Rules(Limited):
    """Base of a recipe's rules; ``section`` is their key in the recipe.

    Raises:
        ConfigError: if a value is out of range, or a text in a list is not a regular expression.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        check_patterns(self.section.rstrip("."), self)


@dataclass(frozen=True)
class UnitRules(Rules):
    """Meaning of the columns of the units table (or a table of imaged cells).

    Args:
        tables: which table to take if several have spike times: paths (``processing/ecephys/units``) in order of
            preference; empty: the file's own ``units``, else the first.
        events: names or paths of threshold crossings (SpikeEventSeries) and detected events (EventDetection) that are
            read as spikes where a file has no units table.
        cell_type: columns that hold the cell type.
        location: columns that hold the brain region; if empty, the electrodes' location is used.
        quality: columns that hold the sorting quality.
        group: columns that hold the shank or electrode group; if empty, the electrodes' group is used.
        probe: columns that hold the probe; if empty, the device of the electrodes' group is used.
        electrodes: columns with the electrodes of each unit: rows of the electrodes table, or their ids.
        electrode_columns: columns of the electrodes table that units take over from their electrodes: the mean of
            numbers, the most frequent of texts.
        array_size: maximum values per row of kept array columns.
        location_patterns: expressions searched in a location's text; the first group of the first hit is the region.
        missing: texts that mean "unknown" in cell_type, location, quality and group.
        drop: columns that are never kept.
    """

    section = "units."
    tables: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    cell_type: list[str] = field(default_factory=list)
    location: list[str] = field(default_factory=list)
    quality: list[str] = field(default_factory=list)
    group: list[str] = field(default_factory=list)
    probe: list[str] = field(default_factory=list)
    electrodes: list[str] = field(default_factory=list)
    electrode_columns: list[str] = field(default_factory=list)
    array_size: Natural = 1024
    location_patterns: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    drop: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class SpikeTimeRules(Rules):
    """Conversion of stored spike times to seconds from the session's start: ``time * scale + offset``.

    Args:
        scale: seconds of a stored 1: 0.001 for milliseconds, 3.3333333333333335e-05 for samples at 30 kHz. Where
            ``1 / scale`` is a whole number, times are divided by it.
        offset: seconds added after scaling.
        since_1970: true for times since 1970; the session's start is subtracted.
        trials: columns that hold the trial of each spike, for times that restart in every trial: rows of the table
            of trials, their ids, or their numbers from 1.
        check: warn about times that are unlikely to be seconds; with strict, refuse them.
    """

    section = "spike_times."
    scale: Annotated[float, finite(low_too=False)] = 1.0
    offset: Annotated[float, finite(-math.inf)] = 0.0
    since_1970: bool = False
    trials: list[str] = field(
        default_factory=lambda: ["(spike_?)?trials?(_?(ids?|numbers?|index|indices))?", "(spikes?_)?in_trials?"]
    )
    check: bool = True


@dataclass(frozen=True)
class RegionRules(Rules):
    """Mapping of brain region names to an atlas.

    Args:
        atlas: ``auto`` (the Allen CCF for mice, none for other animals), ``allen_ccf`` or ``none``.
        names: acronym of the atlas -> texts of ``location`` that mean it.
    """

    section = "regions."
    atlas: Annotated[str, one_of(*ATLASES)] = "auto"
    names: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class ActivityRules(Rules):
    """Series with sampled population activity, (time, unit).

    Args:
        types: neurodata types that always hold activity.
        names: names of plain TimeSeries that hold activity.
        prefer: preference among several: paths (``processing/ophys/DfOverF/...``) in order of preference.
        join_planes: equally preferred series with separate cells (imaging planes) become one population
            if they were sampled together.
        count_units: units of measure of event counts.
        count_names: names of series with event counts.
        missing: names of series -> numbers that stand for a missing sample in them, as in `BehaviorRules`.
        location_patterns: expressions searched in the series' comments; the first group is the region of all units.
    """

    section = "activity."
    types: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    prefer: list[str] = field(default_factory=list)
    join_planes: bool = True
    count_units: list[str] = field(default_factory=list)
    count_names: list[str] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)
    location_patterns: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_missing(self.missing, "activity.missing")


@dataclass(frozen=True)
class LayoutRules(Rules):
    """The time axis of series, for files that do not state it.

    Args:
        time_first: paths or names of series of (time, units) or (time, dimensions), as NWB has it.
        time_last: paths or names of series that are transposed.
    """

    section = "layout."
    time_first: list[str] = field(default_factory=list)
    time_last: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class BehaviorRules(Rules):
    """Behaviour series and their standard names.

    Args:
        names: standard name -> names of series; a series without a match keeps its own name.
        drop: names of series to drop.
        missing: names of series -> numbers that stand for a missing sample in them, as the file stores it (before its
            conversion); they become NaN.
        max_rate: samples per second above which a series is a raw signal rather than behaviour.
    """

    section = "behavior."
    names: dict[str, list[str]] = field(default_factory=dict)
    drop: list[str] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)
    max_rate: Annotated[float, above(0, "Hz")] = 2000.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_missing(self.missing, "behavior.missing")


@dataclass(frozen=True)
class TrialRules(Rules):
    """The table of trials.

    Args:
        tables: names of tables that hold trials.
        direction: numeric columns that hold the direction of movement.
        direction_unit: ``radians`` or ``degrees``; the standard column ``direction`` is in radians.
    """

    section = "trials."
    tables: list[str] = field(default_factory=list)
    direction: list[str] = field(default_factory=list)
    direction_unit: Annotated[str, one_of("radians", "degrees")] = "radians"


@dataclass(frozen=True)
class StateRules(Rules):
    """The table of behavioural states.

    Args:
        tables: names of state tables; they need one of ``columns``.
        columns: columns that hold the state.
        names: standard name -> texts that mean it; a text without a match is kept.
    """

    section = "states."
    tables: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    names: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class ObservedRules(Rules):
    """Which intervals do not count as observed, beside the file's ``invalid_times``.

    Args:
        exclude: tables of intervals or events, by the names that they have in the recording, that are taken out of the
            observed time: pulses of light that units were tagged with, for example.
        margin: seconds before and after each of them that are taken out too.
    """

    section = "observed."
    exclude: list[str] = field(default_factory=list)
    margin: Annotated[float, finite(0)] = 0.0


@dataclass(frozen=True)
class ResolutionRules(Rules):
    """Resolution of spike times in seconds.

    Args:
        seconds: fixed for every file; None: from the file.
        patterns: expressions searched in the session's description, with a group named ``s`` or ``ms`` for the number.
    """

    section = "resolution."
    seconds: Annotated[float | None, finite()] = None
    patterns: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        for pattern in self.patterns:
            groups = set(compiled(pattern, "resolution.patterns").groupindex)
            if len(groups & {"s", "ms"}) != 1:
                raise ConfigError(f"resolution.patterns: {pattern!r} needs one group named (?P<s>...) or (?P<ms>...)")


@dataclass(frozen=True)
class ControlRules(Rules):
    """Which units to drop, and how to measure quality. Keeps every unit by default.

    A unit with an unknown metric is kept and counted. A rule whose metric the file lacks altogether is not applied, and
    the recording says so.

    Args:
        min_rate: Hz over the observed time; null for no limit, as for all limits.
        min_presence: share of minutes of observed time with a spike, 0 to 1.
        max_isi_violations: share of inter-spike intervals below the refractory period, 0 to 1.
        max_contamination: estimated share of foreign spikes, 0 to 1.
        min_snr: signal-to-noise ratio, where the file gives one.
        max_amplitude_cutoff: estimated share of spikes missed, where the file gives it.
        quality: labels of sorting quality that are kept; empty for all. An unlabelled unit of a labelled file is kept
            only if an expression matches the empty text.
        snr: columns that hold the signal-to-noise ratio.
        amplitude_cutoff: columns that hold the share of spikes missed.
        refractory: seconds within which no neuron fires twice.
        presence_bin: bin of the presence ratio in seconds.
        silence: report silences of all units longer than this many seconds, if improbable at the population's rate and
            with five units or more.
        jump: report pauses of a regular series longer than this many seconds as clock jumps.
    """

    section = "control."
    min_rate: Annotated[float | None, finite()] = renamed("least_rate", None)
    min_presence: ShareOrNone = renamed("least_presence", None)
    max_isi_violations: ShareOrNone = renamed("most_isi_violations", None)
    max_contamination: ShareOrNone = renamed("most_contamination", None)
    min_snr: Annotated[float | None, finite(-math.inf)] = renamed("least_snr", None)
    max_amplitude_cutoff: ShareOrNone = renamed("most_amplitude_cutoff", None)
    quality: list[str] = field(default_factory=list)
    snr: list[str] = field(default_factory=lambda: ["snr", "signal_to_noise(_ratio)?", "waveform_snr"])
    amplitude_cutoff: list[str] = field(default_factory=lambda: ["amplitude_cutoff"])
    refractory: Duration = 0.0015
    presence_bin: Duration = 60.0
    silence: Duration = 10.0
    jump: Duration = 1.0


def check_missing(missing: dict[str, list[str]], key: str) -> None:
    """Raise a `ConfigError` unless the names are regular expressions and the values are numbers."""
    for name, values in missing.items():
        compiled(name, key)
        for value in values:
            try:
                float(value)
            except ValueError:
                raise ConfigError(f"{key}.{name} is {value!r}: expected numbers as texts") from None


def check_patterns(key: str, rules: Any) -> None:
    """Raise a `ConfigError` unless every text in the lists of some rules is a regular expression.

    Args:
        key: key of the rules in the recipe.
        rules: a dataclass with lists of texts, and mappings of names to lists.
    """
    for item in fields(rules):
        value = getattr(rules, item.name)
        lists = {f"{key}.{item.name}": value}
        if isinstance(value, dict):
            lists = {f"{key}.{item.name}.{name}": texts for name, texts in value.items()}
        for place, texts in lists.items():
            for text in texts if isinstance(texts, list) else ():
                compiled(text, place)


def compiled(pattern: str, key: str) -> re.Pattern[str]:
    """Compile a regular expression.

    Raises:
        ConfigError: naming the key, if it is invalid or slow on some texts.
    """
    try:
        expression = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ConfigError(f"{key}: {pattern!r} is not a regular expression ({error})") from error
    if takes_long(pattern, searched=key.endswith("patterns")):
        raise ConfigError(
            f"{key}: {pattern!r} is slow on some texts: expected no repetitions inside each other or one after "
            r"the other that match the same characters, such as \s*[^;]+\s*"
        )
    return expression
