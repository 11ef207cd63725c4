"""The shipped Slurm script on a real Slurm of one node."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

import foundation
from foundation.data import DataSettings
from foundation.objectives import NeurPIRSettings, ObjectiveSettings
from foundation.training import ModelSettings, PretrainSettings

HERE = Path(__file__).parent
SCRIPT = HERE.parents[2] / "infra" / "slurm" / "pretrain.sbatch"
SOURCES = Path(foundation.__file__).parents[1]
FUNCTIONS = """
submit() {{ sbatch --parsable --chdir {folder} --output {folder}/"$1".log "${{@:2}}"; }}
pretrain() {{ submit "$1" --ntasks-per-node 2 {script} --config {folder}/run.yaml --output {folder}/"$1"; }}
steps() {{  # waits until the run of $job has done so many, or ended
  until [ "$(wc -l 2> /dev/null < {folder}/"$1"/metrics.jsonl || echo 0)" -ge "$2" ]; do
    sleep 0.1
    if scontrol show job "$job" | grep -Eq 'JobState=(COMPLETED|FAILED|CANCELLED)'; then break; fi
  done
}}
ended() {{  # waits for the end of a job
  until scontrol show job "$1" | grep -Eq 'JobState=(COMPLETED|FAILED|CANCELLED|TIMEOUT|PREEMPTED|NODE_FAIL)'; do
    sleep 0.2
  done
  scontrol show job "$1" | grep -Eo '(JobState|Restarts|ExitCode)=[^ ]+' | tr '\\n' ' '
  echo
}}
"""
PREEMPTED = """
job=$(pretrain alone)
ended "$job"
job=$(pretrain preempted)
steps preempted 12
urgent=$(submit urgent --partition high --ntasks 2 --wrap 'echo "steps before: $(wc -l < preempted/metrics.jsonl)"')
ended "$urgent"
ended "$job"
"""
SIGNALLED = """
job=$(pretrain signalled)
steps signalled 12
scancel --signal USR1 "$job"  # as Slurm does when the time is nearly up: to the steps, not to the script
until grep -q 'back into the queue' {folder}/signalled.log; do sleep 0.1; done
steps signalled 20
scancel "$job"
ended "$job"
"""

SLOW = """
mkdir -p venv/bin
cat > venv/bin/python <<'PYTHON'
#!/bin/sh
again=again-$SLURM_JOB_ID-$RANK
if [ -e "$again" ]; then exit 0; fi
touch "$again"
case "$*" in *early) kill -USR1 $$ ;; esac
if [ "$RANK" = 0 ]; then sleep 3; echo "saved"; fi
exit 75
PYTHON
chmod +x venv/bin/python
export VENV={folder}/venv
job=$(pretrain slow)
ended "$job"
job=$(pretrain early)
ended "$job"
"""


def missing() -> str:
    """Return why Slurm cannot run here; empty if it can."""
    if os.geteuid() != 0:
        return "a Slurm of its own needs root, for namespaces"
    for tool in ("slurmctld", "slurmd", "sbatch", "munged", "unshare", "ip"):
        if shutil.which(tool) is None:
            return f"a Slurm of its own needs {tool}, which is not installed: apt-get install slurm-wlm munge"
    link = ["ip", "link", "add", "name", "eth0", "type", "veth", "peer", "name", "eth1"]
    probe = ["unshare", "--mount", "--net", "--pid", "--uts", "--fork", *link]
    if subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        return "a Slurm of its own needs namespaces, which this machine does not give"
    return ""


@pytest.fixture
def slurm(small_store, tmp_path):
    """Run lines of bash on a Slurm of one node; settings of a short run are in run.yaml."""
    if reason := missing():
        pytest.skip(reason)
    (tmp_path / "slurm").mkdir()
    settings = PretrainSettings(
        store=str(small_store),
        output=str(tmp_path / "run"),
        steps=60,
        checkpoint_every=5,
        log_every=1,
        model=ModelSettings(dim=16, heads=2, individual_layers=1, interaction_layers=1),
        data=DataSettings(bin_widths=[0.005, 0.025], tokens_per_step=1536, min_windows=4, max_units=12),
        objective=ObjectiveSettings(neurpir=NeurPIRSettings(min_tokens=4, max_tokens=12, projector=[32, 32])),
    )
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(asdict(settings)))

    def run(commands: str, timeout: float = 900) -> str:
        (tmp_path / "commands.sh").write_text(
            ("cd {folder}\n" + FUNCTIONS + commands).format(folder=tmp_path, script=SCRIPT)
        )
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(SOURCES),
            "VENV": sys.prefix,
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": "1",
            "FOUNDATION_LOG": str(tmp_path / "log"),
        }
        command = [HERE / "one_node_slurm.sh", tmp_path / "slurm", "bash", tmp_path / "commands.sh"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_all_processes_have_time_to_save(slurm, tmp_path):
    """With a replacement for Python: one process still writes when the other has ended; a signal comes very early."""
    message = slurm(SLOW, timeout=180).splitlines()
    logs = [(tmp_path / name).read_text() for name in ("slow.log", "early.log")]
    assert message == ["JobState=COMPLETED Restarts=1 ExitCode=0:0 "] * 2, logs
    assert [log.splitlines().count("saved") for log in logs] == [1, 0]


@pytest.mark.long
@pytest.mark.timeout(1000)
def test_preempted_job_is_requeued_and_ends_like_an_undisturbed_one(slurm, tmp_path):
    message = slurm(PREEMPTED).splitlines()
    log = (tmp_path / "preempted.log").read_text()
    assert message == [
        "JobState=COMPLETED Restarts=0 ExitCode=0:0 ",
        "JobState=COMPLETED Restarts=0 ExitCode=0:0 ",
        "JobState=COMPLETED Restarts=1 ExitCode=0:0 ",
    ], log
    assert "resuming from step" in log
    steps_before = int((tmp_path / "urgent.log").read_text().split(": ")[1])
    assert 12 <= steps_before < 60
    assert len(losses(tmp_path / "alone")) == 60
    assert losses(tmp_path / "preempted") == losses(tmp_path / "alone")
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("preempted", "alone")]
    assert weights[0] == weights[1]


@pytest.mark.long
@pytest.mark.timeout(1000)
def test_job_near_its_time_limit_is_requeued_and_a_cancelled_one_is_not(slurm, tmp_path):
    message = slurm(SIGNALLED).splitlines()
    log = (tmp_path / "signalled.log").read_text()
    assert message[0].startswith("JobState=CANCELLED Restarts=1 "), log
    assert "stopped by SIGUSR1" in log
    assert "resuming from step" in log
