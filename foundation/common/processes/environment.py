"""The environment of this process and its children.

Switches off usage statistics, network calls and noise of libraries. Values that are already set are kept.

Imports find only installed packages. Python started with ``-m`` or ``-c`` searches the working folder first, and so do
Ray's workers: a user's file called ``ingest.py``, ``foundation.py`` or ``random.py`` would be imported, and so run, in
place of the package of that name.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SAFE_PATH = "PYTHONSAFEPATH"
ROOT = Path(__file__).parents[3]
DEFAULTS = {
    "DANDI_NO_ET": "1",
    "DO_NOT_TRACK": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
}


def name_accelerator() -> None:
    """Set DeepSpeed's accelerator to the CPU on machines without a GPU; transformers imports DeepSpeed if it can."""
    import torch

    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")


def prepare() -> None:
    """Set the switches; called when `foundation` is imported, before those libraries.

    Example:
        >>> prepare()
        >>> os.environ["RAY_USAGE_STATS_ENABLED"]
        '0'
    """
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)


@contextmanager
def safe_path() -> Iterator[None]:
    """Keep the working folder off the import path of Python processes started inside the block.

    Example:
        >>> with safe_path():
        ...     os.environ["PYTHONSAFEPATH"]
        '1'
    """
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(SAFE_PATH, None)
        else:
            os.environ[SAFE_PATH] = before


def drop_working_folder() -> None:
    """Remove the working folder from this process's import path, unless our packages were imported from it.

    For modules started with ``python -m``.
    """
    first = Path(sys.path[0] or ".").resolve() if sys.path else ROOT
    if not sys.flags.safe_path and first == Path.cwd() and first != ROOT:
        del sys.path[0]
