"""Names of weights and schemas of config.json, current and earlier.

Schema 1 (config.json without ``foundation_schema``) calls the tokens' embedding ``embed``, which is now a method of the
model. Such checkpoints load, and are saved with the present names. Schema 2 lost the order of the recordings whose
units have rows, so that the rows of several recordings cannot be assigned; schema 3 keeps them by recording id.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from foundation.common.errors import ConfigError

SCHEMA, OLDEST, KEEPS_ROWS = 3, 1, 3
_EMBED = re.compile(r"(?<![^.])embed(?=\.)")
T = TypeVar("T")


def check_schema(schema: Any) -> None:
    """Raise unless this version reads checkpoints of a schema.

    Raises:
        ConfigError: names the schema and what to do.

    Example:
        >>> check_schema(7)
        Traceback (most recent call last):
        ...
        foundation.common.errors.ConfigError: foundation_schema is 7: this version reads 1 to 3; install a newer one
    """
    if not isinstance(schema, int) or isinstance(schema, bool) or not OLDEST <= schema <= SCHEMA:
        newer = isinstance(schema, int) and schema > SCHEMA
        advice = "install a newer one" if newer else "install the version that wrote the checkpoint, or pretrain again"
        raise ConfigError(f"foundation_schema is {schema!r}: this version reads {OLDEST} to {SCHEMA}; {advice}")


def current_name(name: str) -> str:
    """Return the current name of a weight.

    Example:
        >>> current_name("embed.read_in.weight"), current_name("model.embed.read_in.weight/exp_avg/0")
        ('token_embedding.read_in.weight', 'model.token_embedding.read_in.weight/exp_avg/0')
        >>> current_name("units.tables.0")
        'units.tables.0'
    """
    return _EMBED.sub("token_embedding", name)


def with_current_names(weights: Mapping[str, T]) -> dict[str, T]:
    """Return the same weights under their current names."""
    return {current_name(name): value for name, value in weights.items()}
