"""Retries of actions that may succeed later, such as writing to a full disk or an unreachable store."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import tenacity

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
    """Return the result of ``action``, retrying after errors with pauses that double.

    Args:
        action: called without arguments.
        what: what is being done, for the log.
        retries: most further calls after the first.
        pause: seconds before the first retry.
        unless: errors for which retrying cannot help; they are raised at once.

    Raises:
        Exception: the error of the last attempt.

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

    def report(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning("%s failed (%s: %s): retrying in %g s", what, type(error).__name__, error, state.upcoming_sleep)

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, Exception) and not isinstance(error, unless)),
        stop=tenacity.stop_after_attempt(retries + 1),
        wait=tenacity.wait_exponential(multiplier=pause),
        before_sleep=report,
        reraise=True,
    )
    return retrying(action)
