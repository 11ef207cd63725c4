"""The cache folder of models shared by several runs."""

from __future__ import annotations

import os
from pathlib import Path


def weights_folder(given: str | None) -> Path:
    """Return the folder given, or ``foundation/weights`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if given is not None:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foundation" / "weights"
