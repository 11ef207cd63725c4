"""Renamed settings: the old key works for one more version, and digests keep using it.

A field names its old key::

    @dataclass(frozen=True)
    class Limits:
        min_rate: float | None = renamed("least_rate", None)

`current_names` reads old keys of YAML and of the command line, with a warning that names the new key. `former_names`
is for digests and stored settings: a new name must not change the identity of a finished run or a stored recording.
"""

from __future__ import annotations

import logging
import types
import typing
from dataclasses import field, fields, is_dataclass
from functools import cache
from typing import Any

from foundation.common.errors import ConfigError

log = logging.getLogger(__name__)
FORMER = "former_name"


def renamed(former: str, default: Any) -> Any:
    """Return a field of a settings dataclass that was called ``former`` in the previous version."""
    if isinstance(default, list):
        return field(default_factory=default.copy, metadata={FORMER: former})
    return field(default=default, metadata={FORMER: former})


def current_names(settings: Any, values: Any, key: str = "") -> Any:
    """Return settings with the keys of this version, and warn about each old key.

    Args:
        settings: the dataclass whose fields the keys are.
        values: a mapping from YAML, nested like the dataclass; anything else is returned unchanged.
        key: the dotted key of the mapping itself, for messages.

    Raises:
        ConfigError: if a setting is given under both names.
    """
    if not (_is_settings(settings) and isinstance(values, dict)):
        return values
    kinds, former = _kinds(settings), {old: new for new, old in _renames(settings).items()}
    found: dict[Any, Any] = {}
    for name, value in values.items():
        new: Any = former.get(name, name)
        if new != name:
            if new in values:
                raise ConfigError(
                    f"{key}{name} and {key}{new} are both set: expected one; remove {key}{name}, the old name"
                )
            warn(f"{key}{name}", f"{key}{new}")
        found[new] = current_names(kinds.get(new), value, f"{key}{new}.")
    return found


def current_key(settings: Any, key: str) -> str:
    """Return a dotted key of the command line with the names of this version; warn if it was an old one.

    Example:
        >>> from foundation.training import PretrainSettings
        >>> current_key(PretrainSettings, "objective.neurpir.shortest"), current_key(PretrainSettings, "steps")
        ('objective.neurpir.min_tokens', 'steps')
    """
    kind: Any = settings
    parts: list[str] = []
    for name in key.split("."):
        former = {old: new for new, old in _renames(kind).items()} if _is_settings(kind) else {}
        parts.append(former.get(name, name))
        kind = _kinds(kind).get(parts[-1]) if _is_settings(kind) else None
    current = ".".join(parts)
    if current != key:
        warn(key, current)
    return current


def kind_of(settings: Any, key: str) -> Any:
    """Return the dataclass at a dotted key; None if the key is a single setting or unknown."""
    for name in key.split("."):
        settings = _kinds(settings).get(name) if _is_settings(settings) else None
    return settings


def former_names(settings: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Return settings under their former names, for digests and for existing files.

    Args:
        settings: the dataclass.
        values: its ``dataclasses.asdict``.
    """
    kinds, renames = _kinds(settings), _renames(settings)
    return {
        renames.get(name, name): former_names(kinds[name], value)
        if name in kinds and isinstance(value, dict)
        else value
        for name, value in values.items()
    }


def former_name(settings: Any, name: str) -> str:
    """Return the former name of a setting; its present name if it was not renamed."""
    return _renames(settings).get(name, name)


def warn(old: str, new: str) -> None:
    """Warn that a key was renamed."""
    log.warning("%s was renamed to %s: the old name works in this version and is an error in the next", old, new)


def _is_settings(kind: Any) -> bool:
    return isinstance(kind, type) and is_dataclass(kind)


@cache
def _renames(settings: Any) -> dict[str, str]:
    """Return new name -> old name."""
    return {f.name: f.metadata[FORMER] for f in fields(settings) if FORMER in f.metadata}


@cache
def _kinds(settings: Any) -> dict[str, Any]:
    """Return the fields that are dataclasses themselves."""
    kinds: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(settings).items():
        for option in typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,):
            if is_dataclass(option):
                kinds[name] = option
    return kinds
