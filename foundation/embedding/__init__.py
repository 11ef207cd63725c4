"""Frozen embeddings of stored recordings."""

from typing import TYPE_CHECKING

from foundation.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from foundation.embedding.embed_settings import EmbedSettings
    from foundation.embedding.frozen_embeddings import embed, embed_units

__all__ = ["EmbedSettings", "embed", "embed_units"]
__getattr__ = lazy_attributes(
    __name__,
    {
        "foundation.embedding.frozen_embeddings": ["embed", "embed_units"],
        "foundation.embedding.embed_settings": ["EmbedSettings"],
    },
)
