"""The wheel and the sdist: what they hold, and the command of the wheel installed where there is no clone.

They are built here, or taken from the folder $FOUNDATION_DIST (`make dist`).
"""

import os
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from foundation import __version__

ROOT = Path(__file__).parents[1]
PACKAGES = ("foundation", "ingest", "finetune")
BESIDE = ("CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md", "constraints.txt", "pyproject.toml")
SHIPPED = "foundation/checkpoints/eit-tiny"


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    given = os.environ.get("FOUNDATION_DIST")
    if given:
        return Path(given).resolve()
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def wheel(dist) -> Path:
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def metadata(wheel) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def in_clone(*places: str) -> set[str]:
    """Files of the clone that git does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *places]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no clone to compare with: {done.stderr.strip()}")
    return {name for name in done.stdout.splitlines() if (ROOT / name).is_file()}


def test_the_wheel_holds_the_packages_configs_and_constraints_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    info = f"neural_foundation-{__version__}.dist-info"
    expected = in_clone(*PACKAGES) | {f"foundation/{name}" for name in in_clone("configs", "constraints.txt")}
    expected |= {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")}
    assert names == expected
    for needed in ("configs/pretrain/demo.yaml", "configs/recipes/default.yaml", "constraints.txt"):
        assert f"foundation/{needed}" in names
    assert {f"{SHIPPED}/{name}" for name in ("LICENSE", "README.md", "config.json", "model.safetensors")} <= names
    assert {f"{package}/py.typed" for package in PACKAGES} <= names


def test_the_sdist_holds_what_the_wheel_is_built_from_and_nothing_else(dist):
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    top = f"neural_foundation-{__version__}"
    assert path.name == f"{top}.tar.gz"
    assert all(member.isfile() for member in members), "links in an sdist lead out of it elsewhere"
    names = {member.name.removeprefix(f"{top}/") for member in members}
    assert names == in_clone(*PACKAGES, "configs", *BESIDE) | {".gitignore", "PKG-INFO"}


def test_the_metadata_state_version_licence_pythons_and_extras(metadata):
    assert (metadata["Name"], metadata["Version"]) == ("neural-foundation", __version__)
    assert (metadata["License-Expression"], metadata["License-File"]) == ("Apache-2.0", "LICENSE")
    assert set(metadata["Requires-Python"].split(",")) == {">=3.11", "<3.14"}
    assert {"ingest", "train", "sweep", "finetune", "sorting", "interop", "cebra", "all"} <= set(
        metadata.get_all("Provides-Extra")
    )
    text = metadata.get_payload()
    assert text == (ROOT / "README.md").read_text()


def test_the_versions_of_the_release_agree():
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {__version__}\n" in citation


def test_the_installed_command_runs_with_its_shipped_configs(wheel, tmp_path):
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, "--target", str(site), str(wheel)], check=True)
    environment = os.environ | {"PYTHONPATH": str(site), "FOUNDATION_LOG": str(tmp_path / "log")}

    def run(*words: str) -> str:
        command = [sys.executable, "-m", "foundation", *words]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=elsewhere, env=environment, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = "import foundation, ingest, finetune; print(foundation.__file__, ingest.__file__, finetune.__file__)"
    found = subprocess.check_output([sys.executable, "-c", where], text=True, cwd=elsewhere, env=environment)
    assert found.count(str(site)) == 3
    assert str(site / "foundation" / "configs") in run("doctor")
    small = ["--networks", "1", "--neurons", "20", "--seconds", "30", "--wake", "20", "--nrem", "6", "--rem", "4"]
    run("simulate", "izhikevich", "--config", "simulate/demo", "--output", "nwb", *small)
    run("ingest", "--input", "nwb", "--store", "store")
    assert "1 recording of 1 subject, 20 units" in run("catalog", "store")
    printed = run("pretrain", "--config", "pretrain/demo", "--store", "store", "--output", "out", "--print_config")
    assert "tokens_per_step: 16384" in printed
