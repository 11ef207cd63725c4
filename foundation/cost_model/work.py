"""Work, and the seconds that a device needs for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add

from foundation.cost_model.hardware import Hardware


@dataclass(frozen=True)
class Work:
    """What a device does.

    Args:
        flops: of products of matrices and of attention; a product of (m, k) and (k, n) is 2 m k n.
        moved: bytes that every other operation reads and writes.
        calls: operations started.
    """

    flops: float = 0.0
    moved: float = 0.0
    calls: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(self.flops + other.flops, self.moved + other.moved, self.calls + other.calls)

    def __mul__(self, times: float) -> Work:
        return Work(self.flops * times, self.moved * times, self.calls * times)

    def seconds(self, hardware: Hardware, precision: str = "fp32") -> float:
        """On one device: starting operations goes on beside working on earlier ones, so the longer of the two counts.

        On a CPU, which starts what it works on, they add up.

        Example:
            >>> machine = Hardware("x", "none", matmul_fp32=1e12, matmul_bf16=2e12, memory_bandwidth=1e11)
            >>> Work(flops=1e12, moved=5e10).seconds(machine)
            1.5
        """
        rate = hardware.matmul_bf16 if precision == "bf16" else hardware.matmul_fp32
        working = self.flops / (rate * hardware.share) + self.moved / (hardware.memory_bandwidth * hardware.share)
        starting = self.calls * hardware.call_seconds
        return max(working, starting) if hardware.kind == "gpu" else working + starting


def total(parts: list[Work]) -> Work:
    """The sum."""
    return reduce(add, parts, Work())
