"""Training on two hosts that are reached by ssh."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from two_hosts import missing, on_two_hosts

ROOT = Path(__file__).parents[4]
TOGETHER = """
foundation pretrain --config {folder}/run.yaml --output {folder}/by_foundation --hosts host-a,host-b
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


@pytest.fixture
def written(tiny, tmp_path):
    """Settings of a short run, in run.yaml."""
    if reason := missing():
        pytest.skip(reason)
    settings = tiny(output=str(tmp_path / "run"), steps=4, tracking_uri=f"sqlite:///{tmp_path}/machine/home/mlflow.db")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(asdict(settings)))
    return settings


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.long
def test_two_hosts_take_the_steps_of_one(written, tmp_path):
    """By the command that infra/README.md shows, with infra/hostfile, and by `foundation pretrain --hosts`."""
    text = (ROOT / "infra" / "hostfile").read_text()
    for name, host in (("node-1 slots=8", "host-a slots=1"), ("node-2 slots=8", "host-b slots=1")):
        assert name in text
        text = text.replace(name, host)
    (tmp_path / "hostfile").write_text(text)
    done = on_two_hosts(tmp_path, TOGETHER.format(folder=tmp_path))
    said = done.stdout + done.stderr
    for name in ("foundation", "deepspeed", "one host"):
        assert f"{name}: 0" in said, said[-6000:]
    assert f"deepspeed --hostfile {tmp_path}/by_foundation/hostfile --master_port 29500 --module" in said
    assert "Running on the following workers: host-a,host-b" in said
    # DeepSpeed's own launcher prints what it passes on; ours keeps secrets from it.
    assert "not-to-be-shown" not in done.stdout.split("foundation: 0")[0]
    alone = losses(tmp_path / "one_host")
    assert len(alone) == 4
    assert losses(tmp_path / "by_foundation") == pytest.approx(alone, rel=1e-6)
    assert losses(tmp_path / "by_deepspeed") == pytest.approx(alone, rel=1e-6)
    passed_on = (tmp_path / "by_foundation" / "launch.env").read_text().splitlines()
    assert {f"FOUNDATION_LOG={tmp_path}/log", "OMP_NUM_THREADS=1"} <= set(passed_on)


@pytest.mark.long
def test_what_hosts_lack_is_said_in_plain_words(written, tmp_path):
    done = on_two_hosts(tmp_path, REFUSED.format(folder=tmp_path))
    assert done.stdout.splitlines() == ["status 1", "status 1", "status 1"], done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("foundation pretrain: ")]
    assert "host host-c" in said[0]
    assert "cannot be reached by ssh" in said[1]
    assert "Connection refused" in said[1]
    assert "reached by ssh, which is not installed here: apt-get install" in said[2]
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
