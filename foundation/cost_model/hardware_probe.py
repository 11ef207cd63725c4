"""Measurement of hardware: one process per device, all working at once for some seconds."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import distributed
from torch.nn import functional as F

from foundation.common.errors import FoundationError
from foundation.cost_model.copied_products import LENGTH, Between
from foundation.cost_model.hardware import HERE, Hardware
from foundation.data import DataSettings, StepPlan
from foundation.data.reading.decoded_blocks import open_source
from foundation.data.steps.views import ViewSpec
from foundation.store import Catalog, Interval, Recording, Source, Spikes, Store, Subject, Units, write_recording
from foundation.store.stored import StoredRecording
from foundation.training.distributed.rendezvous import free_port

ROWS = {"cpu": 4096, "cuda": 65_536}
MESSAGE = 16 << 20  # bytes of a tensor that is summed over processes
ROUNDS = 5


def measure(devices: int = 1, dim: int = 256) -> Hardware:
    """Measure this machine with ``devices`` processes in parallel, as in a step; takes about ten seconds.

    Without a GPU a device is a process with its number of training threads (OMP_NUM_THREADS).

    Args:
        devices: number of processes.
        dim: features of the planned model; products are those of its feed-forward layers.

    Raises:
        FoundationError: if a process fails.
    """
    port = free_port()
    started = []
    with tempfile.TemporaryDirectory() as folder:
        for rank in range(devices):
            place = {
                "RANK": str(rank),
                "WORLD_SIZE": str(devices),
                "MASTER_PORT": str(port),
                "MASTER_ADDR": "127.0.0.1",
            }
            command = [sys.executable, "-P", "-c", f"from {__name__} import main; main({dim}, {folder!r})"]
            started.append(subprocess.Popen(command, env=os.environ | place, stdout=subprocess.PIPE, text=True))
        outputs = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise FoundationError("this machine could not be measured: a process of the probe failed (see above)")
    found = [json.loads(text.splitlines()[-1]) for text in outputs]
    # All processes wait for the slowest one.
    rates: dict[str, Any] = {name: min(one[name] for one in found) for name in found[0] if name != "kind"}
    rates |= {name: max(one[name] for one in found) for name in rates if name.endswith("_seconds")}
    memory = psutil.virtual_memory().total / devices
    kind = found[0]["kind"]
    if kind == "cpu":
        rates |= {"memory": memory, "host_bandwidth": rates["memory_bandwidth"]}
    return Hardware(
        name=HERE,
        source=f"measured now by {devices} process{'es' * (devices > 1)} at once",
        kind=kind,
        host_memory=memory,
        host_memory_bandwidth=rates.pop("host_memory_bandwidth"),
        **rates,
    )


def _timed(action: Callable[[], Any], device: torch.device, rounds: int = ROUNDS) -> float:
    """Return the median seconds, with all processes starting together."""
    took = []
    for _ in range(rounds + 1):
        if distributed.is_initialized():
            distributed.barrier()
        _settle(device)
        began = time.perf_counter()
        action()
        _settle(device)
        took.append(time.perf_counter() - began)
    return statistics.median(took[1:])


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def products(device: torch.device, dtype: torch.dtype, dim: int) -> float:
    """Measure FLOP/s of a feed-forward layer's products: forward, and for gradients of input and weight."""
    rows = ROWS[device.type]
    x, w = torch.randn(rows, dim, device=device, dtype=dtype), torch.randn(4 * dim, dim, device=device, dtype=dtype)
    y, bias = torch.randn(rows, 4 * dim, device=device, dtype=dtype), torch.zeros(4 * dim, device=device, dtype=dtype)
    times = max(1, round(2e9 / (6 * rows * dim * 4 * dim)))

    def work() -> None:
        for _ in range(times):
            F.linear(x, w, bias)
            y @ w
            y.T @ x

    return times * 6 * rows * dim * 4 * dim / _timed(work, device)


def moves(device: torch.device, dim: int) -> float:
    """Measure bytes/s read and written by the operations between the products of blocks."""
    rows = ROWS[device.type] * 256 // max(256, dim)
    work = Between(rows, dim, device)
    return work.counted().bytes / _timed(work, device)


def calls(device: torch.device) -> float:
    """Measure the seconds to launch an operation, with blocks so small that all else is negligible."""
    work = Between(LENGTH, 4, device)
    return _timed(work, device, 20) / work.counted().calls


def messages(device: torch.device) -> tuple[float, float]:
    """Measure bytes/s per process in an all-reduce of a large tensor, and seconds of a small one; alone, of memory."""
    world = distributed.get_world_size()
    big, small = torch.ones(MESSAGE // 4, device=device), torch.ones(1, device=device)
    took = _timed(lambda: distributed.all_reduce(big), device)
    bandwidth = 2 * (world - 1) / world * MESSAGE / took
    return bandwidth, _timed(lambda: distributed.all_reduce(small), device, 20)


def reads(folder: Path) -> dict[str, float]:
    """Measure bytes/s of cached store files and of decoding; seconds to open a recording and to draw windows."""
    rng, seconds = np.random.default_rng(0), 600.0
    trains = [np.sort(np.round(rng.uniform(0, seconds, rng.poisson(5 * seconds)), 4)) for _ in range(163)]
    store = Store(folder / f"store-{os.getpid()}", create=True)
    recording = Recording(
        Source("probe.nwb", "00"), Subject("probe"), "probe", Units(163), Interval.single(0.0, seconds),
        spikes=Spikes.from_trains(trains),
    )  # fmt: skip
    stored = StoredRecording(store, write_recording(store, recording))
    cpu = torch.device("cpu")
    source = open_source(stored)
    count = len(source.low_K)
    decoded = sum(source.decode(k).nbytes for k in range(count))
    decoding = _timed(lambda: [source.decode(k) for k in range(count)], cpu)
    files = [path for path in Path(folder).rglob("*") if path.is_file() and str(os.getpid()) in str(path)]
    size = sum(path.stat().st_size for path in files)
    reading = _timed(lambda: [path.read_bytes() for path in files], cpu)

    def open_again() -> None:
        open_source(StoredRecording(store, stored.record))

    opening = _timed(open_again, cpu)
    data = DataSettings(bin_widths=[0.005], tokens_per_step=64 * 20 * 8192, min_windows=8, max_units=64)
    plan = StepPlan(Catalog.build(store), data, ViewSpec(2, 10, 10), bins_per_token=20, seed=0)
    outline, own = plan.share(0, 0, 8)
    outlining = _timed(lambda: plan.share(0, 0, 8), cpu) / len(outline)
    drawing = _timed(lambda: plan.draw(0, outline, own[:64]), cpu) / 64
    return {
        "store_bandwidth": size / reading,
        "decode_bandwidth": decoded / decoding,
        "open_seconds": opening,
        "outline_seconds": outlining,
        "draw_seconds": drawing,
    }


def main(dim: int, folder: str) -> None:
    """Run one process of `measure`, which prints its rates as a line of JSON."""
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    device = torch.device("cuda", rank) if torch.cuda.is_available() else torch.device("cpu")
    if world > 1:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", rank=rank, world_size=world)
    moved = moves(device, dim)
    found: dict[str, Any] = {
        "kind": "gpu" if device.type == "cuda" else "cpu",
        "matmul_fp32": products(device, torch.float32, dim),
        "matmul_bf16": products(device, torch.bfloat16, dim),
        "memory_bandwidth": moved,
        "host_memory_bandwidth": moved if device.type == "cpu" else moves(torch.device("cpu"), dim),
        "call_seconds": calls(device),
        **reads(Path(folder)),
    }
    if device.type == "cuda":
        found["memory"] = float(torch.cuda.get_device_properties(device).total_memory)
        block = torch.empty(64 << 20, dtype=torch.uint8, pin_memory=True)
        found["host_bandwidth"] = len(block) / _timed(lambda: block.to(device, non_blocking=True), device)
    if world > 1:
        found["node_bandwidth"], found["network_seconds"] = messages(device)
        found["network_bandwidth"] = found["node_bandwidth"]
        distributed.destroy_process_group()
    print(json.dumps(found))
