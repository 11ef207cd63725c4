"""Compiled loops without writable folders, with a temporary folder of another user, and their log messages."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import foundation
from foundation.common.processes.compiled import temporary_folder

CALL = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s", stream=sys.stdout)
logging.getLogger("numba").setLevel(logging.WARNING)
import numpy as np
import foundation.data.keyed_hashing
from foundation.data.reading.binning import fill_masks
mask = np.zeros((1, 3), dtype=bool)
fill_masks(np.array([2]), np.array([1]), mask, np.zeros((1, 2), dtype=bool))
print(foundation.__file__, mask.tolist(), sum(fill_masks.stats.cache_hits.values()))
"""


@pytest.fixture
def read_only(tmp_path):
    """Run Python with a package folder without write access and a missing home folder.

    Tests may run as root, whom no mode of a folder binds: a file lies where numba would make its folder.
    """
    package = tmp_path / "site" / "foundation"
    shutil.copytree(Path(foundation.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    for folder in [package, *(path for path in package.rglob("*") if path.is_dir())]:
        (folder / "__pycache__").touch()
    (tmp_path / "tmp").mkdir()
    place = {"HOME": "/proc/nobody", "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    environment = {**os.environ, **place, "TMPDIR": str(tmp_path / "tmp")}
    for name in ("XDG_CACHE_HOME", "NUMBA_CACHE_DIR"):
        environment.pop(name, None)

    def call(code=CALL, **changes):
        command = [sys.executable, "-P", "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, env=environment | changes, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().splitlines()[-1].startswith(f"{package}/__init__.py") or code is not CALL
        return done.stdout

    return call


def test_loops_are_cached_in_the_temporary_folder_without_a_writable_package_or_home(read_only, tmp_path):
    first = read_only()
    assert "foundation.common.processes.compiled compiling loops" in first
    assert first.strip().endswith("[[True, True, False]] 0")
    (folder,) = (tmp_path / "tmp").iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    again = read_only()  # nothing is compiled or announced
    assert again.strip().endswith("[[True, True, False]] 1")
    assert "compiling" not in again


def test_loops_are_compiled_without_any_folder(read_only, tmp_path):
    (tmp_path / "tmp" / f"foundation-numba-{os.getuid()}").touch()
    assert read_only().strip().endswith("[[True, True, False]] 0")


def test_folder_that_others_can_write_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = temporary_folder()
    assert folder == tmp_path / f"foundation-numba-{os.getuid()}"
    folder.chmod(0o777)
    assert temporary_folder() is None
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    assert temporary_folder() is None
