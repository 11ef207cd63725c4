"""Compiled loops, cached on disk where possible; compilation takes seconds and is announced in the log.

numba caches compiled code beside the source or in the home folder, and fails if it can write to neither. Read-only
packages without a writable home are common on clusters; the temporary folder is used there.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import event

from foundation.common.files.private_folder import private_folder

log = logging.getLogger(__name__)
Loop = TypeVar("Loop", bound=Callable[..., Any])


def compiled(cache: bool = True) -> Callable[[Loop], Loop]:
    """Compile a function with numba on its first call; it runs without holding Python's global lock.

    Args:
        cache: cache the compiled code on disk, for other processes and later runs.

    Example:
        >>> @compiled(cache=False)
        ... def total(x_N):
        ...     return x_N.sum()
        >>> import numpy as np
        >>> float(total(np.ones(3)))
        3.0
    """

    def decorate(function: Loop) -> Loop:
        if cache:
            try:
                return _kept(function)
            except RuntimeError as error:  # no writable folder
                log.debug("%s", error)
            folder = temporary_folder()
            if folder is not None:
                numba.config.CACHE_DIR = str(folder)
                try:
                    return _kept(function)
                except RuntimeError as error:
                    log.debug("%s", error)
        made: Loop = numba.njit(nogil=True)(function)
        return made

    return decorate


def _kept(function: Loop) -> Loop:
    made = numba.njit(cache=True, nogil=True)(function)
    save = made._cache.save_overload

    def save_if_possible(*args: Any) -> None:
        try:
            save(*args)
        except OSError as error:  # a full disk: this process has the code in memory
            log.debug("the compiled code of %s is not cached: %s", function.__name__, error)

    made._cache.save_overload = save_if_possible
    loop: Loop = made
    return loop


def temporary_folder() -> Path | None:
    """Return a folder for compiled code that only this user can write to; None if there is no such folder.

    Cached code is executed, so a folder that another user created under this name is not used.
    """
    try:
        return private_folder(Path(tempfile.gettempdir()) / f"foundation-numba-{os.getuid()}")
    except OSError:
        return None


class _Announcer(event.Listener):
    """Logs once per process that loops are being compiled; cached loops are not announced."""

    def __init__(self) -> None:
        self.announced = False

    def on_start(self, event: Any) -> None:
        if not self.announced:
            self.announced = True
            log.info("compiling loops once, which takes a few seconds")

    def on_end(self, event: Any) -> None:
        pass


event.register("numba:compile", _Announcer())
