"""Clustering of spike waveforms into units: the recipes of the report, ours, and published rivals."""

from typing import TYPE_CHECKING

from foundation.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from ingest.sorting.clustering.cluster_settings import ClusterSettings
    from ingest.sorting.clustering.clusters import Clusters
    from ingest.sorting.clustering.recipes import cluster_waveforms

__all__ = ["ClusterSettings", "Clusters", "cluster_waveforms"]
__getattr__ = lazy_attributes(
    __name__,
    {
        "ingest.sorting.clustering.cluster_settings": ["ClusterSettings"],
        "ingest.sorting.clustering.clusters": ["Clusters"],
        "ingest.sorting.clustering.recipes": ["cluster_waveforms"],
    },
)
