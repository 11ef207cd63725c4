"""Runs under torchrun: it restarts all processes if one is lost, and passes on a stop."""

import json
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
import yaml


@pytest.fixture
def torchrun(tmp_path, outside):
    """Start a run of two processes under torchrun; kill the remaining ones at the end."""
    started = []

    def start(settings) -> subprocess.Popen:
        config = tmp_path / f"{Path(settings.output).name}.yaml"
        config.write_text(yaml.safe_dump(asdict(settings)))
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        command += ["--max-restarts", "1", "--module", "foundation.training", "--config", str(config)]
        with open(tmp_path / "log.txt", "a") as out:
            process = subprocess.Popen([*command, "--resume", "auto"], env=outside(), stdout=out, stderr=out)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            for below in [*psutil.Process(process.pid).children(recursive=True), process]:
                below.kill()
        process.wait()


def losses(settings) -> list[float]:
    lines = Path(settings.output) / "metrics.jsonl"
    whole = lines.read_text().rpartition("\n")[0] if lines.is_file() else ""
    return [json.loads(line)["loss"] for line in whole.splitlines()]


def model(settings) -> bytes:
    return (Path(settings.output) / "model" / "model.safetensors").read_bytes()


@pytest.mark.long
def test_torchrun_resumes_from_the_last_checkpoint_after_a_kill(tiny, tmp_path, ranks, torchrun, until):
    shape = {"steps": 60, "checkpoint_every": 5}
    alone, cut = tiny(output=str(tmp_path / "alone"), **shape), tiny(output=str(tmp_path / "cut"), **shape)
    assert [process.wait(200) for process in ranks(alone)] == [0, 0]
    run = torchrun(cut)
    until(lambda: len(losses(cut)) >= 12 or run.poll() is not None, seconds=300)
    victim = next(p for p in psutil.Process(run.pid).children(recursive=True) if p.environ().get("RANK") == "1")
    victim.kill()
    assert run.wait(300) == 0, (tmp_path / "log.txt").read_text()
    assert "resuming from step" in (tmp_path / "log.txt").read_text()
    assert losses(cut) == losses(alone)
    assert model(cut) == model(alone)


def test_stop_of_torchrun_saves_the_run(tiny, tmp_path, torchrun, until):
    settings = tiny(steps=400, checkpoint_every=1000)
    run = torchrun(settings)
    until(lambda: len(losses(settings)) >= 3 or run.poll() is not None, seconds=300)
    run.send_signal(signal.SIGTERM)
    assert run.wait(100) != 0  # its starter starts it again
    message = (tmp_path / "log.txt").read_text()
    assert "stopped by SIGTERM after" in message
    assert len(list((Path(settings.output) / "checkpoints").glob("step-*"))) == 1
    assert 3 <= len(losses(settings)) < 400
