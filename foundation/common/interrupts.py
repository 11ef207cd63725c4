"""Signals that ask a command to stop: they end it as Ctrl-C does, with what was done kept and said."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

log = logging.getLogger(__name__)
# A scheduler's or a person's `kill`, and a terminal that was closed.
ASKING = (signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """Raised in the main thread where a command is asked to stop.

    Args:
        result: what was done by then, to be shown.
    """

    def __init__(self, result: Any = None) -> None:
        super().__init__()
        self.result = result


class StopRequests:
    """While it is entered, the first SIGTERM or SIGHUP raises `Stopped`; later ones do not disturb the tidying up.

    A signal that is ignored, as SIGHUP is below ``nohup``, stays so.

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
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    @property
    def status(self) -> int:
        """The exit status by convention: 128 and the signal's number; without a signal it was Ctrl-C."""
        return 128 + int(signal.SIGINT if self.number is None else self.number)

    @property
    def name(self) -> str:
        """The signal, for a person; empty for Ctrl-C."""
        return "" if self.number is None else signal.Signals(self.number).name

    def __enter__(self) -> StopRequests:
        if threading.current_thread() is threading.main_thread():
            for number in ASKING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _stop(self, number: int, _: FrameType | None) -> None:
        if self.number is None:
            self.number = number
            raise Stopped
        log.info("%s: stopping already", signal.Signals(number).name)
