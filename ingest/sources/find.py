"""From what a person writes to the assets that it names."""

from __future__ import annotations

from collections.abc import Sequence

from ingest.sources.archives import Archive
from ingest.sources.asset import Asset
from ingest.sources.files import find_local
from ingest.sources.filters import AssetFilters, chosen


def find_assets(source: str, filters: AssetFilters | None = None, archives: Sequence[Archive] = ()) -> list[Asset]:
    """The NWB assets that ``source`` names and ``filters`` leave, sorted by path. No asset's bytes are read.

    Args:
        source: a file, a folder (searched to any depth), a glob, or an fsspec URL of any of these.
        filters: which of them are taken; by default all.
        archives: archives besides the built-in ``dandi`` and ``dandi-sandbox``.

    Raises:
        SourceError: if nothing is there, it may not be read, or no asset is left.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "sub-a").mkdir(), (folder / "sub-a" / "sub-a_ecephys.nwb").touch(), (folder / "x.txt").touch()
        >>> [(asset.path, asset.subject, asset.modality) for asset in find_assets(str(folder))]
        [('sub-a/sub-a_ecephys.nwb', 'a', ('ecephys',))]
    """
    return chosen(find_local(source), filters or AssetFilters(), source)
