"""What recordings there are to be had, and their bytes: folders, objects, and archives of DANDI's kind."""

from typing import TYPE_CHECKING

from foundation.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from ingest.sources.access import AccessSettings
    from ingest.sources.asset import Asset
    from ingest.sources.asset_filter_settings import AssetFilters
    from ingest.sources.dandi.archives import Archive
    from ingest.sources.find_assets import find_assets
    from ingest.sources.open_asset import open_asset

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
        "ingest.sources.dandi.archives": ["Archive"],
        "ingest.sources.asset": ["Asset"],
        "ingest.sources.asset_filter_settings": ["AssetFilters"],
        "ingest.sources.find_assets": ["find_assets"],
        "ingest.sources.open_asset": ["open_asset"],
    },
)
