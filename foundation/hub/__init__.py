"""Pretrained checkpoints by folder or URL."""

from typing import TYPE_CHECKING

from foundation.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from foundation.hub.checkpoints import load_model

__all__ = ["load_model"]
__getattr__ = lazy_attributes(
    __name__,
    {
        "foundation.hub.checkpoints": ["load_model"],
    },
)
