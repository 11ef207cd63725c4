"""From what a person writes to the assets that it names."""

from __future__ import annotations

from collections.abc import Sequence

from ingest.sources.access import AccessSettings
from ingest.sources.asset import Asset
from ingest.sources.asset_filter_settings import AssetFilters
from ingest.sources.asset_filters import chosen
from ingest.sources.dandi.addresses import parse_address
from ingest.sources.dandi.archives import Archive, known_archives
from ingest.sources.local.local_files import find_local


def find_assets(
    source: str,
    filters: AssetFilters | None = None,
    archives: Sequence[Archive] = (),
    access: AccessSettings | None = None,
) -> list[Asset]:
    """The NWB assets that ``source`` names and ``filters`` leave, sorted by path. No asset's bytes are read.

    Args:
        source: ``dandi://<archive>/<dandiset>[@version][/folder, file or glob]``, the address of a dandiset or an asset
            on an archive's pages or API, a file, a folder (searched to any depth), a glob, or an fsspec URL of these.
        filters: which of them are taken; by default all.
        archives: archives besides the built-in ones (DANDI, EMBER, LINC and their sandboxes).
        access: how often and how long an archive is asked.

    Raises:
        ConfigError: for an archive that is not known.
        SourceError: if nothing is there, it may not be read, or no asset is left.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "sub-a").mkdir(), (folder / "sub-a" / "sub-a_ecephys.nwb").touch(), (folder / "x.txt").touch()
        >>> [(asset.path, asset.subject, asset.modality) for asset in find_assets(str(folder))]
        [('sub-a/sub-a_ecephys.nwb', 'a', ('ecephys',))]
    """
    address = parse_address(source, known_archives(archives))
    if address is not None:
        from ingest.sources.dandi.dandiset import (
            find_in_archive,  # takes half a second, which local files need not wait for
        )

        found = find_in_archive(address, access or AccessSettings())
    else:
        found = find_local(source, access or AccessSettings())
    return chosen(found, filters or AssetFilters(), source)
