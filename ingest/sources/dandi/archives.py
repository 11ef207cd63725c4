"""DANDI-like archives by name, and addresses of dandisets and assets in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from foundation.common.errors import ConfigError, SourceError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
FORM = "dandi://<archive>/<dandiset>[@<version>][/<folder, file or glob>]"
_DANDISET = r"(?P<dandiset>\d{6})"
_VERSION = r"(?P<version>draft|\d+\.\d+\.\d+)"
_ASSET = r"(?P<asset>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"
_WEB = re.compile(rf"/dandiset/{_DANDISET}(?:/{_VERSION})?(?:/files)?/?")
_API = (
    re.compile(rf"/dandisets/{_DANDISET}(?:/versions(?:/{_VERSION}(?:/info|/assets)?)?)?/?"),
    re.compile(rf"/dandisets/{_DANDISET}/versions/{_VERSION}/assets/{_ASSET}(?:/download|/info)?/?"),
    re.compile(rf"/assets/{_ASSET}(?:/download|/info)?/?"),
)
_IDENTIFIER = re.compile(rf"(?P<name>[A-Za-z][A-Za-z0-9.-]*):{_DANDISET}(?:/{_VERSION})?(?P<rest>/.*)?")
# Paths of a dandiset's page or API endpoint on any archive.
_DANDISETS = tuple(re.compile(f".*?{pattern.pattern}") for pattern in (_WEB, _API[0]))


@dataclass(frozen=True)
class Archive:
    """An archive that runs the DANDI software.

    Args:
        name: its name in ``dandi://<name>/...``: small letters, digits, ``.``, ``_`` and ``-``.
        api_url: URL of its API, for example ``https://api.dandiarchive.org/api``.
        token_variable: the environment variable with the token for embargoed dandisets; by default the name in capitals
            with ``_API_KEY``, as ``DANDI_API_KEY``. If it is unset, the keyring is used (service
            ``dandi-api-<name>``, user ``key``, as the dandi command keeps it).
        web_url: URL of its pages, for example ``https://dandiarchive.org``, whose addresses are then valid input.
        mirrors: the archive whose dandiset numbers it shares, such as ``dandi``: its dandisets are read with that
            archive's recipes. Other archives number their dandisets independently.
    """

    name: str
    api_url: str
    token_variable: str = ""
    web_url: str = ""
    mirrors: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f"archives.name is {self.name!r}: allowed are small letters, digits, '.', '_' and '-'")
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


# The archives of the dandi client, with its names and token variables.
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
    """Return the archives by name: the built-in ones and your own.

    Raises:
        ConfigError: if archives at different addresses share a name or a token variable.

    Example:
        >>> list(known_archives([Archive("lab", "https://dandi.lab.org/api")]))
        ['dandi', 'dandi-sandbox', 'ember-dandi', 'ember-dandi-sandbox', 'linc', 'linc-staging', 'lab']
    """
    known: dict[str, Archive] = {}
    for archive in (*BUILT_IN, *own):
        if archive.name in known and known[archive.name].api_url != archive.api_url:
            raise ConfigError(
                f"archives.name is {archive.name!r} twice: expected unique names; rename your own archive"
            )
        known[archive.name] = archive
    variables: dict[str, Archive] = {}
    for archive in known.values():
        other = variables.setdefault(archive.token_variable, archive)
        if other.api_url != archive.api_url:
            raise ConfigError(
                f"archives {other.name} and {archive.name} share the token variable {archive.token_variable}: "
                "a token is sent to only one archive: give each archive its own variable"
            )
    return known


def same_origin(url: str, other: str) -> bool:
    """Return whether two URLs have the same scheme, host and port.

    Example:
        >>> same_origin("https://api.lab.org/api/x", "https://api.lab.org:443/api")
        True
        >>> same_origin("http://api.lab.org/api/x", "https://api.lab.org/api")
        False
    """
    return _origin(url) == _origin(other)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


@dataclass(frozen=True)
class Address:
    """An address in an archive.

    Args:
        archive: the archive.
        dandiset: its number, or ``''`` if only an asset is named.
        version: ``draft``, a published version, or ``''`` for the newest published one, or else the draft.
        within: folder, file or glob in the dandiset; ``''`` for all of it.
        asset: the id of one asset, or ``''``.
    """

    archive: Archive
    dandiset: str = ""
    version: str = ""
    within: str = ""
    asset: str = ""


def parse_address(source: str, archives: dict[str, Archive]) -> Address | None:
    """Parse the address of a dandiset or an asset; return None for anything else.

    Args:
        source: as the user gave it.
        archives: the known ones by name.

    Raises:
        ConfigError: if the archive is unknown.
        SourceError: for a malformed archive address, and for an identifier such as DANDI:000003.

    Example:
        >>> from ingest.sources.dandi.archives import known_archives
        >>> known = known_archives()
        >>> parse_address("dandi://dandi/000003@0.230629.1955/sub-YutaMouse20/", known).within
        'sub-YutaMouse20'
        >>> parse_address("https://dandiarchive.org/dandiset/000003/draft/files?location=sub-a%2F", known).version
        'draft'
        >>> parse_address("https://example.org/x.nwb", known) is None
        True
    """
    if source.lower().startswith("dandi://"):
        return _short(source, archives)
    if found := _IDENTIFIER.fullmatch(source):
        name = found["name"].lower() if found["name"].lower() in archives else "<archive>"
        version = f"@{found['version']}" if found["version"] else ""
        raise SourceError(
            f"{source!r} is the identifier of a dandiset: write dandi://{name}/{found['dandiset']}{version}"
            f"{found['rest'] or ''}"
        )
    if not source.lower().startswith(("http://", "https://")):
        return None
    url = source.replace("/#/", "/", 1)
    for archive in archives.values():
        for base, patterns in ((archive.api_url, _API), (archive.web_url, (_WEB,))):
            if base and same_origin(url, base) and urlsplit(url).path.startswith(urlsplit(base).path + "/"):
                address = _matched(url, base, patterns, archive)
                if address is not None:
                    return address
    for archive in archives.values():
        if any(base and same_origin(url, base) for base in (archive.api_url, archive.web_url)):
            raise SourceError(
                f"{source!r} is at archive {archive.name}, but names no dandiset or asset there: give the address of a "
                f"dandiset, a version, a folder of its files or an asset, or {FORM}"
            )
    parts = urlsplit(url)
    if any(pattern.fullmatch(parts.path) for pattern in _DANDISETS):
        raise ConfigError(
            f"{source!r} names a dandiset at {parts.netloc.rpartition('@')[2]}, an unknown archive: expected "
            f"{', '.join(archives)}; give others in the setting archives (name, api_url, web_url, token_variable)"
        )
    return None


def _short(source: str, archives: dict[str, Archive]) -> Address:
    found = re.fullmatch(
        r"dandi://(?P<name>[^/]+)/(?P<dandiset>[^@/]+)(?:@(?P<version>[^/]+))?(?:/(?P<rest>.*))?", source, re.I
    )
    if found is None:
        raise SourceError(f"{source!r} is not a valid address: expected {FORM}")
    name = found["name"].lower()
    if name not in archives:
        raise ConfigError(
            f"archive {name!r} of {source!r} is not known: allowed are {', '.join(archives)}, and those of the setting "
            "archives (name, api_url, token_variable)"
        )
    if not re.fullmatch(_DANDISET, found["dandiset"]):
        raise SourceError(f"{found['dandiset']!r} of {source!r} is not a dandiset: expected six digits, such as 000003")
    version = found["version"] or ""
    if version and not re.fullmatch(_VERSION, version):
        raise SourceError(f"{version!r} of {source!r} is not a version: expected draft or such as 0.230629.1955")
    return Address(archives[name], found["dandiset"], version, _clean(unquote(found["rest"] or "")))


def _matched(url: str, base: str, patterns: tuple[re.Pattern[str], ...], archive: Archive) -> Address | None:
    parts = urlsplit(url)
    for pattern in patterns:
        found = pattern.fullmatch(parts.path.removeprefix(urlsplit(base).path))
        if found:
            given = {key: value or "" for key, value in found.groupdict().items()}
            query = parse_qs(parts.query)
            within = next((query[key][0] for key in ("location", "glob", "path") if key in query), "")
            return Address(
                archive, given.get("dandiset", ""), given.get("version", ""), _clean(within), given.get("asset", "")
            )
    return None


def _clean(within: str) -> str:
    return within.strip("/")
