"""How long a bin takes to decode as it comes, on one core: writes docs/benchmarks/stream.md.

python benchmarks/stream_latency.py
python benchmarks/stream_latency.py --bins 200 --page /tmp/page.md
"""

from __future__ import annotations

import one_thread  # noqa: F401

# isort: split
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from harness import Page, in_turns
from safetensors.torch import load_file

from finetune.finetune_job import finetune
from finetune.finetune_settings import FinetuneSettings, GRUSettings, WindowSettings
from finetune.heads.head_files import load_head
from finetune.heads.head_models import head_models
from finetune.heads.stream import HeadStream
from foundation.models import EIT, EITConfig
from foundation.store import (
    Catalog,
    Interval,
    IrregularTimeSeries,
    Recording,
    Source,
    Spikes,
    Store,
    Subject,
    Units,
    write_recording,
)

UNITS, SECONDS, TOKEN = 200, 240.0, 0.1
CONTEXTS = (24, 64)  # tokens that the model reads: as long as windows of pretraining, and the longest trial
MEDIAN, TAIL = 2.0, 10.0  # ms, targets


def recording() -> Recording:
    """Return two hundred units that follow a hand."""
    rng = np.random.default_rng(0)
    times = np.arange(0.0, SECONDS, 0.02)
    velocity = np.stack([np.sin(times / 1.7), np.cos(times / 2.3)], axis=1)
    gain = rng.normal(size=(2, UNITS))
    trains = [np.sort(times.repeat(rng.poisson(rate * 0.02)) + 1e-4) for rate in (5 * np.exp(velocity @ gain / 2)).T]
    return Recording(
        Source("a.nwb", "00"), Subject("m"), "s", Units(UNITS), Interval.single(0.0, SECONDS),
        spikes=Spikes.from_trains(trains),
        behavior={"velocity": IrregularTimeSeries(times, velocity, "cm/s")},
    )  # fmt: skip


def heads(folder: Path, keep: str, context: int) -> Path:
    """Return a causal head of the shipped small model with a population stream, with initial weights."""
    store = Store(folder / "store", create=True)
    write_recording(store, recording())
    (stored,) = Catalog.refresh(store)
    torch.manual_seed(0)
    model = EIT(EITConfig.named("eit-tiny-population", causal=True, patch_length=1))
    model.add_populations({stored.id: torch.zeros(UNITS)})
    model.save_pretrained(folder / "model")
    out = folder / f"{keep}-{context}"
    settings = FinetuneSettings(
        str(folder / "model"), str(folder / "store"), str(out), tasks=["behavior"], mode="probe", folds=3,
        bootstrap=100, control_repeats=2, random_weights=False, keep=keep, gru=GRUSettings(run=False),
        tracking_uri=f"sqlite:///{folder}/mlflow.db",
        windows=WindowSettings(behavior_tokens=context, max_tokens=2000, causal=True),
    )  # fmt: skip
    finetune(settings)
    return out / "velocity-m-s"


def stepper(stream: HeadStream, counts_TN: np.ndarray):
    """Decode the next bin each time it is called, and give the seconds that it took."""
    place = iter(range(1 << 60))

    def step() -> float:
        x_N = counts_TN[next(place) % len(counts_TN)]
        began = time.perf_counter()
        stream.step(x_N)
        return time.perf_counter() - began

    return step


def by_lines(head: Path, counts_TN: np.ndarray) -> np.ndarray:
    """Return the seconds from a written line to its answer, by the command itself."""
    command = [sys.executable, "-m", "foundation", "predict", "--head", str(head), "--stream", "true"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        times = []
        for x_N in counts_TN:
            began = time.perf_counter()
            process.stdin.write(json.dumps(x_N.astype(int).tolist()) + "\n")
            process.stdin.flush()
            json.loads(process.stdout.readline())
            times.append(time.perf_counter() - began)
        process.stdin.close()
    return np.array(times[100:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bins", type=int, default=3000)
    parser.add_argument("--real_time", action="store_true", help="before all other work of the machine")
    parser.add_argument("--page", default="docs/benchmarks/stream.md")
    given = parser.parse_args()
    rng = np.random.default_rng(1)
    counts_TN = rng.poisson(0.5, (1000, UNITS)).astype(np.float32)
    sides, sizes = {}, {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for keep, context in (("rate", CONTEXTS[0]), *(("probe", c) for c in CONTEXTS)):
            place = heads(folder, keep, context)
            head = load_head(place)
            name = "firing rates" if keep == "rate" else f"model, the last {head.windows.tokens} tokens"
            stream = HeadStream(head, head_models(head))
            for x_N in counts_TN[: 2 * head.windows.tokens]:  # until its context is full
                stream.step(x_N)
            sides[name] = stepper(stream, counts_TN)
            sizes[name] = sum(b.weight_LFK.size for b in head.blocks)
        weights = sum(tensor.numel() for tensor in load_file(folder / "model" / "model.safetensors").values())
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})
        torch.set_num_threads(1)
        if given.real_time:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
        command = "python benchmarks/stream_latency.py" + (" --real_time" if given.real_time else "")
        page = Page("Decoding from a stream of bins", command, ["torch", "numpy"])
        times = in_turns(sides, rounds=given.bins, warmup=100)
        lines = f"the command, lines on standard input; model, the last {head.windows.tokens} tokens"
        times[lines] = by_lines(place, np.tile(counts_TN, (2, 1)))
    page.say(
        f"{UNITS} units, a token of {TOKEN:g} s, velocity in two dimensions, by causal heads with lags of up to 3.2 s; "
        f"one core. The model is `eit-tiny-population` with causal attention, of {weights:,} random weights: the time "
        "of a step does not depend on their values. The model reads its last tokens again at each step, so every bin "
        f"has the same amount of context. Target: a median under {MEDIAN:g} ms and a 99th percentile under {TAIL:g} ms."
    )
    rows = []
    for name, seconds in times.items():
        median, tail = (float(np.percentile(1e3 * seconds, q)) for q in (50, 99))
        held = "yes" if median < MEDIAN and tail < TAIL else "no"
        rows.append([name, sizes.get(name, "-"), len(seconds), median, tail, float(1e3 * seconds.max()), held])
    columns = [
        "head reads",
        "weights of the readout",
        "bins",
        "median, ms",
        "99th percentile, ms",
        "longest, ms",
        "held",
    ]
    page.table(columns, rows, 6)
    left_out = ["a GPU", "an acquisition system on the same machine", "finetuned heads, which may run two models"]
    page.not_measured(left_out if given.real_time else [*left_out, "a quiet machine"])
    page.write(given.page)
    print(page.text)


if __name__ == "__main__":
    main()
