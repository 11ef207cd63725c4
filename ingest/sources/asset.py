"""One file of a source: where its bytes are, how many there are, and what its archive or its path says about it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from foundation.common.errors import SourceError
from foundation.store import Source
from ingest.sources.dandi.archives import Archive

Format = Literal["hdf5", "zarr"]
_MODALITIES = frozenset(("ecephys", "icephys", "ophys", "behavior", "ogen", "image", "eeg", "ieeg", "meg", "ecog"))


@dataclass(frozen=True)
class Asset:
    """An NWB file that can be ingested: a local file or folder, an object, or an asset of an archive.

    It holds no secret and can be sent to workers.

    Args:
        url: where its bytes are: a local path or a URL.
        path: its name for people and for the store, relative to what was asked for (in an archive: to the dandiset).
        size: bytes, 0 if that is not known.
        source: what its recording's provenance says. In an archive ``digest`` is what the archive states, for example
            ``dandi-etag:<value>``; outside one it is ``''`` until the file has been read.
        digests: algorithm -> value, as the archive states them (``dandi-etag``, ``sha2-256``, ``dandi-zarr-checksum``).
        format: ``hdf5`` or ``zarr``.
        archive: the archive that it is in, or None.
        content_url: where an open Zarr asset's entries can be had without asking the archive's API for each; or ``''``.
        subject: of the animal, from the archive or from the path; ``''`` if not stated.
        session: likewise.
        species: as the archive states it.
        modality: kinds of data, from the archive's metadata and the path (``ecephys``, ``Units``, ...).
        measured: the types of NWB objects that the archive says are in it (``Units``, ``ElectricalSeries``, ...).

    Example:
        >>> asset = Asset("/data/sub-a/x.nwb", "sub-a/x.nwb", 2, Source("sub-a/x.nwb", ""))
        >>> asset.namespace, asset.format
        ('', 'hdf5')
    """

    url: str
    path: str
    size: int
    source: Source
    digests: dict[str, str] = field(default_factory=dict)
    format: Format = "hdf5"
    archive: Archive | None = None
    content_url: str = ""
    subject: str = ""
    session: str = ""
    species: str = ""
    modality: tuple[str, ...] = ()
    measured: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_path(self.path)

    @property
    def namespace(self) -> str:
        """Tells its subject apart from others of the same name: ``archive/dandiset``, or ``''`` outside an archive."""
        return f"{self.source.archive}/{self.source.dandiset}".strip("/")

    @property
    def numbered_by(self) -> str:
        """The archive that gave its dandiset the number: its own, or the one that its archive mirrors; or ``''``."""
        return "" if self.archive is None else self.archive.mirrors or self.archive.name


def check_path(path: str) -> None:
    """Refuse a name that could lead out of the folder that it belongs into.

    Raises:
        SourceError: for an absolute path, ``..``, empty parts, backslashes and control characters.

    Example:
        >>> check_path("sub-a/../x.nwb")
        Traceback (most recent call last):
        ...
        foundation.common.errors.SourceError: 'sub-a/../x.nwb' is a name that leads out of its folder: it is not taken
    """
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in path or any(ord(c) < 32 for c in path):
        raise SourceError(f"{path!r} is a name that leads out of its folder: it is not taken")


def entity(path: str, key: str) -> str:
    """The value of an entity such as ``sub`` or ``ses``; of the file's name first, then of its folders; or ``''``.

    Example:
        >>> path = "sub-Chewie/sub-Chewie_ses-CO-20131003_behavior+ecephys.nwb"
        >>> entity(path, "sub"), entity(path, "ses"), entity("x.nwb", "sub")
        ('Chewie', 'CO-20131003', '')
    """
    for part in reversed(path.split("/")):
        found = re.search(rf"(?:^|_){key}-([^_/]+?)(?=_|\.nwb|\.zarr|$)", part)
        if found:
            return found.group(1)
    return ""


def modalities(path: str) -> tuple[str, ...]:
    """The modalities that a file's name ends in.

    Example:
        >>> modalities("sub-Chewie/sub-Chewie_ses-CO-20131003_behavior+ecephys.nwb")
        ('behavior', 'ecephys')
        >>> modalities("sub-a_x.nwb")
        ()
    """
    stem = re.sub(r"(\.nwb)?(\.zarr)?$", "", path.rpartition("/")[2])
    words = stem.rpartition("_")[2].split("+")
    return tuple(words) if all(word in _MODALITIES for word in words) else ()
