"""Sources of recordings: local folders, object stores and DANDI-like archives; they list assets and open them."""

from typing import TYPE_CHECKING

from foundation.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from ingest.sources.asset import Asset
    from ingest.sources.asset_content import open_asset
    from ingest.sources.asset_search import find_assets
    from ingest.sources.dandi.archives import Archive
    from ingest.sources.source_settings import AccessSettings, AssetFilters

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
        "ingest.sources.source_settings": ["AccessSettings", "AssetFilters"],
        "ingest.sources.dandi.archives": ["Archive"],
        "ingest.sources.asset": ["Asset"],
        "ingest.sources.asset_search": ["find_assets"],
        "ingest.sources.asset_content": ["open_asset"],
    },
)
