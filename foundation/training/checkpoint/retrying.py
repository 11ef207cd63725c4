"""Trying again what may go well the next time: a disk that is full, a store that is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from foundation.common.errors import ConfigError

T = TypeVar("T")
log = logging.getLogger(__name__)


def retried(
    action: Callable[[], T],
    what: str,
    *,
    retries: int,
    pause: float,
    unless: tuple[type[Exception], ...] = (ConfigError,),
) -> T:
    """Call ``action`` until it goes well, at most ``retries`` times again, after pauses that double.

    Args:
        action: called without arguments.
        what: what is being done, for the log.
        retries: repetitions at most.
        pause: seconds before the first.
        unless: errors that no repetition mends: they are raised at once.

    Raises:
        Exception: what the last attempt raised.

    Example:
        >>> left = iter([OSError("busy"), None])
        >>> def attempt() -> str:
        ...     error = next(left)
        ...     if error:
        ...         raise error
        ...     return "done"
        >>> retried(attempt, "an example", retries=1, pause=0.0)
        'done'
    """
    for attempt in range(retries + 1):
        try:
            return action()
        except unless:
            raise
        except Exception as error:
            if attempt == retries:
                raise
            wait = pause * 2**attempt
            log.warning("%s failed (%s: %s): again in %g s", what, type(error).__name__, error, wait)
            time.sleep(wait)
    raise AssertionError("unreachable")
