"""Recipes: which column, table or series of an NWB file means what.

Every list of names in a recipe holds regular expressions that must match a whole name, upper and lower case alike.
Lists are in order of preference: the first expression that finds something wins.
"""

from __future__ import annotations

import hashlib
import json
import re
import types
import typing
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from foundation.errors import ConfigError
from foundation.resources import find_config

# Goes into the digest: a reader that gives other recordings from the same file and recipe takes the next number.
READER_VERSION = 1


@dataclass(frozen=True)
class UnitRules:
    """What the columns of the units table (or of a table of imaged cells) mean.

    Args:
        cell_type: columns that hold the cell type.
        location: columns that hold the brain region; where they are silent the electrodes' location counts.
        quality: columns that hold the sorting quality.
        group: columns that hold the probe or shank; where they are silent the electrodes' group counts.
        location_patterns: expressions searched in a location's text; the first group of the first hit is the region.
        missing: texts that mean "not known" in cell_type, location, quality and group.
        drop: columns that are never kept.
    """

    cell_type: list[str] = field(default_factory=list)
    location: list[str] = field(default_factory=list)
    quality: list[str] = field(default_factory=list)
    group: list[str] = field(default_factory=list)
    location_patterns: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    drop: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ActivityRules:
    """Which series hold sampled activity of a population, (time, unit).

    Args:
        types: neurodata types that always do.
        names: names of plain TimeSeries that do.
        prefer: where several do: paths (``processing/ophys/DfOverF/...``) in order of preference.
        count_units: units of measure that say that samples are counts of events.
        count_names: names that say so.
        location_patterns: expressions searched in the series' comments; the first group is the region of all units.
    """

    types: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    prefer: list[str] = field(default_factory=list)
    count_units: list[str] = field(default_factory=list)
    count_names: list[str] = field(default_factory=list)
    location_patterns: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class BehaviorRules:
    """Which series are behaviour, and their standard names.

    Args:
        names: standard name -> names of series; a series that none matches keeps its own name.
        drop: names of series that are never kept.
        max_rate: samples per second above which a series is a raw signal rather than behaviour.
    """

    names: dict[str, list[str]] = field(default_factory=dict)
    drop: list[str] = field(default_factory=list)
    max_rate: float = 2000.0

    def __post_init__(self) -> None:
        if not self.max_rate > 0:
            raise ConfigError(f"behavior.max_rate is {self.max_rate}: allowed is a number of Hz above 0")


@dataclass(frozen=True)
class TrialRules:
    """The table of trials.

    Args:
        tables: names of tables that hold trials.
        direction: numeric columns that hold the direction of movement.
        direction_unit: ``radians`` or ``degrees``; the standard column ``direction`` is in radians.
    """

    tables: list[str] = field(default_factory=list)
    direction: list[str] = field(default_factory=list)
    direction_unit: str = "radians"

    def __post_init__(self) -> None:
        if self.direction_unit not in ("radians", "degrees"):
            raise ConfigError(f"trials.direction_unit is {self.direction_unit!r}: allowed are 'radians' and 'degrees'")


@dataclass(frozen=True)
class StateRules:
    """The table of the animal's states.

    Args:
        tables: names of tables that hold states, if they have one of ``columns``.
        columns: columns that hold the state.
        names: standard name -> texts that mean it; a text that none matches stays as it is.
    """

    tables: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    names: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class ResolutionRules:
    """Below how many seconds spike times mean nothing.

    Args:
        seconds: a fixed number for every file; None: what the file says.
        patterns: expressions searched in the session's description, with a group named ``s`` or ``ms`` for the number.
    """

    seconds: float | None = None
    patterns: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.seconds is not None and not self.seconds >= 0:
            raise ConfigError(f"resolution.seconds is {self.seconds}: allowed is 0 (exact) or more, or null")
        for pattern in self.patterns:
            groups = set(_compile(pattern, "resolution.patterns").groupindex)
            if len(groups & {"s", "ms"}) != 1:
                raise ConfigError(f"resolution.patterns: {pattern!r} needs one group named (?P<s>...) or (?P<ms>...)")


@dataclass(frozen=True)
class Recipe:
    """Which column, table or series of a file means what.

    Args:
        description: a line for people; it does not change what is read.
        units, activity, behavior, trials, states, resolution: the rules.

    Example:
        >>> load_recipe("default").trials.tables
        ['trials']
    """

    description: str = ""
    units: UnitRules = UnitRules()
    activity: ActivityRules = ActivityRules()
    behavior: BehaviorRules = BehaviorRules()
    trials: TrialRules = TrialRules()
    states: StateRules = StateRules()
    resolution: ResolutionRules = ResolutionRules()

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits: equal rules, equal digest, however the file is laid out."""
        rules = {name: rule for name, rule in asdict(self).items() if name != "description"}
        return hashlib.sha256(json.dumps([READER_VERSION, rules], sort_keys=True).encode()).hexdigest()[:16]


def load_recipe(name: str | Path) -> Recipe:
    """Read a recipe.

    Args:
        name: a YAML file, or the name of a shipped recipe such as ``default``.

    Raises:
        ConfigError: if there is no such recipe, or a key, a type or a value in it is wrong.
    """
    path = find_config(name, "recipes")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"recipe {path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    try:
        recipe: Recipe = _build(Recipe, {} if content is None else content, "")
    except ConfigError as error:
        raise ConfigError(f"recipe {path}: {error}") from error
    return recipe


def _build(kind: Any, value: Any, key: str) -> Any:
    if not isinstance(value, dict):
        raise ConfigError(f"{key or 'the recipe'} is {value!r}: allowed is a mapping of keys to values")
    hints = typing.get_type_hints(kind)
    allowed = [f.name for f in fields(kind)]
    for name in value:
        if name not in allowed:
            raise ConfigError(f"unknown key {f'{key}.{name}'.lstrip('.')!r}: allowed are {', '.join(allowed)}")
    return kind(**{name: _typed(hints[name], item, f"{key}.{name}".lstrip(".")) for name, item in value.items()})


def _typed(hint: Any, value: Any, key: str) -> Any:
    if is_dataclass(hint):
        return _build(hint, value, key)
    origin = typing.get_origin(hint)
    if origin is types.UnionType:  # float | None
        return None if value is None else _typed(typing.get_args(hint)[0], value, key)
    if origin is list:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigError(f"{key} is {value!r}: allowed is a list of texts")
        for item in value:
            _compile(item, key)
        return value
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{key} is {value!r}: allowed is a mapping of names to lists of texts")
        return {str(name): _typed(list[str], item, f"{key}.{name}") for name, item in value.items()}
    if hint is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML takes 1e-3 for a text
        except ValueError:
            pass
    if hint is str and isinstance(value, str):
        return value
    raise ConfigError(f"{key} is {value!r}: allowed is {'a number' if hint is float else 'a text'}")


def _compile(pattern: str, key: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"{key}: {pattern!r} is not a regular expression ({error})") from error
