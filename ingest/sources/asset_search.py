"""Find the assets that a user's input names, and list them as text."""

from __future__ import annotations

from collections.abc import Sequence

from foundation.common.output.pages import text_table
from foundation.common.output.printable import count
from ingest.sources.asset import Asset
from ingest.sources.asset_filters import chosen
from ingest.sources.dandi.archives import Archive, known_archives, parse_address
from ingest.sources.local.local_files import find_local
from ingest.sources.source_settings import AccessSettings, AssetFilters


def find_assets(
    source: str,
    filters: AssetFilters | None = None,
    archives: Sequence[Archive] = (),
    access: AccessSettings | None = None,
) -> list[Asset]:
    """Return the NWB assets of ``source`` that pass ``filters``, sorted by path. Reads no asset's bytes.

    Args:
        source: ``dandi://<archive>/<dandiset>[@version][/folder, file or glob]``, the web or API address of a dandiset
            or an asset, a file, a folder (searched to any depth), a glob, or an fsspec URL of these.
        filters: which of them to take; by default all.
        archives: archives in addition to the built-in ones (DANDI, EMBER, LINC and their sandboxes).
        access: retries and timeouts of requests to an archive.

    Raises:
        ConfigError: if the archive is unknown.
        SourceError: if the source is missing or unreadable, or no asset passes.

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


def listing(assets: Sequence[Asset]) -> str:
    """Return a table with a line per asset and the total.

    Example:
        >>> from foundation.store import Source
        >>> print(listing([Asset("/d/a.nwb", "a.nwb", 1_500_000, Source("a.nwb", ""))]))
        path       size  format
        a.nwb    1.5 MB  hdf5
        1 asset  1.5 MB
    """
    rows = [(asset.path, size_text(asset.size), asset.format) for asset in assets]
    total = (count(len(assets), "asset"), size_text(sum(asset.size for asset in assets)))
    table = text_table([("path", "size", "format"), *rows, total], right={1})
    origins = sorted({_origin(asset) for asset in assets if asset.namespace})
    return "\n".join([*origins, table])


def size_text(size: int) -> str:
    """Return a number of bytes in a readable unit.

    Example:
        >>> size_text(0), size_text(999), size_text(12_345_678_901)
        ('?', '999 B', '12.3 GB')
    """
    if not size:
        return "?"
    number, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if number < 999.95:
            break
        number, unit = number / 1000, larger
    return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"


def _origin(asset: Asset) -> str:
    licence = f", licence {asset.source.licence}" if asset.source.licence else ""
    return f"{asset.namespace}, version {asset.source.version}{licence}"
