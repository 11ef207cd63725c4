"""Small control messages between the processes of a run, such as requests to stop."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
from torch import distributed as dist

from foundation.common.errors import FoundationError


class Control:
    """Small messages between processes over the CPU, so that a GPU need not wait for them.

    All processes must create it and call its methods in the same order. The process group must exist.

    Args:
        timeout: seconds after which a process gives up waiting for another one. A killed process is noticed at once.
    """

    def __init__(self, timeout: float) -> None:
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self.group = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout)) if self.world > 1 else None

    def any(self, *flags: bool) -> list[bool]:
        """Return for each flag True if it is set in any process."""
        if self.group is None:
            return [bool(flag) for flag in flags]
        found = torch.tensor([int(flag) for flag in flags])
        dist.all_reduce(found, op=dist.ReduceOp.MAX, group=self.group)
        return [bool(flag) for flag in found.tolist()]

    def of_all(self, value: Any) -> list[Any]:
        """Return every process's JSON value, by rank."""
        if self.group is None:
            return [value]
        text = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world)]
        dist.all_gather(sizes, torch.tensor([len(text)]), group=self.group)
        longest = int(max(int(size) for size in sizes))
        texts = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.world)]
        dist.all_gather(texts, torch.cat([text, text.new_zeros(longest - len(text))]), group=self.group)
        return [json.loads(bytes(t[: int(n)].tolist())) for t, n in zip(texts, sizes, strict=True)]

    def of_first(self, value: Any) -> Any:
        """Return the first process's JSON value in all processes."""
        return self.of_all(value if self.rank == 0 else None)[0]


def do_own_part(work: Callable[[], None], control: Control, every: float = 1.0) -> None:
    """Run this process's part of some work, and wait until all processes have finished. All processes call it.

    The work runs in a thread while the processes exchange a message every second, so that long work does not time out
    and a lost process is noticed as quickly as in training.

    Args:
        work: this process's part.
        control: messages to the other processes.
        every: seconds between two messages.

    Raises:
        Exception: the error of this process's work.
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
            raise failures[0] if failures else FoundationError("another process failed: see its message")
