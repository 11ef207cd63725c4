"""What recordings there are to be had, and their bytes: folders, objects, and archives of DANDI's kind."""

from ingest.sources.access import AccessSettings
from ingest.sources.archives import Archive
from ingest.sources.asset import Asset
from ingest.sources.filters import AssetFilters
from ingest.sources.find import find_assets
from ingest.sources.listing import listing
from ingest.sources.open import open_asset

__all__ = [
    "AccessSettings",
    "Archive",
    "Asset",
    "AssetFilters",
    "find_assets",
    "listing",
    "open_asset",
]
