"""Settings of sources: which assets are taken, and how the bytes of remote ones are read."""

from __future__ import annotations

from dataclasses import dataclass, field

from foundation.common.errors import ConfigError
from foundation.common.settings.renamed_settings import renamed

MODES = ("auto", "stream", "download")


@dataclass(frozen=True)
class AccessSettings:
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
    """

    mode: str = "auto"
    cache: str | None = None
    cache_size: int = 100 << 30
    small: int = 64 << 20
    max_download: int = renamed("largest", 64 << 30)
    stream_cache: int = 64 << 20
    block: int = 256 << 10
    timeout: float = 30.0
    attempts: int = 10
    budget: float = 300.0
    first_wait: float = 1.0
    max_wait: float = renamed("longest_wait", 60.0)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"mode is {self.mode!r}: allowed are {', '.join(MODES)}")
        for key in ("cache_size", "small", "max_download"):
            if getattr(self, key) < 0:
                raise ConfigError(f"{key} is {getattr(self, key)}: allowed is a number of bytes, 0 or more")
        if not 1 << 10 <= self.block <= self.stream_cache:
            raise ConfigError(f"block is {self.block}: allowed is 1024 bytes up to stream_cache ({self.stream_cache})")
        if self.attempts < 1:
            raise ConfigError(f"attempts is {self.attempts}: allowed is 1 or more")
        for key in ("timeout", "budget", "first_wait", "max_wait"):
            if not 0 < getattr(self, key) < 1e7:
                raise ConfigError(f"{key} is {getattr(self, key)}: allowed is a number of seconds above 0")


@dataclass(frozen=True)
class AssetFilters:
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
    """

    subject: list[str] = field(default_factory=list)
    session: list[str] = field(default_factory=list)
    species: list[str] = field(default_factory=list)
    path: list[str] = field(default_factory=list)
    modality: list[str] = field(default_factory=list)
    min_size: int | None = renamed("least_size", None)
    max_size: int | None = renamed("most_size", None)
    max_assets: int | None = renamed("most_assets", None)

    def __post_init__(self) -> None:
        for key in ("subject", "session", "species", "path", "modality"):
            if not all(isinstance(word, str) and word.strip() for word in getattr(self, key)):
                raise ConfigError(f"{key} is {getattr(self, key)}: allowed are words that are not empty")
        for key, least in (("min_size", 0), ("max_size", 0), ("max_assets", 1)):
            value = getattr(self, key)
            if value is not None and value < least:
                raise ConfigError(f"{key} is {value}: allowed is {least} or more")
        if self.min_size is not None and self.max_size is not None and self.min_size > self.max_size:
            raise ConfigError(f"min_size is {self.min_size}: allowed is at most max_size ({self.max_size})")
