"""Real processes: launched by DeepSpeed, killed, and started without a compiler."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from foundation.training import pretrain


def environment(tmp_path, **changes) -> dict[str, str]:
    """This process's environment without its place in a process group."""
    group = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "FOUNDATION_ALONE")
    kept = {name: value for name, value in os.environ.items() if name not in group}
    return kept | {"FOUNDATION_LOG": str(tmp_path / "log"), "OMP_NUM_THREADS": "1"} | changes


def run_command(settings, tmp_path, cwd=None, **changes) -> subprocess.CompletedProcess:
    config = tmp_path / f"{Path(settings.output).name}.yaml"
    config.write_text(yaml.safe_dump(asdict(settings)))
    command = [sys.executable, "-P", "-m", "foundation", "pretrain", "--config", str(config)]
    return subprocess.run(
        command, check=False, env=environment(tmp_path, **changes), capture_output=True, text=True, timeout=300, cwd=cwd
    )


def losses(output) -> list[float]:
    return [json.loads(line)["loss"] for line in (Path(output) / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_take_the_steps_of_one(tiny, tmp_path, poisoned_folder):
    one, two = tiny(output=str(tmp_path / "one"), steps=5), tiny(output=str(tmp_path / "two"), steps=5, processes=2)
    pretrain(one)
    done = run_command(two, tmp_path, cwd=poisoned_folder)
    assert not (poisoned_folder / "imported").exists()
    assert done.returncode == 0, done.stderr
    assert "deepspeed --num_accelerators 2" in done.stderr
    assert "--module foundation.training --config" in done.stderr
    alone, together = losses(one.output), losses(two.output)
    assert together[0] == pytest.approx(alone[0], rel=1e-5)
    assert together[4] == pytest.approx(alone[4], rel=1e-4)
    note = json.loads((Path(two.output) / "run.json").read_text())
    assert len(note["run_id"]) == 32  # one run, kept by the first process


def test_error_in_a_launched_process_is_an_error_of_the_command(tiny, tmp_path):
    settings = tiny(output=str(tmp_path / "bad"), processes=2)
    shutil.copytree(settings.store, tmp_path / "store")
    for group in (tmp_path / "store" / "recordings").iterdir():
        shutil.rmtree(group)
    done = run_command(tiny(output=str(tmp_path / "bad"), processes=2, store=str(tmp_path / "store")), tmp_path)
    assert done.returncode == 1
    assert "is missing from" in done.stderr
    assert not (tmp_path / "bad" / "model").exists()


def test_training_needs_no_compiler(tiny, tmp_path):
    """No g++, no ninja: DeepSpeed must not try to build anything."""
    (tmp_path / "bin").mkdir()
    for name in ("sh", "env", "uname"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    built = tmp_path / "extensions"
    done = run_command(
        tiny(output=str(tmp_path / "run"), steps=2),
        tmp_path,
        PATH=str(tmp_path / "bin"),
        CXX="/nonexistent/g++",
        CC="/nonexistent/gcc",
        TORCH_EXTENSIONS_DIR=str(built),
    )
    assert done.returncode == 0, done.stderr
    assert not built.exists() or not list(built.rglob("*.so"))


SLIM = """
import sys
absent = set("ray pynwb hdmf h5py dandi s3fs sklearn matplotlib ingest finetune".split())
class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, *rest):
        return None if name.split(".")[0] in absent else self.finder.find_spec(name, *rest)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
import foundation.training, foundation.embedding.frozen_embeddings
from foundation.training.distributed.engine import start_distributed
assert start_distributed() == (0, 1)
print("imported", sorted(absent & {name.split(".")[0] for name in sys.modules}))
"""


def test_training_imports_without_the_packages_of_ingest_and_finetuning(tmp_path):
    command = [sys.executable, "-c", SLIM]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=120, env=environment(tmp_path), cwd=tmp_path
    )
    assert done.stdout.endswith("imported []\n"), done.stderr
