"""Recipes: the meaning of the columns, tables and series of an NWB file.

Every list of names in a recipe holds regular expressions that must match a whole name, ignoring case.
Lists are in order of preference: the first matching expression wins. A recipe can set ``extends: default``
(or another recipe's name, or a file beside it) and list only the differences; ``...`` in a list stands for the items of
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
    ObservedRules,
    RegionRules,
    ResolutionRules,
    SpikeTimeRules,
    StateRules,
    TrialRules,
    UnitRules,
)

_PARSED: dict[str, Recipe] = {}
# Goes into the digest: increase it when the reader makes a different recording of the same file and recipe.
READER_VERSION = 3
# In a list of a recipe that extends another, this stands for the items of the other.
INHERITED = "..."
# Newer rules: part of the digest only in recipes that use them, so that older recording ids stay valid.
LATER = (
    "activity.missing",
    "layout",
    "observed",
    "spike_times",
    "units.events",
    "units.tables",
)
# Keys that do not affect reading.
_ABOUT = ("description", "verified", "dandisets")
# The archive of the shipped recipes' dandisets.
DANDI = "dandi"
# Ten times faster, if PyYAML was built with it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Recipe:
    """The meaning of the columns, tables and series of a file.

    Args:
        description: one line of documentation; like the next two, it does not affect reading.
        verified: whether the recipe was tested on the real files of its dandisets.
        dandisets: the dandisets of the archive ``dandi`` it was written for.
        units, spike_times, regions, activity, layout: rules of units and activity.
        behavior, trials, states, observed: rules of behaviour, intervals and observed time.
        resolution, control: rules of time resolution and quality control.

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
    observed: ObservedRules = field(default_factory=ObservedRules)
    resolution: ResolutionRules = field(default_factory=ResolutionRules)
    control: ControlRules = field(default_factory=ControlRules)

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits: equal rules give equal digests, whatever the file's layout."""
        rules = {name: rule for name, rule in former_names(Recipe, asdict(self)).items() if name not in _ABOUT}
        unused = former_names(Recipe, asdict(Recipe()))
        for place, _, name in (key.rpartition(".") for key in LATER):
            here, there = (rules[place], unused[place]) if place else (rules, unused)
            if here[name] == there[name]:
                del here[name]
        return json_digest([READER_VERSION, rules])[:16]

    def amended(self, recording: Recording, nwb: Any) -> Recording | None:
        """Return the recording unchanged. Recipes in Python change it; see `CodedRecipe`."""
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
        """Sixteen hexadecimal digits: equal rules and Python code give equal digests."""
        rules = Recipe(**{f.name: getattr(self, f.name) for f in fields(Recipe)})
        return json_digest([rules.digest, self.source])[:16]

    def amended(self, recording: Recording, nwb: Any) -> Recording | None:
        """Return the recording amended by the class, or None to leave the file out.

        Raises:
            SourceError: if the class raises or returns another type.
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
        name: a YAML file, the name of a shipped recipe such as ``default``, or your own class (`OwnRecipe`).

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
    """Return the recipe of a user's class.

    Raises:
        ConfigError: if the class cannot be imported, or is not a recipe.
    """
    kind = find_class("recipe", name, "recipe")
    with plain_failure(f"recipe is {name!r}, which cannot be made"):
        rules = load_recipe(kind().extends)
    file = inspect.getsourcefile(kind)
    assert file is not None  # the class was imported from a file
    given = {f.name: getattr(rules, f.name) for f in fields(Recipe)}
    return CodedRecipe(**given, name=name, source=hashlib.sha256(Path(file).read_bytes()).hexdigest())


def _parsed(content: Any) -> Recipe:
    """Return the recipe of a mapping, a separate copy for each caller.

    Parsing takes a tenth of a second, so parsed recipes are cached by content.
    """
    key = repr(content)
    if key not in _PARSED:
        _PARSED[key] = parse_mapping(Recipe, content)
    return copy.deepcopy(_PARSED[key])


def recipe_for(dandiset: str, archive: str = DANDI) -> str:
    """Return the name of the shipped recipe for a dandiset, or ``default``.

    Args:
        dandiset: its six digits.
        archive: the archive of the number; every archive numbers its dandisets from 000001.

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
    """Return the content of a recipe's file merged into the recipe that it extends."""
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
            raise ConfigError(f"extends is {name!r}: expected the name of a recipe or a file")
        found = find_config(path.parent / name if (path.parent / name).is_file() else name, "recipes").resolve()
        if found in above or found == path.resolve():
            raise ConfigError(f"extends is {name!r}, which extends this recipe: expected no circle")
        base = _content(found, (*above, path.resolve()))
        for about in _ABOUT:
            base.pop(about, None)
    return _merged(base, content)


def _merged(base: Any, content: Any) -> Any:
    """Return ``content`` on top of ``base``: mappings are merged, other values replaced."""
    if isinstance(content, dict):
        known = base if isinstance(base, dict) else {}
        return known | {name: _merged(known.get(name), item) for name, item in content.items()}
    if isinstance(content, list) and INHERITED in content:
        place = content.index(INHERITED)
        return [*content[:place], *(base if isinstance(base, list) else []), *content[place + 1 :]]
    return content


def _check_keys(kind: Any, value: Any, key: str = "") -> None:
    """Raise unless a mapping holds only keys of a rules dataclass, at every depth."""
    if not isinstance(value, dict):
        raise ConfigError(f"{key or 'the recipe'} is {value!r}: expected a mapping of keys to values")
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
                    raise ConfigError(f"{place}.{key_of_texts} is {texts!r}: expected a list of texts")
