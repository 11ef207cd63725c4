"""What the processes of a run tell each other besides training: to stop, whether data came, what was saved."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import torch
from torch import distributed as dist


class Control:
    """Small messages between processes over the CPU, so that a GPU need not wait for them.

    All processes must make it, and then call its methods in the same order. The process group must be there.

    Args:
        timeout: seconds after which a process gives up waiting for another one. One that was killed is noticed at once.
    """

    def __init__(self, timeout: float) -> None:
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self.group = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout)) if self.world > 1 else None

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, whether it is set in any process."""
        if self.group is None:
            return [bool(flag) for flag in flags]
        found = torch.tensor([int(flag) for flag in flags])
        dist.all_reduce(found, op=dist.ReduceOp.MAX, group=self.group)
        return [bool(flag) for flag in found.tolist()]

    def of_all(self, value: Any) -> list[Any]:
        """Every process's value (what JSON can say), by rank."""
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
        """The first process's value (what JSON can say), in all."""
        return self.of_all(value if self.rank == 0 else None)[0]
