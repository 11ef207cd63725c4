"""Throughput, waiting times, memory and device utilisation of a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode

from foundation.common.private_names import CPU_ATTENTION, CPU_ATTENTION_BACKWARD
from foundation.data.batch import WindowBatch
from foundation.data.steps.step import StepBatch
from foundation.training.distributed.process_messages import Control

Shape = tuple[int, ...]


def _forward_flops(q_BHSD: Shape, k_BHSD: Shape, *_: Any, **__: Any) -> int:
    batch, heads, queries, width = q_BHSD
    return 4 * batch * heads * queries * k_BHSD[-2] * width


def _backward_flops(_: Shape, q_BHSD: Shape, k_BHSD: Shape, *__: Any, **___: Any) -> int:
    return _forward_flops(q_BHSD, k_BHSD) * 5 // 2  # five products where forward has two


# Operations that torch's counter leaves out on the CPU.
ATTENTION = {
    CPU_ATTENTION: _forward_flops,
    CPU_ATTENTION_BACKWARD: _backward_flops,
}


class Throughput:
    """Counts windows and tokens since the last report."""

    def __init__(self) -> None:
        self.flops_per_token = 0.0
        self.peak = 0.0
        self._start()

    def _start(self) -> None:
        self.began = time.perf_counter()
        self.steps, self.windows, self.tokens, self.samples = 0, 0, 0, 0
        self.waited, self.stalled = 0.0, 0.0

    def add(self, batches: Sequence[StepBatch], waited: float) -> None:
        """Add this process's share of a step, and the seconds that it waited for data."""
        self.steps += 1
        self.windows += sum(map(len, batches))
        for batch in batches:
            samples = sum(count_samples(view) for view in batch.views)
            self.samples += samples
            self.tokens += samples // batch.context.bins_per_token
        self.waited += waited

    def figures(self, control: Control) -> dict[str, float]:
        """Return the figures since the last call. All processes call it.

        Returns:
            ``seconds`` of a step; ``windows_per_second``, ``neuron_tokens_per_second``, ``samples_per_second`` (a
            sample is a bin of a unit) of all processes, and ``..._per_device``; ``data_wait_share``, the largest share
            of its time that a process waited for data; ``checkpoint_share`` likewise for checkpoints;
            ``flop_utilisation``, the first process's FLOP/s over those of one large matrix product.
        """
        seconds = max(time.perf_counter() - self.began, 1e-9)
        parts = control.of_all([self.windows, self.tokens, self.samples, self.waited, self.stalled])
        found = {
            "seconds": seconds / max(self.steps, 1),
            "data_wait_share": max(part[3] for part in parts) / seconds,
            "checkpoint_share": max(part[4] for part in parts) / seconds,
        }
        for k, name in enumerate(("windows", "neuron_tokens", "samples")):
            total = sum(part[k] for part in parts) / seconds
            found |= {f"{name}_per_second": total, f"{name}_per_second_per_device": total / control.world}
        if self.flops_per_token and self.peak:
            found["flop_utilisation"] = self.flops_per_token * self.tokens / seconds / self.peak
        self._start()
        return found

    def measure(self, step: Any, batches: Sequence[StepBatch], device: torch.device, precision: str) -> Any:
        """Run a step while counting its FLOPs, and time a large matrix product to compare with."""
        with FlopCounterMode(display=False, custom_mapping=ATTENTION) as counter:
            result = step()
        tokens = sum(
            sum(count_samples(view) for view in batch.views) // batch.context.bins_per_token for batch in batches
        )
        self.flops_per_token = counter.get_total_flops() / max(tokens, 1)
        self.peak = product_flops(device, torch.bfloat16 if precision == "bf16" else torch.float32)
        return result


def count_samples(view: WindowBatch) -> int:
    """Return the number of bins of units, without padding."""
    return int((view.mask_BN.sum(1) * view.mask_BT.sum(1)).sum())


def product_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Return the FLOP/s of a large matrix product, the best of three, as the device's peak."""
    edge = 8192 if device.type == "cuda" else 1024
    a = torch.ones(edge, edge, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(4):
        _settle(device)
        began = time.perf_counter()
        a @ a
        _settle(device)
        best = min(best, time.perf_counter() - began)
    return 2 * edge**3 / best


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class System:
    """State of the machine on which the first process runs.

    Args:
        folder: a folder on the disk to report.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.process = folder, psutil.Process()
        psutil.cpu_percent()

    def figures(self) -> dict[str, float]:
        """Return ``system/...``: CPU percent, GB of memory used and free, of GPU memory, and of free disk.

        Example:
            >>> sorted(System(Path(".")).figures())[:3]
            ['system/cpu_percent', 'system/disk_free_gb', 'system/memory_free_gb']
        """
        found = {
            "system/cpu_percent": psutil.cpu_percent(),
            "system/memory_gb": self.process.memory_info().rss / 1e9,
            "system/memory_free_gb": psutil.virtual_memory().available / 1e9,
            "system/disk_free_gb": psutil.disk_usage(str(self.folder)).free / 1e9,
        }
        if torch.cuda.is_available():
            found["system/gpu_memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
        return found
