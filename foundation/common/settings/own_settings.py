"""Settings of a custom class: a YAML mapping read as the class's dataclass."""

from __future__ import annotations

import dataclasses
from typing import Any

from foundation.common.errors import ConfigError
from foundation.common.extensions.named_classes import plain_failure
from foundation.common.settings.command import parse_mapping


@dataclasses.dataclass(frozen=True)
class NoSettings:
    """Settings of a class without settings."""


def read_own_settings(kind: Any, given: dict[str, Any], setting: str) -> Any:
    """Return an instance of a class's ``settings_class``, with the types and messages of a command line.

    Args:
        kind: the class; without a ``settings_class`` it has no settings.
        given: the mapping.
        setting: name of the setting for messages, such as ``objective.settings``.

    Raises:
        ConfigError: if a setting is unknown or has an invalid value.

    Example:
        >>> @dataclasses.dataclass
        ... class Own:
        ...     width: int = 8
        >>> class Sampler:
        ...     settings_class = Own
        >>> read_own_settings(Sampler, {"width": 4}, "data.sampler.settings").width
        4
    """
    settings = getattr(kind, "settings_class", None) or NoSettings
    if not dataclasses.is_dataclass(settings):
        raise ConfigError(f"settings_class of {kind.__name__} is {settings!r}: expected a dataclass")
    with plain_failure(f"{setting} of {kind.__name__}"):
        try:
            return parse_mapping(settings, given)
        except ConfigError as error:
            allowed = ", ".join(field.name for field in dataclasses.fields(settings)) or "none"
            raise ConfigError(f"{setting} of {kind.__name__}: {error} (its settings: {allowed})") from error
