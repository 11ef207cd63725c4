"""Settings of sources: asset filters, and access to remote files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from foundation.common.errors import ConfigError
from foundation.common.settings.renamed_settings import renamed
from foundation.common.settings.setting_limits import (
    Count,
    CountOrNone,
    Limit,
    Limited,
    Natural,
    above,
    at_least,
    one_of,
)

MODES = ("auto", "stream", "download")
Wait = Annotated[float, above(0, "seconds", high=1e7)]
Size = Annotated[int | None, at_least(0)]
Words = Annotated[
    list[str],
    Limit(lambda words: all(isinstance(word, str) and word.strip() for word in words), "words that are not empty"),
]


@dataclass(frozen=True)
class AccessSettings(Limited):
    """How to read remote assets. Local files are read in place.

    Args:
        mode: ``stream`` (only the ranges that are asked for), ``download`` (the whole asset into the cache folder,
            checked against its digest), or ``auto``: download what is small or will be read whole, stream the rest.
        cache: folder of downloads; by default ``foundation/assets`` in the user's cache folder.
        cache_size: bytes that the cache holds at most; the least recently used downloads are evicted.
        small: bytes up to which ``auto`` downloads any asset.
        max_download: bytes above which ``auto`` never downloads.
        stream_cache: bytes of an asset kept in memory while streaming.
        block: bytes per request while streaming.
        timeout: seconds without a byte after which a connection counts as broken.
        attempts: attempts per request; a download that made progress starts counting again.
        budget: seconds for one request and its retries, waits included.
        first_wait: seconds before the first retry; each further wait is up to twice as long (with jitter).
        max_wait: maximum seconds of one wait, even if the server asks for more (``Retry-After``).

    Raises:
        ConfigError: if a value is out of range, or ``block`` is larger than ``stream_cache``.
    """

    section = "access."
    mode: Annotated[str, one_of(*MODES)] = "auto"
    cache: str | None = None
    cache_size: Natural = 100 << 30
    small: Natural = 64 << 20
    max_download: Natural = renamed("largest", 64 << 30)
    stream_cache: int = 64 << 20
    block: int = 256 << 10
    timeout: Wait = 30.0
    attempts: Count = 10
    budget: Wait = 300.0
    first_wait: Wait = 1.0
    max_wait: Wait = renamed("longest_wait", 60.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 << 10 <= self.block <= self.stream_cache:
            raise ConfigError(f"access.block is {self.block}: from 1024 bytes to stream_cache ({self.stream_cache})")


@dataclass(frozen=True)
class AssetFilters(Limited):
    """Select assets: an asset is taken if it passes every given filter.

    Args:
        subject: names of subjects; ``*`` and ``?`` are wildcards.
        session: names of sessions, with the same wildcards.
        species: as the archive states it, in any case, with the same wildcards: ``Mus musculus``, ``*macaque*``. Local
            files have no species before they are opened, so this filter excludes them.
        path: globs of paths. ``*`` stays within a folder, ``**`` does not; a glob without ``/`` is matched with the
            file name.
        modality: kinds of data of which the asset must have one, in any case: ``ecephys``, ``ophys``, ``Units``.
        min_size: minimum bytes of an asset.
        max_size: maximum bytes of an asset.
        max_assets: maximum number of assets: the first by path.

    Raises:
        ConfigError: if a value is out of range, or ``min_size`` is larger than ``max_size``.
    """

    section = "filters."
    subject: Words = field(default_factory=list)
    session: Words = field(default_factory=list)
    species: Words = field(default_factory=list)
    path: Words = field(default_factory=list)
    modality: Words = field(default_factory=list)
    min_size: Size = renamed("least_size", None)
    max_size: Size = renamed("most_size", None)
    max_assets: CountOrNone = renamed("most_assets", None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_size is not None and self.max_size is not None and self.min_size > self.max_size:
            raise ConfigError(f"filters.min_size is {self.min_size}: at most max_size ({self.max_size})")
