"""One file of a source: its location, its size and its metadata, from the archive or from the path."""

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
    """An NWB file to ingest: a local file or folder, an object, or an asset of an archive.

    An asset holds no secret and can be sent to workers.

    Args:
        url: location of the bytes: a local path or a URL.
        path: its displayed and stored name, relative to the input (in an archive: to the dandiset).
        size: bytes, 0 if unknown.
        source: the provenance of its recording. In an archive, ``digest`` is the archive's own, for example
            ``dandi-etag:<value>``; elsewhere it is ``''`` until the file has been read.
        digests: algorithm -> value, from the archive (``dandi-etag``, ``sha2-256``, ``dandi-zarr-checksum``).
        format: ``hdf5`` or ``zarr``.
        archive: the archive that holds it, or None.
        content_url: where to read an open Zarr asset's entries without asking the archive's API for each, or ``''``.
        subject: the animal, from the archive or the path; ``''`` if unknown.
        session: the session, likewise.
        species: as the archive states it.
        modality: kinds of data, from the archive's metadata and the path (``ecephys``, ``Units``, ...).
        measured: NWB types in the file, from the archive's metadata (``Units``, ``ElectricalSeries``, ...).

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
        """Namespace of the subject, ``archive/dandiset``: distinguishes equal names. ``''`` outside an archive."""
        return f"{self.source.archive}/{self.source.dandiset}".strip("/")

    @property
    def numbered_by(self) -> str:
        """Name of the archive that numbered the dandiset: this archive, or the one that it mirrors; or ``''``."""
        return "" if self.archive is None else self.archive.mirrors or self.archive.name


def check_path(path: str) -> None:
    """Raise if a path could lead out of its folder.

    Raises:
        SourceError: if the path is absolute or has ``..``, empty parts, backslashes or control characters.

    Example:
        >>> check_path("sub-a/../x.nwb")
        Traceback (most recent call last):
        ...
        foundation.common.errors.SourceError: 'sub-a/../x.nwb' leads out of its folder: expected one without ..
    """
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in path or any(ord(c) < 32 for c in path):
        raise SourceError(f"{path!r} leads out of its folder: expected one without ..")


def entity(path: str, key: str) -> str:
    """Return the value of an entity such as ``sub`` or ``ses``, from the file name first, then its folders; or ``''``.

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
    """Return the modalities at the end of a file name.

    Example:
        >>> modalities("sub-Chewie/sub-Chewie_ses-CO-20131003_behavior+ecephys.nwb")
        ('behavior', 'ecephys')
        >>> modalities("sub-a_x.nwb")
        ()
    """
    stem = re.sub(r"(\.nwb)?(\.zarr)?$", "", path.rpartition("/")[2])
    words = stem.rpartition("_")[2].split("+")
    return tuple(words) if all(word in _MODALITIES for word in words) else ()
