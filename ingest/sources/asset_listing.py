"""What would be taken, as text: the paths, their sizes and the total."""

from __future__ import annotations

from collections.abc import Sequence

from foundation.common.printable import printable
from ingest.sources.asset import Asset


def listing(assets: Sequence[Asset]) -> str:
    """A table of assets: a line each, and the total.

    Example:
        >>> from foundation.store import Source
        >>> print(listing([Asset("/d/a.nwb", "a.nwb", 1_500_000, Source("a.nwb", ""))]))
        path              size  format
        a.nwb           1.5 MB  hdf5
        1 asset         1.5 MB
    """
    paths = [printable(asset.path) for asset in assets]
    width = max([*map(len, paths), 12])
    lines = [f"{'path':{width}}{'size':>10}  format"]
    for path, asset in zip(paths, assets, strict=True):
        lines.append(f"{path:{width}}{size_text(asset.size):>10}  {asset.format}")
    count = f"{len(assets):,} asset{'' if len(assets) == 1 else 's'}"
    lines.append(f"{count:{width}}{size_text(sum(asset.size for asset in assets)):>10}")
    origins = sorted({_origin(asset) for asset in assets if asset.namespace})
    return "\n".join([*origins, *lines])


def size_text(size: int) -> str:
    """Bytes for people.

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
