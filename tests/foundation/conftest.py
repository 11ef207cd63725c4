"""Processes that start quickly."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SERVER = Path(__file__).with_name("process_server.py")
_numbers = itertools.count()
PLACED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "FOUNDATION_ALONE")


class Forked:
    """A process of the server, with the part of `subprocess.Popen` that tests use."""

    def __init__(self, pid: int, status: Path) -> None:
        self.pid, self._status = pid, status
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and self._status.is_file():
            self.returncode = int(self._status.read_text())
        return self.returncode

    def wait(self, timeout: float = 600.0) -> int:
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() >= end:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(0.01)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@pytest.fixture(scope="session")
def fork(tmp_path_factory):
    """Start Python processes with imported packages: words of a command line, environment, file of errors.

    What their command line itself does is for tests that start one with `subprocess`.
    """
    folder = tmp_path_factory.mktemp("processes")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = {name: value for name, value in os.environ.items() if name not in PLACED}
    environment |= {"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    server = subprocess.Popen([sys.executable, "-P", str(SERVER), str(folder)], env=environment, **pipes)

    def start(words: list[str], environment: dict[str, str], errors: Path) -> Forked:
        number = next(_numbers)
        errors.touch()
        order = {"number": number, "environment": environment, "words": words, "errors": str(errors)}
        server.stdin.write(json.dumps(order) + "\n")
        server.stdin.flush()
        return Forked(int(server.stdout.readline()), folder / str(number))

    yield start
    server.stdin.close()
    server.wait(60)
