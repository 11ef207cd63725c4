"""Restarts of a failed run: `resume: never` clears earlier checkpoints once, before the first start."""

import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml

from foundation.common.errors import ConfigError, FoundationError, RequeueError, StoreError
from foundation.training import pretrain
from foundation.training.launch import launch as launching
from foundation.training.launch.launch import launch_with_restarts
from foundation.training.pretrain_settings import SavingSettings


class Launches:
    """Records each launch and the output's content at that time, and fails as requested."""

    def __init__(self, *errors):
        self.errors, self.seen, self.found = list(errors), [], []

    def __call__(self, settings, attempt):
        self.seen.append((settings.resume, attempt))
        self.found.append(left_in(settings))
        if error := self.errors.pop(0):
            raise error


@pytest.mark.parametrize(
    ("errors", "raised", "seen"),
    [
        ([FoundationError("x"), FoundationError("y"), None], None, [("auto", 0), ("auto", 1), ("auto", 2)]),
        ([FoundationError("x")] * 2 + [FoundationError("last")], "last", [("auto", 0), ("auto", 1), ("auto", 2)]),
        ([ConfigError("bad")], "bad", [("auto", 0)]),
        ([RequeueError("stopped")], "stopped", [("auto", 0)]),
    ],
)
def test_failed_run_is_restarted_the_given_number_of_times(tiny, monkeypatch, errors, raised, seen):
    launches = Launches(*errors)
    monkeypatch.setattr(launching, "launch", launches)
    settings = tiny(restarts=2)
    if raised is None:
        launch_with_restarts(settings, pause=0)
    else:
        with pytest.raises(FoundationError, match=raised):
            launch_with_restarts(settings, pause=0)
    assert launches.seen == seen


OLD = ["checkpoints/step-00000002/checkpoint.json", "finished.json", "metrics.jsonl", "model/config.json"]


def trained_before(settings) -> None:
    for name in OLD:
        (Path(settings.output) / name).parent.mkdir(parents=True, exist_ok=True)
        (Path(settings.output) / name).write_text('{"steps": 2}')


def left_in(settings) -> list[str]:
    return [name for name in OLD if (Path(settings.output) / name).exists()]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_never_clears_once_even_if_the_first_start_fails_early(tiny, monkeypatch, tmp_path, elsewhere):
    """The second start finds the files of the first, and nothing older."""
    place = tmp_path / "elsewhere"
    saving = SavingSettings(place=str(place)) if elsewhere else SavingSettings()
    settings = tiny(restarts=1, resume="never", saving=saving)
    trained_before(settings)
    for name in ("step-00000002/checkpoint.json", "step-00000004/objective.safetensors"):
        (place / name).parent.mkdir(parents=True)
        (place / name).touch()
    launches = Launches(FoundationError("host a does not answer"), None)

    def launch(settings, attempt):
        try:
            launches(settings, attempt)
        finally:
            trained_before(settings)

    monkeypatch.setattr(launching, "launch", launch)
    launch_with_restarts(settings, pause=0)
    assert launches.seen == [("auto", 0), ("auto", 1)]
    assert launches.found == [[], OLD]
    assert len(list(place.glob("step-*"))) == (0 if elsewhere else 2)


def test_never_clears_nothing_if_the_run_cannot_start(tiny, monkeypatch, tmp_path):
    settings = tiny(processes=2, resume="never")
    trained_before(settings)
    with pytest.raises(StoreError, match="there is no store"):
        pretrain(replace(settings, store=str(tmp_path / "nothing")))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(ConfigError, match="processes is 2: this machine has 1 GPU"):
        pretrain(settings)
    assert left_in(settings) == OLD


@pytest.mark.parametrize("name", ["TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"])
def test_restarts_by_torchrun_or_slurm_resume_under_never(tiny, monkeypatch, caplog, name):
    settings = tiny(steps=2, resume="never")
    monkeypatch.setenv(name, "0")
    caplog.set_level("INFO")
    for _ in range(2):
        pretrain(settings)
    assert "already trained" not in caplog.text
    monkeypatch.setenv(name, "1")
    pretrain(settings)
    assert f"resume is never, but {name} is 1: resuming" in caplog.text
    assert "already trained" in caplog.text
    launches = Launches(None)
    monkeypatch.setattr(launching, "launch", launches)
    trained_before(settings)
    monkeypatch.setattr("foundation.training.pretrain_job.is_launched", lambda: False)
    pretrain(replace(settings, restarts=1))
    assert (launches.seen, launches.found) == ([("auto", 0)], [OLD])


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_killed_process_is_restarted_and_ends_with_the_weights_of_an_undisturbed_run(tiny, tmp_path):
    """A process that kills itself once: a wrapper around the module acts as a failing machine."""
    (tmp_path / "sitecustomize.py").write_text(KILLED_ONCE)
    settings = tiny(output=str(tmp_path / "run"), steps=8, restarts=1)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(asdict(settings)))
    (tmp_path / "whole.yaml").write_text(yaml.safe_dump(asdict(settings) | {"output": str(tmp_path / "whole")}))
    placed = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "FOUNDATION_ALONE")
    kept = {name: value for name, value in os.environ.items() if name not in placed}
    path = f"{tmp_path}:{Path(__file__).parents[4]}"
    kept |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, "KILL_AFTER": str(tmp_path / "run" / "metrics.jsonl")}
    logs = {}
    for name in ("whole", "run"):
        command = [sys.executable, "-m", "foundation", "pretrain", "--config", str(tmp_path / f"{name}.yaml")]
        done = subprocess.run(command, env=kept, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        logs[name] = done.stderr
    assert "restart 1 of 1" in logs["run"]
    assert "restart" not in logs["whole"]
    whole, cut = ((tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "run"))
    assert whole == cut


KILLED_ONCE = """
import os, signal, sys, threading, time
lines = os.environ["KILL_AFTER"]
def watch():
    while not os.path.exists(lines) or open(lines).read().count("\\n") < 5:
        time.sleep(0.01)
    open(lines + ".killed", "w").close()
    os.kill(os.getpid(), signal.SIGKILL)
if "RANK" in os.environ and not os.path.exists(lines + ".killed"):
    threading.Thread(target=watch, daemon=True).start()
"""
