"""Requests to stop a training process, and how a launcher passes them to its processes."""

from __future__ import annotations

import os
import signal
import time

import psutil

from foundation.common.processes.interrupts import STOPPING, StopRequests

ASKING = (*STOPPING, signal.SIGUSR1)  # SIGUSR1: a cluster's preemption
LAUNCHERS = ("deepspeed", "torchrun", "torch.distributed", "foundation")
PAUSE = 1.0  # seconds between two checks


def training_stops(launched: bool = False) -> StopRequests:
    """Return a context that records SIGTERM, SIGHUP and SIGUSR1 without interrupting the step.

    A launched process is also asked to stop when one of its launchers has ended: nobody would see its end, and a second
    run could start in the same place.

    Args:
        launched: True if a launcher started this process.

    Example:
        >>> with training_stops() as stops:
        ...     os.kill(os.getpid(), signal.SIGUSR1)
        ...     stops.asked
        'SIGUSR1'
    """
    if not launched:
        return StopRequests(ASKING, interrupt=False)
    launchers = Launchers()
    return StopRequests(ASKING, interrupt=False, reason=lambda: "the end of its launcher" if launchers.gone else "")


class Launchers:
    """The launchers of this process at construction: its parent, and the launchers above it.

    Example:
        >>> Launchers().gone
        False
    """

    def __init__(self) -> None:
        self._watched: list[psutil.Process] = []
        self._looked, self._gone = time.monotonic(), False
        process = psutil.Process().parent()
        while process is not None and process.pid > 1:
            if self._watched and not _is_launcher(process):
                break
            self._watched.append(process)
            process = process.parent()

    @property
    def gone(self) -> bool:
        """True once any launcher has ended."""
        if not self._gone and time.monotonic() - self._looked >= PAUSE:
            self._looked = time.monotonic()
            self._gone = not all(_lives(process) for process in self._watched)
        return self._gone


def trained_below(pid: int) -> list[psutil.Process]:
    """Return the training processes below a launcher."""
    try:
        return [p for p in psutil.Process(pid).children(recursive=True) if _is_training(p)]
    except psutil.NoSuchProcess:
        return []


def ask_to_stop(pid: int) -> bool:
    """Ask the training processes below a launcher to save and stop; the launcher then exits with their status.

    Returns:
        True if at least one process was asked.
    """
    asked = False
    for process in trained_below(pid):
        try:
            os.kill(process.pid, signal.SIGTERM)
        except ProcessLookupError:
            continue
        asked = True
    return asked


def _is_launcher(process: psutil.Process) -> bool:
    try:
        return any(name in word for word in process.cmdline()[:4] for name in LAUNCHERS)
    except psutil.Error:
        return False


def _is_training(process: psutil.Process) -> bool:
    try:
        words = process.cmdline()
        return "foundation.training" in words and "deepspeed.launcher.launch" not in words and _has_rank(process)
    except psutil.Error:
        return False


def _has_rank(process: psutil.Process) -> bool:
    return "RANK" in process.environ()


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
