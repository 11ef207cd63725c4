"""Recipes: which column, table or series of an NWB file means what.

Every list of names in a recipe holds regular expressions that must match a whole name, upper and lower case alike.
Lists are in order of preference: the first expression that finds something wins. A recipe may say ``extends: default``
(or another recipe's name, or a file beside it) and hold only what differs; ``...`` in a list stands for the items of
the recipe that it extends.
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
from foundation.resources import config_names, find_config
from ingest.control import ControlRules

# Goes into the digest: a reader that gives other recordings from the same file and recipe takes the next number.
READER_VERSION = 2
ATLASES = ("auto", "allen_ccf", "none")
# In a list of a recipe that extends another, this stands for the items of the other.
INHERITED = "..."
# What says nothing of how a file is read.
_ABOUT = ("description", "verified", "dandisets")


@dataclass(frozen=True)
class UnitRules:
    """What the columns of the units table (or of a table of imaged cells) mean.

    Args:
        cell_type: columns that hold the cell type.
        location: columns that hold the brain region; where they are silent the electrodes' location counts.
        quality: columns that hold the sorting quality.
        group: columns that hold the shank or electrode group; where they are silent the electrodes' group counts.
        probe: columns that hold the probe; where they are silent the device of the electrodes' group counts.
        electrodes: columns that say which electrodes a unit was seen on: rows of the electrodes table, or their ids.
        electrode_columns: columns of the electrodes table that units take over from their electrodes: the mean of
            numbers, the most frequent of texts.
        array_size: columns with an array in each row are kept up to this many values a row.
        location_patterns: expressions searched in a location's text; the first group of the first hit is the region.
        missing: texts that mean "not known" in cell_type, location, quality and group.
        drop: columns that are never kept.
    """

    cell_type: list[str] = field(default_factory=list)
    location: list[str] = field(default_factory=list)
    quality: list[str] = field(default_factory=list)
    group: list[str] = field(default_factory=list)
    probe: list[str] = field(default_factory=list)
    electrodes: list[str] = field(default_factory=list)
    electrode_columns: list[str] = field(default_factory=list)
    array_size: int = 1024
    location_patterns: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    drop: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.array_size < 0:
            raise ConfigError(f"units.array_size is {self.array_size}: allowed is 0 (no arrays) or more")


@dataclass(frozen=True)
class RegionRules:
    """How the names of brain regions become those of an atlas.

    Args:
        atlas: ``auto`` (the Allen CCF for mice, none for other animals), ``allen_ccf`` or ``none``.
        names: acronym of the atlas -> texts of ``location`` that mean it.
    """

    atlas: str = "auto"
    names: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.atlas not in ATLASES:
            raise ConfigError(f"regions.atlas is {self.atlas!r}: allowed are {', '.join(map(repr, ATLASES))}")


@dataclass(frozen=True)
class ActivityRules:
    """Which series hold sampled activity of a population, (time, unit).

    Args:
        types: neurodata types that always do.
        names: names of plain TimeSeries that do.
        prefer: where several do: paths (``processing/ophys/DfOverF/...``) in order of preference.
        join_planes: series that are preferred alike and have cells of their own (imaging planes) become one population
            if they were sampled together.
        count_units: units of measure that say that samples are counts of events.
        count_names: names that say so.
        location_patterns: expressions searched in the series' comments; the first group is the region of all units.
    """

    types: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    prefer: list[str] = field(default_factory=list)
    join_planes: bool = True
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
        description: a line for people; it does not change what is read, nor do the next two.
        verified: whether the recipe was tried on the real files of its dandisets.
        dandisets: the dandisets that it was written for.
        units, regions, activity, behavior, trials, states, resolution, control: the rules.

    Example:
        >>> load_recipe("default").trials.tables
        ['trials']
    """

    description: str = ""
    verified: bool = False
    dandisets: list[str] = field(default_factory=list)
    units: UnitRules = UnitRules()
    regions: RegionRules = RegionRules()
    activity: ActivityRules = ActivityRules()
    behavior: BehaviorRules = BehaviorRules()
    trials: TrialRules = TrialRules()
    states: StateRules = StateRules()
    resolution: ResolutionRules = ResolutionRules()
    control: ControlRules = ControlRules()

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits: equal rules, equal digest, however the file is laid out."""
        rules = {name: rule for name, rule in asdict(self).items() if name not in _ABOUT}
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
        recipe: Recipe = _build(Recipe, _content(path), "")
    except ConfigError as error:
        raise ConfigError(f"recipe {path}: {error}") from error
    return recipe


def recipe_for(dandiset: str) -> str:
    """The name of the shipped recipe that was written for a dandiset; ``default`` where none was.

    Args:
        dandiset: its six digits.

    Example:
        >>> recipe_for("000688"), recipe_for("999999")
        ('dandi-000688', 'default')
    """
    for name in config_names("recipes"):
        content = yaml.safe_load(find_config(name).read_text(encoding="utf-8"))
        if dandiset in (content or {}).get("dandisets", []):
            return name.removeprefix("recipes/")
    return "default"


def _content(path: Path, above: tuple[Path, ...] = ()) -> Any:
    """What a recipe's file says, on top of what the one says that it extends."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    base: Any = {}
    if isinstance(content, dict) and "extends" in content:
        name = content.pop("extends")
        if not isinstance(name, str):
            raise ConfigError(f"extends is {name!r}: allowed is the name of a recipe or a file")
        found = find_config(path.parent / name if (path.parent / name).is_file() else name, "recipes").resolve()
        if found in above or found == path.resolve():
            raise ConfigError(f"extends is {name!r}, which extends this recipe in turn")
        base = _content(found, (*above, path.resolve()))
        for about in _ABOUT:
            base.pop(about, None)
    return _merged(base, content)


def _merged(base: Any, content: Any) -> Any:
    """``content`` on top of ``base``: mappings are merged, anything else takes the place of what was there."""
    if isinstance(content, dict):
        known = base if isinstance(base, dict) else {}
        return known | {name: _merged(known.get(name), item) for name, item in content.items()}
    if isinstance(content, list) and INHERITED in content:
        place = content.index(INHERITED)
        return [*content[:place], *(base if isinstance(base, list) else []), *content[place + 1 :]]
    return content


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
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML takes 1e-3 for a text
        except ValueError:
            pass
    if hint is str and isinstance(value, str):
        return value
    allowed = {float: "a number", int: "a whole number", bool: "true or false"}.get(hint, "a text")
    raise ConfigError(f"{key} is {value!r}: allowed is {allowed}")


def _compile(pattern: str, key: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"{key}: {pattern!r} is not a regular expression ({error})") from error
