"""Which assets are taken, as `foundation ingest` is told."""

from __future__ import annotations

from dataclasses import dataclass, field

from foundation.common.errors import ConfigError


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
        least_size: bytes that an asset has at least.
        most_size: bytes that an asset has at most.
        most_assets: how many are taken at most: the first by path.
    """

    subject: list[str] = field(default_factory=list)
    session: list[str] = field(default_factory=list)
    species: list[str] = field(default_factory=list)
    path: list[str] = field(default_factory=list)
    modality: list[str] = field(default_factory=list)
    least_size: int | None = None
    most_size: int | None = None
    most_assets: int | None = None

    def __post_init__(self) -> None:
        for key in ("subject", "session", "species", "path", "modality"):
            if not all(isinstance(word, str) and word.strip() for word in getattr(self, key)):
                raise ConfigError(f"{key} is {getattr(self, key)}: allowed are words that are not empty")
        for key, least in (("least_size", 0), ("most_size", 0), ("most_assets", 1)):
            value = getattr(self, key)
            if value is not None and value < least:
                raise ConfigError(f"{key} is {value}: allowed is {least} or more")
        if self.least_size is not None and self.most_size is not None and self.least_size > self.most_size:
            raise ConfigError(f"least_size is {self.least_size}: allowed is at most most_size ({self.most_size})")
