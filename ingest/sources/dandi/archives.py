"""Archives by name: where their API is, and which variable holds the token for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from foundation.common.errors import ConfigError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True)
class Archive:
    """A server of the DANDI archive's kind.

    Args:
        name: what it is called in ``dandi://<name>/...``: small letters, digits, ``.``, ``_`` and ``-``.
        api_url: its API, for example ``https://api.dandiarchive.org/api``.
        token_variable: the environment variable with the token for embargoed dandisets; by default the name in capitals
            with ``_API_KEY``, as ``DANDI_API_KEY``. Where it is not set, the keyring is asked (service
            ``dandi-api-<name>``, user ``key``, as the dandi command keeps it).
        web_url: its pages, for example ``https://dandiarchive.org``, so that their addresses can be given as input.
        mirrors: the archive whose dandisets it holds under the same numbers, such as ``dandi``: they are read with the
            recipes for those. The numbers of any other archive are its own.
    """

    name: str
    api_url: str
    token_variable: str = ""
    web_url: str = ""
    mirrors: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"an archive's name is {self.name!r}: allowed are small letters, digits, '.', '_' and '-'"
            )
        for key in ("api_url", "web_url"):
            value = getattr(self, key)
            if not re.fullmatch(r"https?://[^/?#@\s]+(/[^?#\s]*)?", value) and (value or key == "api_url"):
                raise ConfigError(f"{key} of archive {self.name} is {value!r}: allowed is http(s)://<host>[/path]")
            object.__setattr__(self, key, value.rstrip("/"))
        variable = self.token_variable or re.sub(r"[^A-Z0-9]", "_", self.name.upper()) + "_API_KEY"
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
            raise ConfigError(
                f"token_variable of archive {self.name} is {variable!r}: allowed is the name of an environment variable"
            )
        object.__setattr__(self, "token_variable", variable)


# Those that the dandi client knows, under its names and with its variables for tokens.
BUILT_IN = (
    Archive("dandi", "https://api.dandiarchive.org/api", web_url="https://dandiarchive.org"),
    Archive("dandi-sandbox", "https://api.sandbox.dandiarchive.org/api", web_url="https://sandbox.dandiarchive.org"),
    Archive("ember-dandi", "https://api-dandi.emberarchive.org/api", web_url="https://dandi.emberarchive.org"),
    Archive(
        "ember-dandi-sandbox",
        "https://api-dandi.sandbox.emberarchive.org/api",
        web_url="https://dandi.sandbox.emberarchive.org",
    ),
    Archive("linc", "https://api.lincbrain.org/api", web_url="https://lincbrain.org"),
    Archive("linc-staging", "https://staging-api.lincbrain.org/api", web_url="https://staging.lincbrain.org"),
)


def known_archives(own: Sequence[Archive] = ()) -> dict[str, Archive]:
    """The archives by name: the built-in ones and one's own.

    Raises:
        ConfigError: if two at different addresses share a name or a token's variable: a token belongs to one archive.

    Example:
        >>> list(known_archives([Archive("lab", "https://dandi.lab.org/api")]))
        ['dandi', 'dandi-sandbox', 'ember-dandi', 'ember-dandi-sandbox', 'linc', 'linc-staging', 'lab']
    """
    known: dict[str, Archive] = {}
    for archive in (*BUILT_IN, *own):
        if archive.name in known and known[archive.name].api_url != archive.api_url:
            raise ConfigError(f"there are two archives called {archive.name!r}: give one's own another name")
        known[archive.name] = archive
    variables: dict[str, Archive] = {}
    for archive in known.values():
        other = variables.setdefault(archive.token_variable, archive)
        if other.api_url != archive.api_url:
            raise ConfigError(
                f"archives {other.name} and {archive.name} share the token variable {archive.token_variable}: "
                "a token is sent to one archive alone, so give each a variable of its own"
            )
    return known
