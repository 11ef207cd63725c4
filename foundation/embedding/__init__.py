"""Frozen embeddings of stored recordings."""

from typing import TYPE_CHECKING

from foundation.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from foundation.embedding.embed_job import embed
    from foundation.embedding.embed_settings import EmbedSettings
    from foundation.embedding.embedding_table import unit_table
    from foundation.embedding.frozen_embeddings import embed_units

__all__ = ["EmbedSettings", "embed", "embed_units", "unit_table"]
__getattr__ = lazy_attributes(
    __name__,
    {
        "foundation.embedding.embed_job": ["embed"],
        "foundation.embedding.frozen_embeddings": ["embed_units"],
        "foundation.embedding.embed_settings": ["EmbedSettings"],
        "foundation.embedding.embedding_table": ["unit_table"],
    },
)
