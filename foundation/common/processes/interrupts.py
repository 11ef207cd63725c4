"""Handlers of signals that ask a process to stop, such as a scheduler's SIGTERM or the SIGHUP of a closed terminal."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

log = logging.getLogger(__name__)
STOPPING = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def handled(signals: Sequence[signal.Signals], handler: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Call a function when one of these signals arrives; restore the previous handlers at the end.

    An ignored signal, such as SIGHUP under ``nohup``, stays ignored. Outside the main thread this does nothing, as
    Python handles signals in the main thread only.

    Args:
        signals: to handle.
        handler: takes the signal.

    Example:
        >>> import os
        >>> with handled([signal.SIGUSR1], lambda number: print(number.name)):
        ...     os.kill(os.getpid(), signal.SIGUSR1)
        SIGUSR1
    """

    def handle(number: int, _: FrameType | None) -> None:
        handler(signal.Signals(number))

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in signals:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for changed, former in before.items():
            signal.signal(changed, former if former is not None else signal.SIG_DFL)


class Stopped(KeyboardInterrupt):
    """Raised in the main thread when a command is asked to stop; the command ends as after Ctrl-C.

    Args:
        result: the results so far, to be shown.
    """

    def __init__(self, result: Any = None) -> None:
        super().__init__()
        self.result = result


def _interrupt_behind(error: BaseException | None) -> KeyboardInterrupt | None:
    """Return the interrupt that compiled code reported as a SystemError; None for other errors."""
    if not isinstance(error, SystemError):
        return None
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__
    return cause


def _no_reason() -> str:
    return ""


class StopRequests:
    """Record signals that ask the process to stop while the context is active; the first one counts.

    Args:
        signals: the signals.
        interrupt: the first signal raises `Stopped` in the main thread, and later ones do not disturb the clean-up;
    if False, signals only set ``asked``, for a loop that checks it.
        reason: returns a reason to stop other than a signal, or an empty text.

    Example:
        >>> import os
        >>> with StopRequests() as requests:
        ...     try:
        ...         os.kill(os.getpid(), signal.SIGTERM)
        ...     except KeyboardInterrupt:
        ...         requests.asked, requests.status
        ('SIGTERM', 143)
        >>> with StopRequests(interrupt=False, reason=lambda: "the end of its parent") as requests:
        ...     requests.asked
        'the end of its parent'
    """

    def __init__(
        self,
        signals: Sequence[signal.Signals] = STOPPING,
        interrupt: bool = True,
        reason: Callable[[], str] = _no_reason,
    ) -> None:
        self.signal: signal.Signals | None = None
        self._interrupt = interrupt
        self._reason = reason
        self._handled = handled(signals, self._note)

    @property
    def asked(self) -> str:
        """Why the process should stop: the signal's name or another reason; empty without a request or after Ctrl-C."""
        return self._reason() if self.signal is None else self.signal.name

    @property
    def status(self) -> int:
        """The exit status: 128 plus the signal's number; without a signal, that of Ctrl-C."""
        return 128 + int(signal.SIGINT if self.signal is None else self.signal)

    def __enter__(self) -> StopRequests:
        self._handled.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._handled.__exit__(None, None, None)
        stop = _interrupt_behind(error)
        if stop is not None:
            raise stop from error

    def _note(self, number: signal.Signals) -> None:
        first = self.signal is None
        self.signal = self.signal or number
        if self._interrupt and first:
            raise Stopped
        if not first:
            log.info("%s: stopping already", number.name)
