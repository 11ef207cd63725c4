"""Recipes: which column, table or series of an NWB file means what.

Every list of names in a recipe holds regular expressions that must match a whole name, upper and lower case alike.
Lists are in order of preference: the first expression that finds something wins. A recipe may say ``extends: default``
(or another recipe's name, or a file beside it) and hold only what differs; ``...`` in a list stands for the items of
the recipe that it extends.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import typing
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from foundation.common.digests import json_digest
from foundation.common.errors import ConfigError, SourceError
from foundation.common.extensions.named_classes import find_class, is_class_name, plain_failure
from foundation.common.settings.command import parse_mapping
from foundation.common.settings.renamed_settings import current_names, former_names
from foundation.common.settings.resources import config_names, find_config
from foundation.store import Recording
from ingest.recipe.recipe_rules import (
    ActivityRules,
    BehaviorRules,
    ControlRules,
    LayoutRules,
    RegionRules,
    ResolutionRules,
    SpikeTimeRules,
    StateRules,
    TrialRules,
    UnitRules,
)

_PARSED: dict[str, Recipe] = {}
# Goes into the digest: a reader that gives other recordings from the same file and recipe takes the next number.
READER_VERSION = 3
# In a list of a recipe that extends another, this stands for the items of the other.
INHERITED = "..."
# Rules that came later: they go into the digest only where a recipe uses them, as recordings are known by it.
LATER = (
    "activity.missing",
    "layout",
    "spike_times",
    "units.events",
    "units.tables",
)
# What says nothing of how a file is read.
_ABOUT = ("description", "verified", "dandisets")
# The archive whose dandisets the shipped recipes were written for.
DANDI = "dandi"
# Ten times as fast where PyYAML has it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Recipe:
    """Which column, table or series of a file means what.

    Args:
        description: a line for people; it does not change what is read, nor do the next two.
        verified: whether the recipe was tried on the real files of its dandisets.
        dandisets: the dandisets of the archive ``dandi`` that it was written for.
        units, spike_times, regions, activity, layout, behavior, trials, states, resolution, control: the rules.

    Example:
        >>> load_recipe("default").trials.tables
        ['trials']
    """

    description: str = ""
    verified: bool = False
    dandisets: list[str] = field(default_factory=list)
    units: UnitRules = field(default_factory=UnitRules)
    spike_times: SpikeTimeRules = field(default_factory=SpikeTimeRules)
    regions: RegionRules = field(default_factory=RegionRules)
    activity: ActivityRules = field(default_factory=ActivityRules)
    layout: LayoutRules = field(default_factory=LayoutRules)
    behavior: BehaviorRules = field(default_factory=BehaviorRules)
    trials: TrialRules = field(default_factory=TrialRules)
    states: StateRules = field(default_factory=StateRules)
    resolution: ResolutionRules = field(default_factory=ResolutionRules)
    control: ControlRules = field(default_factory=ControlRules)

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits: equal rules, equal digest, however the file is laid out."""
        rules = {name: rule for name, rule in former_names(Recipe, asdict(self)).items() if name not in _ABOUT}
        unused = former_names(Recipe, asdict(Recipe()))
        for place, _, name in (key.rpartition(".") for key in LATER):
            here, there = (rules[place], unused[place]) if place else (rules, unused)
            if here[name] == there[name]:
                del here[name]
        return json_digest([READER_VERSION, rules])[:16]

    def amended(self, recording: Recording, nwb: Any) -> Recording | None:
        """Return the recording as it is stored: as it was read. Recipes in Python change it; see `CodedRecipe`."""
        return recording


@dataclass(frozen=True)
class CodedRecipe(Recipe):
    """The rules of a recipe in Python, and where its class is; see `ingest.recipe.own_recipe.OwnRecipe`.

    Args:
        name: of the class, as ``recipe`` has it.
        source: sha256 of the file of the class.
    """

    name: str = ""
    source: str = ""

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits: equal rules and equal Python, equal digest."""
        rules = Recipe(**{f.name: getattr(self, f.name) for f in fields(Recipe)})
        return json_digest([rules.digest, self.source])[:16]

    def amended(self, recording: Recording, nwb: Any) -> Recording | None:
        """Return what the class makes of a recording; None: the file is left out.

        Raises:
            SourceError: if the class fails, or gives something else.
        """
        try:
            with plain_failure(f"recipe {self.name} fails"):
                found = find_class("recipe", self.name, "recipe")().amend(recording, nwb)
        except ConfigError as error:
            raise SourceError(str(error)) from error
        if found is not None and not isinstance(found, Recording):
            raise SourceError(f"recipe {self.name} gave {type(found).__name__}: expected a Recording, or None")
        return found


def load_recipe(name: str | Path) -> Recipe:
    """Read a recipe.

    Args:
        name: a YAML file, the name of a shipped recipe such as ``default``, or a class of one's own (`OwnRecipe`).

    Raises:
        ConfigError: if there is no such recipe, or a key, a type or a value in it is wrong.
    """
    if is_class_name("recipe", str(name)):
        return _coded(str(name))
    path = find_config(name, "recipes")
    try:
        content = _content(path)
        _check_keys(Recipe, content)
        return _parsed(content)
    except ConfigError as error:
        raise ConfigError(f"recipe {path}: {error}") from error


def _coded(name: str) -> CodedRecipe:
    """The recipe of a class of one's own.

    Raises:
        ConfigError: if the class cannot be imported, or is no recipe.
    """
    kind = find_class("recipe", name, "recipe")
    with plain_failure(f"recipe is {name!r}, which cannot be made"):
        rules = load_recipe(kind().extends)
    file = inspect.getsourcefile(kind)
    assert file is not None  # a class that was imported from a file
    given = {f.name: getattr(rules, f.name) for f in fields(Recipe)}
    return CodedRecipe(**given, name=name, source=hashlib.sha256(Path(file).read_bytes()).hexdigest())


def _parsed(content: Any) -> Recipe:
    """Return the recipe of a mapping, a copy of its own for each caller.

    Parsing takes a tenth of a second, which each file of an ingest would pay again: recipes are kept by their content.
    """
    key = repr(content)
    if key not in _PARSED:
        _PARSED[key] = parse_mapping(Recipe, content)
    return copy.deepcopy(_PARSED[key])


def recipe_for(dandiset: str, archive: str = DANDI) -> str:
    """Return the name of the shipped recipe that was written for a dandiset; ``default`` where none was.

    Args:
        dandiset: its six digits.
        archive: the archive that the number belongs to; every archive counts its dandisets from 000001.

    Example:
        >>> recipe_for("000688"), recipe_for("999999"), recipe_for("000688", "lab")
        ('dandi-000688', 'default', 'default')
    """
    for name in config_names("recipes") if archive == DANDI else ():
        content = yaml.load(find_config(name).read_text(encoding="utf-8"), _LOADER)
        if dandiset in (content or {}).get("dandisets", []):
            return name.removeprefix("recipes/")
    return "default"


def _content(path: Path, above: tuple[Path, ...] = ()) -> Any:
    """What a recipe's file says, on top of what the one says that it extends."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _LOADER)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    content = current_names(Recipe, content)  # before it is merged with a recipe that has the current names
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


def _check_keys(kind: Any, value: Any, key: str = "") -> None:
    """Raise unless a mapping holds keys of a rules dataclass alone, at every depth."""
    if not isinstance(value, dict):
        raise ConfigError(f"{key or 'the recipe'} is {value!r}: allowed is a mapping of keys to values")
    hints = typing.get_type_hints(kind)
    for name, item in value.items():
        place = f"{key}.{name}".lstrip(".")
        if name not in hints:
            raise ConfigError(f"unknown key {place!r}: allowed are {', '.join(hints)}")
        if is_dataclass(hints[name]):
            _check_keys(hints[name], item, place)
        elif typing.get_origin(hints[name]) is dict and isinstance(item, dict):
            for key_of_texts, texts in item.items():
                if not isinstance(texts, list):
                    raise ConfigError(f"{place}.{key_of_texts} is {texts!r}: allowed is a list of texts")
