"""Failures that may pass: tried again with growing waits, within a stated budget."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import tenacity

from foundation.common.errors import SourceError
from ingest.sources.source_settings import AccessSettings

log = logging.getLogger(__name__)
T = TypeVar("T")


class PassingError(Exception):
    """A failure that may pass.

    Args:
        reason: what happened.
        wait: seconds that the server asks to wait, if it does.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def persistently(call: Callable[[], T], what: str, access: AccessSettings) -> T:
    """What ``call`` returns, tried again as long as it raises `PassingError` and the budget lasts.

    Waits are random up to a bound that doubles each time, so that many workers do not return at once; a server's
    ``Retry-After`` is honoured up to ``max_wait``.

    Args:
        call: does the work once.
        what: names it in the error.
        access: holds ``attempts``, ``budget``, ``first_wait`` and ``max_wait``.

    Raises:
        SourceError: when attempts or budget are used up; it names the last cause.

    Example:
        >>> persistently(lambda: 3, "counting", AccessSettings())
        3
    """
    backoff = tenacity.wait_random_exponential(multiplier=access.first_wait, max=access.max_wait)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.wait if isinstance(error, PassingError) and error.wait is not None else 0.0
        return max(backoff(state), min(asked, access.max_wait))

    def report(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.debug("%s: %s; trying again in %.1f s", what, error, state.upcoming_sleep)

    began = time.monotonic()
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(PassingError),
        wait=wait,
        stop=tenacity.stop_after_attempt(access.attempts) | tenacity.stop_before_delay(access.budget),
        before_sleep=report,
    )
    try:
        return retrying(call)
    except tenacity.RetryError as error:
        last = error.last_attempt
        spent = time.monotonic() - began
        times = f"{last.attempt_number} attempt{'' if last.attempt_number == 1 else 's'}"
        raise SourceError(
            f"{what}: given up after {times} in {spent:.0f} s, the last with: {last.exception()}"
        ) from last.exception()


def asked_wait(value: str | None) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, as seconds or as a date; None if it asks for nothing.

    Example:
        >>> asked_wait("7"), asked_wait("Wed, 21 Oct 2015 07:28:00 GMT"), asked_wait("soon"), asked_wait(None)
        (7.0, 0.0, None, None)
    """
    if value is None:
        return None
    if re.fullmatch(r"\s*\d{1,9}\s*", value):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def cause_of(error: BaseException) -> str:
    """An error in one line. Queries of URLs are left out: presigned ones are keys.

    Example:
        >>> cause_of(ValueError("no answer from http://s3/blob?X-Amz-Signature=abc (port 9)"))
        'ValueError: no answer from http://s3/blob?... (port 9)'
    """
    text = re.sub(r"\?[^\s'\")>]+", "?...", " ".join(str(error).split()))
    return f"{type(error).__name__}: {text}"[:300]
