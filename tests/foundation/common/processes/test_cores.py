"""The number of cores that a process may use."""

import os
import subprocess
import sys

import pytest

from foundation.common.processes.cores import allowed_cores, core_limit, usable_cores


@pytest.fixture
def four_cores(monkeypatch):
    """A scheduler that runs this process on four cores, outside Slurm."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 4, 5}, raising=False)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)


def test_control_group_limit_is_read(tmp_path):
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert core_limit(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert core_limit(tmp_path) is None


@pytest.mark.parametrize(
    ("cpu_max", "slurm", "cores"),
    [
        ("max 100000", None, 4),
        ("250000 100000", None, 2),
        ("20000 100000", None, 1),
        ("800000 100000", None, 4),
        ("max 100000", "3", 3),
        ("max 100000", "64", 4),
        ("200000 100000", "3", 2),
        ("max 100000", "", 4),
        ("max 100000", "many", 4),
    ],
)
def test_smallest_limit_is_used(cpu_max, slurm, cores, four_cores, tmp_path, monkeypatch):
    (tmp_path / "cpu.max").write_text(f"{cpu_max}\n")
    if slurm is not None:
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", slurm)
    assert usable_cores(tmp_path) == cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to cores")
def test_process_bound_to_one_core_counts_one():
    count = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    count += "from foundation.common.processes.cores import usable_cores; print(usable_cores())"
    done = subprocess.run([sys.executable, "-c", count], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_systems_without_binding_count_all_cores(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert allowed_cores() == os.cpu_count()
