"""Retry transient failures with growing waits, within the configured attempts and time budget."""

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
    """A transient failure: worth a retry.

    Args:
        reason: what happened.
        wait: seconds that the server asks to wait, or None.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def persistently(call: Callable[[], T], what: str, access: AccessSettings) -> T:
    """Return the result of ``call``, retried while it raises `PassingError` and the budget lasts.

    Waits are random up to a bound that doubles each time, so that many workers do not retry at the same time; a
    server's ``Retry-After`` is honoured up to ``max_wait``.

    Args:
        call: makes one attempt.
        what: describes the call in errors.
        access: holds ``attempts``, ``budget``, ``first_wait`` and ``max_wait``.

    Raises:
        SourceError: when attempts or budget are used up; the message names the last cause.

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
            f"{what}: gave up after {times} in {spent:.0f} s; last error: {last.exception()}"
        ) from last.exception()


def asked_wait(value: str | None) -> float | None:
    """Return the seconds of a ``Retry-After`` header, given as seconds or as a date; None if it has neither.

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
    """Return an error in one line, without the queries of URLs: a presigned query is a secret.

    Example:
        >>> cause_of(ValueError("no answer from http://s3/blob?X-Amz-Signature=abc (port 9)"))
        'ValueError: no answer from http://s3/blob?... (port 9)'
    """
    text = re.sub(r"\?[^\s'\")>]+", "?...", " ".join(str(error).split()))
    return f"{type(error).__name__}: {text}"[:300]
