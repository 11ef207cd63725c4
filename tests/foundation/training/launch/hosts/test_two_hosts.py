"""Training on two hosts over ssh."""

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from two_hosts import missing, on_two_hosts

ROOT = Path(__file__).parents[5]
TOGETHER = """
foundation pretrain --config {folder}/run.yaml --output {folder}/by_foundation --hosts host-a,host-b \\
  --launching.patience 600
echo "foundation: $?"
deepspeed --hostfile {folder}/hostfile --module foundation.training --config {folder}/run.yaml \\
  --output {folder}/by_deepspeed
echo "deepspeed: $?"
foundation pretrain --config {folder}/run.yaml --output {folder}/one_host --processes 2
echo "one host: $?"
"""
REFUSED = """
foundation pretrain --config {folder}/run.yaml --hosts host-a,host-c --launching.patience 50
echo "status $?"
foundation pretrain --config {folder}/run.yaml --hosts host-a,host-b --launching.ssh_port 2222
echo "status $?"
PATH={folder}/machine/bin:/none foundation pretrain --config {folder}/run.yaml --hosts host-a,host-b
echo "status $?"
"""
FUNCTIONS = """
pretrain=(foundation pretrain --config run.yaml --launching.patience 600 --output)
steps() {{  # waits until the run started last has done this many steps, or ended
  until [ "$(wc -l 2> /dev/null < "$1"/metrics.jsonl || echo 0)" -ge "$2" ] || ! kill -0 $!; do sleep 0.1; done
}}
kill_on_host_b() {{  # the training process
  for process in $(ip netns pids host-b); do
    if grep -qz '^RANK=' /proc/"$process"/environ; then kill -KILL "$process"; fi
  done
}}
"""
LOST = """
"${{pretrain[@]}}" {folder}/alone --processes 2
echo "alone: $?"

"${{pretrain[@]}}" {folder}/lost --hosts host-a,host-b --restarts 1 &
steps lost 12
kill_on_host_b
wait $!
echo "lost: $?"

"${{pretrain[@]}}" {folder}/stopped --hosts host-a,host-b &
steps stopped 12
kill -TERM $!
wait $!
echo "stopped: $?"
"${{pretrain[@]}}" {folder}/stopped --hosts host-a,host-b --resume auto
echo "went on: $?"
"""
TORCHRUN = """
"${{pretrain[@]}}" {folder}/alone --processes 2
echo "alone: $?"

launch() {{
  ip netns exec "$1" torchrun --nnodes 2 --node-rank "$2" --nproc-per-node 1 --master-addr host-a --master-port 29600 \\
    --max-restarts 3 --module foundation.training --config run.yaml --output {folder}/torchrun
}}
launch host-a 0 &
launch host-b 1 &
steps torchrun 12
kill_on_host_b
wait %1
echo "host-a: $?"
wait %2
echo "host-b: $?"
"""
VANISHED = """
"${{pretrain[@]}}" {folder}/run --hosts host-a,host-b --safety.timeout 60 &
steps run 12
ip -n host-b link set eth0 down
SECONDS=0
wait $!
echo "vanished: $?"
echo "after $SECONDS s" >&2
ip -n host-b link set eth0 up
"${{pretrain[@]}}" {folder}/run --hosts host-a,host-b --safety.timeout 60
echo "went on: $?"
"""


@pytest.fixture
def written(tiny, tmp_path):
    """Settings of a short run, in run.yaml."""
    if reason := missing():
        pytest.skip(reason)
    settings = tiny(output=str(tmp_path / "run"), steps=4, tracking_uri=f"sqlite:///{tmp_path}/machine/home/mlflow.db")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(asdict(settings)))
    return settings


@pytest.fixture
def longer(tiny, tmp_path):
    """Settings of a run that is long enough to interrupt, in run.yaml."""
    if reason := missing():
        pytest.skip(reason)
    tracking = f"sqlite:///{tmp_path}/machine/home/mlflow.db"
    settings = tiny(output=str(tmp_path / "run"), steps=60, checkpoint_every=5, tracking_uri=tracking)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(asdict(settings)))


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.timeout(1000)
def test_two_hosts_take_the_steps_of_one(written, tmp_path):
    """By the command in infra/README.md, with infra/hostfile, and by `foundation pretrain --hosts`."""
    text = (ROOT / "infra" / "hostfile").read_text()
    for name, host in (("node-1 slots=8", "host-a slots=1"), ("node-2 slots=8", "host-b slots=1")):
        assert name in text
        text = text.replace(name, host)
    (tmp_path / "hostfile").write_text(text)
    done = on_two_hosts(tmp_path, TOGETHER.format(folder=tmp_path))
    expected = done.stdout + done.stderr
    for name in ("foundation", "deepspeed", "one host"):
        assert f"{name}: 0" in expected, expected[-6000:]
    assert f"deepspeed --hostfile {tmp_path}/by_foundation/hostfile --master_port 29500 --module" in expected
    assert "Running on the following workers: host-a,host-b" in expected
    # DeepSpeed's own launcher prints what it passes on; ours keeps secrets from it.
    assert "not-to-be-shown" not in done.stdout.split("foundation: 0")[0]
    alone = losses(tmp_path / "one_host")
    assert len(alone) == 4
    assert losses(tmp_path / "by_foundation") == pytest.approx(alone, rel=1e-6)
    assert losses(tmp_path / "by_deepspeed") == pytest.approx(alone, rel=1e-6)
    passed_on = (tmp_path / "by_foundation" / "launch.env").read_text().splitlines()
    assert {f"FOUNDATION_LOG={tmp_path}/log", "OMP_NUM_THREADS=1"} <= set(passed_on)


@pytest.mark.long
def test_missing_requirements_of_hosts_are_reported(written, tmp_path):
    done = on_two_hosts(tmp_path, REFUSED.format(folder=tmp_path))
    assert done.stdout.splitlines() == ["status 1", "status 1", "status 1"], done.stderr
    expected = [line for line in done.stderr.splitlines() if line.startswith("foundation pretrain: ")]
    assert "host host-c" in expected[0]
    assert "cannot be reached by ssh" in expected[1]
    assert "Connection refused" in expected[1]
    assert "reached by ssh, which is not installed here: apt-get install" in expected[2]
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.long
@pytest.mark.timeout(1000)
def test_lost_remote_process_and_external_stop(longer, tmp_path):
    """A run restarts after losing a process, another resumes after a stop; both give the results of one host."""
    done = on_two_hosts(tmp_path, (FUNCTIONS + LOST).format(folder=tmp_path))
    expected = done.stdout + done.stderr
    for name, status in (("alone", 0), ("lost", 0), ("stopped", 75), ("went on", 0)):
        assert f"{name}: {status}\n" in done.stdout, expected[-6000:]
    assert "restart 1 of 1" in done.stderr
    assert "stopped by SIGTERM" in expected
    whole = (tmp_path / "alone" / "model" / "model.safetensors").read_bytes()
    for name in ("lost", "stopped"):
        assert losses(tmp_path / name) == losses(tmp_path / "alone")
        assert (tmp_path / name / "model" / "model.safetensors").read_bytes() == whole


@pytest.mark.long
@pytest.mark.timeout(1000)
def test_torchrun_on_two_hosts_resumes_after_a_lost_process(longer, tmp_path):
    """As in infra/k8s/pretrain.yaml: a torchrun on each machine, which restarts its own processes."""
    done = on_two_hosts(tmp_path, (FUNCTIONS + TORCHRUN).format(folder=tmp_path))
    expected = done.stdout + done.stderr
    for name in ("alone", "host-a", "host-b"):
        assert f"{name}: 0\n" in done.stdout, expected[-6000:]
    assert "resuming from step" in done.stderr
    assert losses(tmp_path / "torchrun") == losses(tmp_path / "alone")
    models = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("torchrun", "alone")]
    assert models[0] == models[1]


@pytest.mark.long
@pytest.mark.timeout(1000)
def test_vanished_host_ends_the_run_within_the_stated_time(longer, tmp_path):
    """Its network disappears: no connection is closed, nobody answers."""
    done = on_two_hosts(tmp_path, (FUNCTIONS + VANISHED).format(folder=tmp_path))
    assert done.stdout.count("vanished: 1\n") == done.stdout.count("went on: 0\n") == 1, done.stdout + done.stderr
    assert "ended with status" in done.stderr
    took = int(re.search(r"after (\d+) s", done.stderr)[1])
    assert 30 < took < 60 + 60 + 60, done.stderr  # safety.timeout, the launcher's patience with ssh, and a slow machine
    assert "resuming from step" in done.stderr
    assert len(losses(tmp_path / "run")) == 60
