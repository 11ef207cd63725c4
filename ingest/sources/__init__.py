"""What recordings there are to be had, and their bytes: folders, objects, and archives of DANDI's kind."""

from typing import TYPE_CHECKING

from foundation.lazy import lazy_attributes

if TYPE_CHECKING:
    from ingest.sources.access import AccessSettings
    from ingest.sources.archives import Archive
    from ingest.sources.asset import Asset
    from ingest.sources.filter_settings import AssetFilters
    from ingest.sources.find import find_assets
    from ingest.sources.open import open_asset

__all__ = [
    "AccessSettings",
    "Archive",
    "Asset",
    "AssetFilters",
    "find_assets",
    "open_asset",
]
__getattr__ = lazy_attributes(
    __name__,
    {
        "ingest.sources.access": ["AccessSettings"],
        "ingest.sources.archives": ["Archive"],
        "ingest.sources.asset": ["Asset"],
        "ingest.sources.filter_settings": ["AssetFilters"],
        "ingest.sources.find": ["find_assets"],
        "ingest.sources.open": ["open_asset"],
    },
)
