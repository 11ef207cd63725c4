"""The trainer on the CPU: beside a bare loop, on two processes, its checkpoints, and what `foundation plan` says of it.

    python benchmarks/trainer.py                  # writes docs/benchmarks/trainer.md, some ten minutes
    python benchmarks/trainer.py --rounds 4 --page /tmp/page.md

Needs `pip install -e '.[train,bench]'`.
"""

from __future__ import annotations

import one_thread  # noqa: F401  (before torch)

# isort: split
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml
from harness import Page, Ratio, in_turns, ratio_of
from store_data import simulated_spikes

from foundation.cost_model import Hardware, step_cost, step_seconds
from foundation.cost_model.cost_table import si
from foundation.cost_model.hardware_probe import measure
from foundation.cost_model.reading_cost import Reading
from foundation.cost_model.step_cost import Windows
from foundation.cost_model.step_shapes import planned, slowest
from foundation.data import DataSettings, StepPlan
from foundation.models import EIT, EITConfig
from foundation.objectives import NeurPIRSettings, ObjectiveSettings, build_objective
from foundation.store import Catalog, Interval, Recording, Source, Store, Subject, Units, write_recording
from foundation.training import ModelSettings, PretrainSettings
from foundation.training.distributed.rendezvous import free_port

UNITS, TOKENS, WINDOWS = 32, 12, 6  # of a window, of each of its two views, and windows of a process
SIDES = str(Path(__file__).with_name("trainer_sides.py"))
BATCHES = 4
MINUTE = 60.0


def make_store(folder: Path) -> str:
    """Write eight populations of 163 units, 600 s, 5 Hz a unit."""
    store = Store(folder / "store", create=True)
    for i, spikes in enumerate(simulated_spikes()):
        recording = Recording(
            Source(f"{i}.nwb", f"{i:064x}"),
            Subject(f"m{i}"),
            "s",
            Units(163),
            Interval.single(0.0, 600.0),
            spikes=spikes,
        )
        write_recording(store, recording)
    Catalog.build(store).save()
    return str(folder / "store")


def run_of(
    store: str, folder: Path, size: str, *, world: int = 1, stage: int = 0, steps: int = 1000
) -> PretrainSettings:
    """Return a run in which every process has the same work: windows of one shape."""
    shape = EITConfig.named(size, patch_length=20).to_dict()
    named = {f.name: shape[f.name] for f in fields(ModelSettings)}
    return PretrainSettings(
        store=store,
        output=str(folder / f"run-{size}-{world}-{stage}"),
        steps=steps,
        checkpoint_every=10_000,
        log_every=5,
        zero_stage=stage,
        tracking_uri=f"sqlite:///{folder}/mlflow.db",
        model=ModelSettings(**named),
        data=DataSettings(
            bin_widths=[0.005],
            tokens_per_step=WINDOWS * world * UNITS * 2 * TOKENS,
            min_windows=WINDOWS * world,
            max_units=UNITS,
        ),
        objective=ObjectiveSettings(
            neurpir=NeurPIRSettings(
                min_tokens=TOKENS, max_tokens=TOKENS, projector=[256, 256, 128], statistics="within"
            )
        ),
    )


class Group:
    """Processes of a run that wait for requests."""

    def __init__(self, settings: PretrainSettings, world: int) -> None:
        file = Path(f"{settings.output}-{world}-{time.monotonic_ns()}.yaml")
        file.write_text(yaml.safe_dump(asdict(settings)))
        place = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        self.processes = [
            subprocess.Popen(
                [sys.executable, SIDES, "on_request", str(file)],
                env=os.environ | (place | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if world > 1 else {}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for rank in range(world)
        ]
        for process in self.processes:
            read_reply(process)

    def tell(self, word: str, first: bool = False) -> list[dict[str, Any]]:
        """Return the answers of all processes (or of the first alone) to a request."""
        asked = self.processes[:1] if first else self.processes
        for process in asked:
            assert process.stdin is not None
            print(word, file=process.stdin, flush=True)
        return [read_reply(process) for process in asked]

    def step(self) -> float:
        """Return the seconds of a step of the slowest process."""
        return float(max(one["seconds"] for one in self.tell("step")))

    def __enter__(self) -> Group:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.communicate("end\n")


def read_reply(process: subprocess.Popen) -> dict[str, Any]:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("@"):
            found: dict[str, Any] = json.loads(line[1:])
            return found
    raise RuntimeError(f"a process of the benchmark ended with status {process.wait()}")


def overhead(page: Page, store: str, folder: Path, rounds: int, size: str) -> None:
    page.heading("Against a bare PyTorch loop")
    rows = []
    for stage in range(4):
        settings = run_of(store, folder, size, stage=stage, steps=rounds + 4)
        file = folder / f"beside-{stage}.yaml"
        file.write_text(yaml.safe_dump(asdict(settings)))
        done = subprocess.run(
            [sys.executable, SIDES, "beside", str(file)],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("@"))[1:])
        ours, theirs = np.array(found["ours"]), np.array(found["theirs"])
        ratio = ratio_of(ours, theirs)
        asked = verdict(ratio, 1.05, below=True) if stage == 0 else "-"
        between = statistics.median(found["between"])
        rows.append([stage, float(np.median(ours)), between, float(np.median(theirs)), str(ratio), asked])
    page.say(
        f"{size}, patches of 20 bins, NeurPIR, {WINDOWS} windows of {UNITS} units and two views of {TOKENS} tokens, "
        "fp32, one process of one thread. The trainer's own loop with everything in it (the loader's thread, watchdog, "
        "signals, tracking every 5 steps); after each step the same module takes a step on the same batch in a bare "
        f"loop of forward, backward, clipping and AdamW. {rounds} pairs. *Between steps* is the trainer's own work "
        "between two steps."
    )
    head = [
        "ZeRO",
        "trainer, s a step",
        "between steps, s",
        "bare, s a step",
        "trainer over bare (95 % interval)",
        "target",
    ]
    page.table(head, rows)


def verdict(ratio: Ratio, target: float, below: bool = False) -> str:
    """Return whether a claim holds, by the unfavourable end of its interval."""
    holds = ratio.high <= target if below else ratio.holds(target)
    return f"{'holds' if holds else 'does not hold'} (at {'most' if below else 'least'} {target:g})"


def two_processes(page: Page, store: str, folder: Path, rounds: int, size: str) -> None:
    page.heading("Two processes of one thread, and the cost model's prediction")
    with ExitStack() as stack:
        together = stack.enter_context(Group(run_of(store, folder, size, world=2), 2))
        alone = [
            stack.enter_context(Group(replace(run_of(store, folder, size), output=str(folder / f"alone-{k}")), 1))
            for k in range(2)
        ]
        probed: dict[int, list[Hardware]] = {1: [], 2: []}

        def apart() -> float:
            for group in alone:
                (process,) = group.processes
                print("step", file=process.stdin, flush=True)
            return float(max(read_reply(group.processes[0])["seconds"] for group in alone))

        sides = {"one": alone[0].step, "two apart": apart, "two together": together.step}
        parts = [in_turns(sides, rounds=BATCHES, warmup=2)]
        for _ in range(max(1, rounds // BATCHES) - 1):
            for devices, found in probed.items():
                found.append(measure(devices, dim=256))
            parts.append(in_turns(sides, rounds=BATCHES, warmup=0))
        for devices, found in probed.items():
            found.append(measure(devices, dim=256))
    times = {name: np.concatenate([part[name] for part in parts]) for name in sides}
    rows = [
        [name, float(np.median(taken)), float(np.percentile(taken, 25)), float(np.percentile(taken, 75))]
        for name, taken in times.items()
    ]
    page.say(
        f"{size} as above: each process has {WINDOWS} windows of the same shape, and a step of two processes has "
        f"twice as many. Medians and quartiles of {len(times['one'])} rounds in turns, ZeRO 0, batches in memory."
    )
    page.table(["", "s a step", "25 %", "75 %"], rows)
    weak = ratio_of(times["one"], times["two together"])
    fair = ratio_of(times["two apart"], times["two together"])
    page.say(
        f"Weak scaling, one over two together: {weak}: {verdict(weak, 0.85)}. Two apart over two together, which "
        f"cancels the effect of sharing one machine: {fair}."
    )
    check(page, store, folder, size, times, probed)


def check(
    page: Page, store: str, folder: Path, size: str, times: dict[str, np.ndarray], probed: dict[int, list[Hardware]]
) -> None:
    """Return the cost model's estimates for the measured steps."""
    rows = []
    for world, side in ((1, "one"), (2, "two together")):
        settings = run_of(store, folder, size, world=world)
        hardware = middle(probed[world])
        cost = cost_of(settings, world)
        seconds = step_seconds(cost, settings, hardware, world)
        measured = float(np.median(times[side]))
        off = seconds.step / measured - 1
        holds = f"{off:+.0%}, {'holds' if abs(off) <= 0.2 else 'does not hold'} (20 %)"
        rows.append(
            [side, si(cost.flops, "FLOP"), hardware.matmul_fp32 / 1e9, hardware.memory_bandwidth / 1e9, seconds.encoder,
             seconds.objective, seconds.optimizer, seconds.network, seconds.step, measured, holds]
        )  # fmt: skip
    page.say(
        "The cost model (`foundation plan --hardware this-machine`): rates are measured by a probe that does not use "
        "the trainer, in turns with the steps and with as many processes at once; nothing is fitted to the steps."
    )
    head = [
        "",
        "FLOPs of a process",
        "GFLOP/s of products",
        "GB/s of the rest",
        "encoder, s",
        "objective, s",
        "optimiser, s",
    ]
    page.table([*head, "network, s", "step, s", "measured, s", "off"], rows)


def cost_of(settings: PretrainSettings, world: int) -> Any:
    catalog = Catalog.open(Store(settings.store))
    spec = build_objective(settings.objective, settings.model.dim, EIT(settings.model.config())).view_spec
    shape = planned(StepPlan(catalog, settings.data, spec, bins_per_token=20, seed=0), 0)
    read = Reading(outlined=len(shape), drawn=len(shape) // world)
    own = shape.share(slowest(shape, world)[0], world)
    return step_cost(settings, [Windows(settings.objective, own, shape.rows, 20)], world, read, gpu=False)


def middle(found: list[Hardware]) -> Hardware:
    """Return the median of each rate."""
    names = [f.name for f in fields(Hardware) if f.name not in ("name", "source", "kind")]
    return replace(found[0], **{name: statistics.median(getattr(one, name) for one in found) for name in names})


def network(page: Page, store: str, folder: Path, rounds: int, size: str) -> None:
    page.heading("Bytes over the network, and checkpoints")
    rows, saves = [], []
    for world, stage in ((1, 0), (2, 0), (2, 1), (2, 2), (2, 3)):
        settings = run_of(store, folder, size, world=world, stage=stage)
        with Group(settings, world) as group:
            for _ in range(3):
                group.step()
            sent, taken = [], []
            for _ in range(rounds):
                before = psutil.net_io_counters(pernic=True)["lo"].bytes_sent
                taken.append(group.step())
                sent.append(psutil.net_io_counters(pernic=True)["lo"].bytes_sent - before)
            saved = [group.tell("save") for _ in range(3)]
        cost = cost_of(settings, world)
        expected = world * (cost.gradients_sent + cost.rows_sent)
        if world > 1:
            rows.append([stage, si(expected, "B"), si(min(sent), "B"), min(sent) / expected, float(np.median(taken))])
        stall = statistics.median(max(one["stall"] for one in turn) for turn in saved)
        whole = statistics.median(max(one["seconds"] for one in turn) for turn in saved)
        saves.append([world, stage, whole, stall, f"{stall / MINUTE:.2%}"])
    page.say(
        f"{size}, two processes, gloo over loopback. *Measured* is the smallest of {rounds} steps by the "
        "counters of the loopback interface, which also count headers and other programs."
    )
    page.table(["ZeRO", "predicted", "measured", "measured / predicted", "s a step"], rows)
    page.say(
        "A checkpoint of it: seconds until it is written with digests and committed, and how long training waits for "
        "it (target: less than 2 % of a minute; the first checkpoint waits for no earlier one). Medians of 3."
    )
    page.table(["processes", "ZeRO", "written, s", "stall, s", "of a minute"], saves)


def waiting(page: Page, store: str, folder: Path, size: str, steps: int) -> None:
    page.heading("Waiting for data")
    settings = replace(
        run_of(store, folder, size, steps=steps), output=str(folder / "waiting"), log_every=max(2, steps // 3)
    )
    file = folder / "waiting.yaml"
    file.write_text(yaml.safe_dump(asdict(settings)))
    command = [sys.executable, "-m", "foundation.training", "--config", str(file)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    lines = [json.loads(line) for line in (folder / "waiting" / "metrics.jsonl").read_text().splitlines()]
    rows = [
        [line["step"], line["seconds"], f"{line['data_wait_share']:.3%}", line["windows_per_second"]] for line in lines
    ]
    page.say(
        f"{size}, {steps} steps from the Zarr store, with an empty loader cache at the start; from the run's metric "
        "`data_wait_share`. The first row includes the first step, which waits until the recordings are open. "
        "Target: below 2 %: "
        f"{'holds' if max(line['data_wait_share'] for line in lines[1:]) < 0.02 else 'does not hold'} from the "
        "second row on."
    )
    page.table(["steps done", "s a step", "share of waiting", "windows/s"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--size", default="eit-small")
    parser.add_argument("--page", default="docs/benchmarks/trainer.md", help="where the page goes")
    arguments = parser.parse_args()
    command = f"python benchmarks/trainer.py --rounds {arguments.rounds} --size {arguments.size}"
    page = Page("The trainer on the CPU", command, ("torch", "deepspeed", "transformers", "mlflow-skinny"))
    if os.getloadavg()[0] > 1:
        page.say(
            "**The machine was busy with other work: times are rough, and a target that is missed here may be met on "
            "an idle machine.**"
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = make_store(folder)
        overhead(page, store, folder, arguments.rounds, arguments.size)
        two_processes(page, store, folder, arguments.rounds, arguments.size)
        network(page, store, folder, max(3, arguments.rounds // 4), arguments.size)
        waiting(page, store, folder, arguments.size, 3 * arguments.rounds // 2)
    page.not_measured(
        [
            "GPUs, and a network between machines",
            "more than two processes; threads of a process",
            "offload to the CPU's memory, bf16, activation checkpointing, accumulation",
            "checkpoints on object storage",
        ]
    )
    page.write(arguments.page)


if __name__ == "__main__":
    main()
