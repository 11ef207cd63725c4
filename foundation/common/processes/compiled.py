"""Compiled loops: kept on disk wherever that can be done, and announced when they are compiled, as that takes seconds.

numba keeps what it compiled beside the source or below the home, and refuses where neither can be written. A package on
a read-only file system and a home of nobody are common on clusters: the temporary folder serves there.
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
    """Compile a function with numba when it is first called; the interpreter's lock is released while it runs.

    Args:
        cache: keep the compiled code on disk, for other processes and the next run.

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
            except RuntimeError as error:  # no folder can be written
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
        except OSError as error:  # a full disk: the code is there all the same, in this process
            log.debug("%s is not kept: %s", function.__name__, error)

    made._cache.save_overload = save_if_possible
    loop: Loop = made
    return loop


def temporary_folder() -> Path | None:
    """Return a folder for compiled code that only this user can write; None if there can be none.

    Compiled code is run as it is read, so a folder that another user made under this name is not taken.
    """
    try:
        return private_folder(Path(tempfile.gettempdir()) / f"foundation-numba-{os.getuid()}")
    except OSError:
        return None


class _Announcer(event.Listener):
    """Says once a process that loops are being compiled; those that are found on disk are not."""

    def __init__(self) -> None:
        self.said = False

    def on_start(self, event: Any) -> None:
        if not self.said:
            self.said = True
            log.info("compiling loops, which takes some seconds, once")

    def on_end(self, event: Any) -> None:
        pass


event.register("numba:compile", _Announcer())
