"""Checkpoints by name, folder or URL: finding, fetching, checking, listing and publishing."""

from typing import TYPE_CHECKING

from foundation.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from foundation.hub.checkpoint_resolver import Resolved, resolve
    from foundation.hub.checkpoints import checkpoint_digest, load_model

__all__ = ["Resolved", "checkpoint_digest", "load_model", "resolve"]
__getattr__ = lazy_attributes(
    __name__,
    {
        "foundation.hub.checkpoint_resolver": ["Resolved", "resolve"],
        "foundation.hub.checkpoints": ["checkpoint_digest", "load_model"],
    },
)
