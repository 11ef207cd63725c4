"""Work of a device: FLOPs, bytes moved and operations launched."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add


@dataclass(frozen=True)
class Work:
    """Work of one device in a step or a part of it.

    Args:
        flops: FLOPs of matrix products and attention; a product of (m, k) and (k, n) has 2 m k n.
        moved: bytes that all other operations read and write.
        calls: number of operations launched.
    """

    flops: float = 0.0
    moved: float = 0.0
    calls: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(self.flops + other.flops, self.moved + other.moved, self.calls + other.calls)

    def __mul__(self, times: float) -> Work:
        return Work(self.flops * times, self.moved * times, self.calls * times)


def total(parts: list[Work]) -> Work:
    """Return the sum of several pieces of work."""
    return reduce(add, parts, Work())
