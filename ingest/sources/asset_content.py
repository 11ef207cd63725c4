"""Open the content of an asset: in place, downloaded, or streamed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, cast

import fsspec
from zarr.abc.store import Store as ZarrStore
from zarr.storage import LocalStore

from foundation.common.errors import SourceError
from ingest.nwb.file.watched_file import METER, WatchedFile
from ingest.nwb.zarr_v2 import zarr_at
from ingest.sources.asset import Asset
from ingest.sources.download_cache import free_bytes, locked, make_room, place_of
from ingest.sources.http.download import cached_file, download
from ingest.sources.http.http_session import PatientSession
from ingest.sources.http.remote_file import FsspecFile, HttpFile, RangeReader, RemoteBytes
from ingest.sources.local.local_folders import why_absent
from ingest.sources.source_settings import AccessSettings
from ingest.sources.zarr.zarr_entries import EntryFetcher, download_zarr, list_entries
from ingest.sources.zarr.zarr_remote import RemoteZarr

log = logging.getLogger(__name__)

# Series that make files large but of which ingest reads little: raw voltage and images.
BULK = frozenset(
    (
        "ElectricalSeries",
        "TwoPhotonSeries",
        "OnePhotonSeries",
        "ImageSeries",
        "CurrentClampSeries",
        "VoltageClampSeries",
        "OpticalSeries",
        "LFP",
    )
)


@contextmanager
def open_asset(asset: Asset, access: AccessSettings | None = None) -> Iterator[BinaryIO | ZarrStore]:
    """Open the content of an asset: a seekable binary file (HDF5) or a read-only Zarr store.

    Args:
        asset: from `find_assets`.
        access: how to read remote assets.

    Raises:
        SourceError: if the asset is gone, cannot be read, or differs from its archive's digest.

    Example:
        >>> import pathlib, tempfile
        >>> from ingest.sources import find_assets
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "x.nwb"
        >>> _ = path.write_bytes(b"some bytes")
        >>> with open_asset(find_assets(str(path))[0]) as content:
        ...     content.read(4)
        b'some'
    """
    access = access or AccessSettings()
    with ExitStack() as stack:
        if asset.archive is None and is_local(asset.url):
            yield stack.enter_context(_local(asset))
            return
        session = stack.enter_context(PatientSession(access, asset.archive))
        if asset.format == "zarr":
            yield stack.enter_context(_zarr(asset, access, session))
            return
        path = cached_file(access, asset.digests, asset.size)
        if path is None:
            remote = _remote(asset, session)
            if how(asset, remote.size, access) == "stream":
                yield cast(BinaryIO, stack.enter_context(RangeReader(remote, access.block, access.stream_cache)))
                return
            path = download(remote, asset.digests, access)
            yield stack.enter_context(path.open("rb"))
            return
        yield cast(BinaryIO, stack.enter_context(WatchedFile(path.open("rb"), count=METER.count, closes=True)))


def is_local(url: str) -> bool:
    """Return whether a file is on this machine."""
    return "://" not in url or url.startswith("file://")


def how(asset: Asset, size: int, access: AccessSettings) -> str:
    """Return whether to stream or download an asset.

    ``auto`` downloads small assets, as one request is faster than many, and assets that will be read whole: files
    outside an archive, whose digest has to be computed, and assets whose metadata list types other than raw voltage and
    images. It streams the rest, and whatever does not fit on the disk.

    Example:
        >>> from foundation.store import Source
        >>> source = Source("x.nwb", "dandi-etag:0123-1")
        >>> units = Asset("https://x", "x.nwb", 10**9, source, measured=("Units",))
        >>> raw = Asset("https://x", "x.nwb", 10**9, source, measured=("Units", "ElectricalSeries"))
        >>> how(units, 10**9, AccessSettings(cache="/")), how(raw, 10**9, AccessSettings(cache="/"))
        ('download', 'stream')
    """
    if access.mode != "auto":
        return access.mode
    whole = not asset.source.digest or (bool(asset.measured) and not BULK.intersection(asset.measured))
    download = size <= access.small or (whole and size <= access.max_download)
    return "download" if download and size <= free_bytes(access) else "stream"


def _remote(asset: Asset, session: PatientSession) -> RemoteBytes:
    if asset.url.startswith(("http://", "https://")):
        size = asset.size if asset.archive is not None else None
        return HttpFile(asset.url, session, asset.path, size, asset.digests.get("dandi-etag", ""))
    return FsspecFile(asset.url, session, asset.path)


@contextmanager
def _local(asset: Asset) -> Iterator[BinaryIO | ZarrStore]:
    if asset.format == "zarr":
        yield _zarr_folder(asset)
        return
    path = asset.url.removeprefix("file://")
    if reason := why_absent(path):
        raise SourceError(f"{asset.path}: {reason}")
    try:
        file = cast(BinaryIO, fsspec.open(asset.url, "rb").open())
    except OSError as error:
        raise SourceError(f"{asset.path}: cannot be opened: {error}") from error
    with WatchedFile(file, count=METER.count, closes=True) as watched:
        yield cast(BinaryIO, watched)


def _zarr_folder(asset: Asset) -> ZarrStore:
    store = zarr_at(asset.url)
    if store is None:
        raise SourceError(f"{asset.path}: there is no Zarr folder at {asset.url!r}")
    return store


@contextmanager
def _zarr(asset: Asset, access: AccessSettings, session: PatientSession) -> Iterator[ZarrStore]:
    """Open a Zarr asset of an archive, or a folder of another file system."""
    if asset.archive is None:
        yield _zarr_folder(asset)
        return
    place = place_of(access, asset.digests, asset.url)
    if asset.digests and (place.is_dir() or access.mode == "download"):
        # Lock the folder while reading, so that no other process evicts it from the cache.
        with locked(place, asset.path):
            if not place.is_dir():
                entries = list_entries(asset, session)
                download_zarr(place, entries, EntryFetcher(asset, entries, session), asset.path, access)
            os.utime(place)
            make_room(access, place)
            yield LocalStore(place, read_only=True)
        return
    entries = list_entries(asset, session)
    sizes = {key: entry.size for key, entry in entries.items()}
    yield RemoteZarr(sizes, EntryFetcher(asset, entries, session), access.stream_cache, asset.path)
