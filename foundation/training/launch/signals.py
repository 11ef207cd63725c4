"""Signals that ask a run to stop: a cluster's preemption, a person's ``kill``, a launcher that is gone."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType

from foundation.training.launch.process_tree import Launchers

log = logging.getLogger(__name__)
ASKING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


class StopSignals:
    """While it is entered, SIGTERM, SIGUSR1 and SIGHUP only set ``asked``, the reason; without them it is empty.

    A signal that is ignored, as SIGHUP is below ``nohup``, stays so.

    A launched process is asked to stop as well when a launcher above it is gone: nobody would see its end, and a second
    run could be started in the same place.

    Args:
        launched: whether a launcher started this process.

    Example:
        >>> import os
        >>> with StopSignals() as signals:
        ...     os.kill(os.getpid(), signal.SIGUSR1)
        ...     signals.asked
        'SIGUSR1'
    """

    def __init__(self, launched: bool = False) -> None:
        self._asked = ""
        self._launchers = Launchers() if launched else None
        self._before: dict[int, object] = {}

    @property
    def asked(self) -> str:
        """Why the run is to stop."""
        if not self._asked and self._launchers is not None and self._launchers.gone:
            self._asked = "the end of its launcher"
        return self._asked

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in ASKING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _ask(self, number: int, _: FrameType | None) -> None:
        self._asked = signal.Signals(number).name
