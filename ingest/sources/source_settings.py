"""Settings of sources: which assets are taken, and how the bytes of remote ones are read."""

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
    """How assets on other machines are read. Local files are read where they are.

    Args:
        mode: ``stream`` (only the ranges that are asked for), ``download`` (the whole asset into the cache folder,
            checked against its digest), or ``auto``: download what is small or will be read whole, stream the rest.
        cache: folder of downloads; by default ``foundation/assets`` in the user's cache folder.
        cache_size: bytes that the cache holds at most; what was not used for longest is removed from it.
        small: bytes up to which ``auto`` downloads whatever the asset holds.
        max_download: bytes above which ``auto`` never downloads.
        stream_cache: bytes of an asset that are kept in memory while it is streamed.
        block: bytes that are asked for at a time while streaming.
        timeout: seconds without a byte after which a connection counts as broken.
        attempts: how often a request is tried; a download that made progress starts counting again.
        budget: seconds that one request and its repetitions may take, waits included.
        first_wait: seconds before the first repetition; each next wait is up to twice as long (with jitter).
        max_wait: seconds that a wait takes at most, also where the server asks for more (``Retry-After``).

    Raises:
        ConfigError: if a value is beyond its limit, or ``block`` is larger than ``stream_cache``.
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
    """Which assets are taken: those for which every filter that is given holds.

    Args:
        subject: names of subjects; ``*`` and ``?`` stand for any letters.
        session: names of sessions, likewise.
        species: as the archive states it, likewise, capitals or not: ``Mus musculus``, ``*macaque*``. Files outside an
            archive state no species before they are opened: none is taken.
        path: globs of paths. ``*`` stays within a folder, ``**`` does not; one without ``/`` is for the file's name.
        modality: kinds of data, one of which must be there, capitals or not: ``ecephys``, ``ophys``, ``Units``.
        min_size: bytes that an asset has at least.
        max_size: bytes that an asset has at most.
        max_assets: how many are taken at most: the first by path.

    Raises:
        ConfigError: if a value is beyond its limit, or ``min_size`` is larger than ``max_size``.
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
