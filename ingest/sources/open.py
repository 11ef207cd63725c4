"""The content of an asset, open for reading."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import fsspec
from zarr.abc.store import Store as ZarrStore

from foundation.errors import SourceError
from ingest.sources.access import AccessSettings
from ingest.sources.asset import Asset
from ingest.zarr_nwb import zarr_at


@contextmanager
def open_asset(asset: Asset, access: AccessSettings | None = None) -> Iterator[BinaryIO | ZarrStore]:
    """The content of an asset: a seekable binary file (HDF5) or a read-only Zarr store.

    Args:
        asset: from `find_assets`.
        access: how it is read if it is on another machine.

    Raises:
        SourceError: if it is gone, may not be read, or is not what its archive states.

    Example:
        >>> import pathlib, tempfile
        >>> from ingest.sources import find_assets
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "x.nwb"
        >>> _ = path.write_bytes(b"some bytes")
        >>> with open_asset(find_assets(str(path))[0]) as content:
        ...     content.read(4)
        b'some'
    """
    if asset.format == "zarr":
        store = zarr_at(asset.url)
        if store is None:
            raise SourceError(f"{asset.path}: there is no Zarr folder at {asset.url!r} any more")
        yield store
        return
    try:
        opened = fsspec.open(asset.url, "rb").open()
    except OSError as error:
        raise SourceError(f"{asset.path}: cannot be opened: {error}") from error
    with opened as file:
        yield file
