"""Imports that find installed packages alone, in this process and in those that it starts.

Python searches the working folder first where it is started with ``-m`` or ``-c``, and so do Ray's workers. A file of
the user's own that happens to be called ``ingest.py``, ``foundation.py`` or ``random.py`` would be imported, and so
run, in place of the package of that name.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SAFE_PATH = "PYTHONSAFEPATH"
ROOT = Path(__file__).parents[2]


@contextmanager
def safe_path() -> Iterator[None]:
    """Keep the working folder off the import path of every Python that is started meanwhile.

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
    """Take the working folder off this process's import path, unless the packages themselves were imported from it.

    For modules that are started with ``python -m``.
    """
    first = Path(sys.path[0] or ".").resolve() if sys.path else ROOT
    if not sys.flags.safe_path and first == Path.cwd() and first != ROOT:
        del sys.path[0]
