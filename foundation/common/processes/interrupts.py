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
    """Call a function when one of these signals arrives; the handlers before are put back at the end.

    A signal that is ignored, as SIGHUP is below ``nohup``, stays ignored. In other threads than the main one nothing
    is changed, as Python handles signals in the main thread only.

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
    """Raised in the main thread when a command is asked to stop: it ends as it does after Ctrl-C.

    Args:
        result: what was done by then, to be shown.
    """

    def __init__(self, result: Any = None) -> None:
        super().__init__()
        self.result = result


class StopRequests:
    """While it is entered, the first SIGTERM or SIGHUP raises `Stopped`; later ones do not disturb the tidying up.

    Example:
        >>> import os
        >>> with StopRequests() as requests:
        ...     try:
        ...         os.kill(os.getpid(), signal.SIGTERM)
        ...     except KeyboardInterrupt:
        ...         requests.status
        143
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._handled = handled(STOPPING, self._stop)

    @property
    def status(self) -> int:
        """The exit status by convention: 128 and the signal's number; without a signal it was Ctrl-C."""
        return 128 + int(signal.SIGINT if self.signal is None else self.signal)

    @property
    def name(self) -> str:
        """The signal, for a person; empty for Ctrl-C."""
        return "" if self.signal is None else self.signal.name

    def __enter__(self) -> StopRequests:
        self._handled.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._handled.__exit__(None, None, None)

    def _stop(self, number: signal.Signals) -> None:
        if self.signal is None:
            self.signal = number
            raise Stopped
        log.info("%s: stopping already", number.name)
