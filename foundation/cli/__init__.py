"""The `foundation` command, the only place that refers to all three packages."""

from typing import TYPE_CHECKING

from foundation.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from foundation.cli.commands import main

__all__ = ["main"]
__getattr__ = lazy_attributes(
    __name__,
    {
        "foundation.cli.commands": ["main"],
    },
)
