"""Runs that lose a process, their launcher or both at any moment end with the weights of an undisturbed run."""

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
import yaml

from foundation.training.checkpoint.checkpoint import MANIFEST
from foundation.training.distributed.rendezvous import free_port

SAMPLE = ("command", "rank 0 during a checkpoint")
VICTIMS = ("rank 0", "rank 1", "launcher", *SAMPLE)
STEPS = 120
STATED = 45.0  # seconds within which nothing of a run is left after one of its processes was killed


class Started:
    """A run of two processes: by ``foundation pretrain --processes 2``, or by separate processes."""

    def __init__(self, settings, folder: Path, outside, fork, launcher: bool) -> None:
        config = folder / f"{Path(settings.output).name}.yaml"
        config.write_text(yaml.safe_dump(asdict(settings)))
        self.log_file, self.launcher = folder / "log.txt", launcher
        given = ["--config", str(config)]
        place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        if launcher:
            command = [sys.executable, "-m", "foundation", "pretrain", *given]
            with open(self.log_file, "a") as out:
                self.processes = [subprocess.Popen(command, env=outside(), stderr=out, stdout=out)]
        else:
            places = [place | {"RANK": rank, "LOCAL_RANK": rank} for rank in "01"]
            self.processes = [
                fork(["-m", "foundation.training", *given], outside(**own), self.log_file) for own in places
            ]

    def all(self) -> list[psutil.Process]:
        own = [psutil.Process(p.pid) for p in self.processes if psutil.pid_exists(p.pid)]
        return own + [below for p in own for below in p.children(recursive=True)]

    def victim(self, name: str) -> psutil.Process:
        if name == "command":
            return psutil.Process(self.processes[0].pid)
        if name == "launcher":
            return next(p for p in self.all() if "deepspeed.launcher.launch" in p.cmdline())
        return psutil.Process(self.processes[name == "rank 1"].pid)

    def end(self, seconds: float, known: list[psutil.Process]) -> list[int]:
        """Return statuses of the started processes, once they and everything ``known`` have ended.

        Fails if that takes longer than ``seconds``.
        """
        _, alive = psutil.wait_procs([p for p in known if p.pid not in {q.pid for q in self.processes}], seconds)
        assert not alive, f"still there after {seconds} s: {[p.cmdline() for p in alive]}"
        return [p.wait(seconds) for p in self.processes]


def steps_done(settings) -> int:
    lines = Path(settings.output) / "metrics.jsonl"
    return len(lines.read_text().splitlines()) if lines.is_file() else 0


def is_writing(settings) -> bool:
    """Return True while a checkpoint is begun and not committed."""
    folder = Path(settings.output) / "checkpoints"
    return folder.is_dir() and any(not (p / MANIFEST).exists() for p in folder.iterdir())


def strike(run: Started, settings, name: str, rng: random.Random) -> None:
    """Kill one process of a run, at a random moment or while a checkpoint is being written."""
    target = min(steps_done(settings) + rng.randint(1, 12), settings.steps - 20)
    end = time.monotonic() + 500
    while steps_done(settings) < target:
        assert run.processes[0].poll() is None, run.log_file.read_text()
        assert time.monotonic() < end, run.log_file.read_text()
        time.sleep(0.01)
    victim = run.victim(name)
    if "checkpoint" in name:
        while not is_writing(settings) and victim.is_running():
            pass
    else:
        time.sleep(rng.random() * 0.2)
    victim.send_signal(signal.SIGKILL)


def campaign(tiny, tmp_path, outside, fork, seed: int, victims: tuple[str, ...] = VICTIMS, steps: int = STEPS) -> None:
    """A run that is killed once for each victim, and then left alone."""
    shape = {"steps": steps, "checkpoint_every": 4, "processes": 2, "log_every": 1}
    alone = tiny(output=str(tmp_path / "alone"), **shape)
    whole = Started(alone, tmp_path, outside, fork, launcher=False)
    assert whole.end(400, []) == [0, 0], whole.log_file.read_text()
    struck = tiny(output=str(tmp_path / "struck"), **shape)
    rng = random.Random(seed)
    for name in rng.sample(victims, len(victims)):
        run = Started(struck, tmp_path, outside, fork, launcher=name in ("launcher", "command"))
        strike(run, struck, name, rng)
        statuses = run.end(STATED, run.all())
        assert 0 not in statuses, f"{name} was killed, and its run says that all is well: {statuses}"
    last = Started(struck, tmp_path, outside, fork, launcher=False)
    assert last.end(400, []) == [0, 0], last.log_file.read_text()
    done = [json.loads(line)["step"] for line in (tmp_path / "struck" / "metrics.jsonl").read_text().splitlines()]
    assert done == list(range(1, steps + 1))
    weights = [Path(s.output) / "model" / "model.safetensors" for s in (alone, struck)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.timeout(1500)
def test_two_kills_end_with_the_weights_of_an_undisturbed_run(tiny, tmp_path, outside, fork):
    campaign(tiny, tmp_path, outside, fork, seed=0, victims=SAMPLE, steps=48)


@pytest.mark.long
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("seed", range(7))
def test_thirty_five_kills_end_with_the_weights_of_undisturbed_runs(tiny, tmp_path, outside, fork, seed):
    campaign(tiny, tmp_path, outside, fork, seed)
