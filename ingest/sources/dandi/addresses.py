"""What names a dandiset or an asset: ``dandi://``, and the addresses of an archive's pages and API."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from foundation.common.errors import ConfigError, SourceError
from ingest.sources.dandi.archive_tokens import same_origin
from ingest.sources.dandi.archives import Archive

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
# Paths that name a dandiset, wherever an archive keeps its API and its pages.
_DANDISETS = tuple(re.compile(f".*?{pattern.pattern}") for pattern in (_WEB, _API[0]))


@dataclass(frozen=True)
class Address:
    """What is asked of an archive.

    Args:
        archive: where.
        dandiset: its number, or ``''`` where only an asset is named.
        version: ``draft``, a published version, or ``''`` for the newest published one, or else the draft.
        within: a folder, a file or a glob in the dandiset; ``''`` for all of it.
        asset: the id of one asset, or ``''``.
    """

    archive: Archive
    dandiset: str = ""
    version: str = ""
    within: str = ""
    asset: str = ""


def parse_address(source: str, archives: dict[str, Archive]) -> Address | None:
    """What a source asks of which archive; None if it is no address of an archive.

    Args:
        source: as a person gives it.
        archives: the known ones by name.

    Raises:
        ConfigError: for an archive that is not known.
        SourceError: for an address of an archive that is not understood, and for an identifier such as DANDI:000003.

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
            f"{source!r} names a dandiset at {parts.netloc.rpartition('@')[2]}, which is no known archive: known are "
            f"{', '.join(archives)}; give others in the setting archives (name, api_url, web_url, token_variable)"
        )
    return None


def _short(source: str, archives: dict[str, Archive]) -> Address:
    found = re.fullmatch(
        r"dandi://(?P<name>[^/]+)/(?P<dandiset>[^@/]+)(?:@(?P<version>[^/]+))?(?:/(?P<rest>.*))?", source, re.I
    )
    if found is None:
        raise SourceError(f"{source!r} is not understood: write {FORM}")
    name = found["name"].lower()
    if name not in archives:
        raise ConfigError(
            f"archive {name!r} of {source!r} is not known: allowed are {', '.join(archives)}, and those of the setting "
            "archives (name, api_url, token_variable)"
        )
    if not re.fullmatch(_DANDISET, found["dandiset"]):
        raise SourceError(f"{found['dandiset']!r} of {source!r} is no dandiset: allowed are six digits, such as 000003")
    version = found["version"] or ""
    if version and not re.fullmatch(_VERSION, version):
        raise SourceError(f"{version!r} of {source!r} is no version: allowed are draft and such as 0.230629.1955")
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
