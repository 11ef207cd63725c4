"""Checkpoints inside the installed package, and in a site's own folders."""

from __future__ import annotations

import os
from pathlib import Path

from foundation.hub.checkpoint_files import is_checkpoint

PATH = "FOUNDATION_CHECKPOINTS"
SHIPPED = Path(__file__).resolve().parents[1] / "checkpoints"


def shipped_folders() -> list[Path]:
    """Return the folders of named checkpoints: those of $FOUNDATION_CHECKPOINTS, then the package's own."""
    named = [Path(part).expanduser() for part in os.environ.get(PATH, "").split(os.pathsep) if part]
    return [*named, SHIPPED]


def shipped_checkpoints() -> dict[str, Path]:
    """Return the folder of each shipped checkpoint by name; for duplicate names, the first counts."""
    found: dict[str, Path] = {}
    for folder in shipped_folders():
        inside = sorted(folder.iterdir()) if folder.is_dir() else []
        for path in inside:
            if is_checkpoint(path):
                found.setdefault(path.name, path)
    return found
