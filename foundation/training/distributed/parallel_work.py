"""Work of which each process has its own part, long or short, before all go on together."""

from __future__ import annotations

import threading
from collections.abc import Callable

from foundation.common.errors import FoundationError
from foundation.training.distributed.process_messages import Control


def do_own_part(work: Callable[[], None], control: Control, every: float = 1.0) -> None:
    """Do this process's part, and wait until all have done theirs, however long that takes. All processes call it.

    The work goes on in a thread beside, while all processes tell each other every second whether they are at it: nobody
    gives up waiting for one that works, and one that is lost is noticed as it is in training.

    Args:
        work: this process's part.
        control: to the other processes.
        every: seconds between two messages.

    Raises:
        Exception: what the work raised.
        FoundationError: if another process's work failed.
    """
    failures: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="own part", daemon=True)
    thread.start()
    working = True
    while working:
        thread.join(every)
        working, failed = control.any(thread.is_alive(), bool(failures))
        if failed:
            raise failures[0] if failures else FoundationError("another process failed: its message says why")
