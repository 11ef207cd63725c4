"""The wheel and the sdist: their contents, and the command of the wheel installed without a clone.

They are built here, or taken from the folder $FOUNDATION_DIST (`make dist`). The shipped checkpoint must work where
there is no network.
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


def test_wheel_holds_only_packages_configs_and_constraints(wheel):
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


def test_sdist_holds_only_the_sources_of_the_wheel(dist):
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    top = f"neural_foundation-{__version__}"
    assert path.name == f"{top}.tar.gz"
    assert all(member.isfile() for member in members), "links in an sdist lead out of it elsewhere"
    names = {member.name.removeprefix(f"{top}/") for member in members}
    assert names == in_clone(*PACKAGES, "configs", *BESIDE) | {".gitignore", "PKG-INFO"}


def test_metadata_state_version_licence_pythons_and_extras(metadata):
    assert (metadata["Name"], metadata["Version"]) == ("neural-foundation", __version__)
    assert (metadata["License-Expression"], metadata["License-File"]) == ("Apache-2.0", "LICENSE")
    assert set(metadata["Requires-Python"].split(",")) == {">=3.11", "<3.14"}
    assert {"ingest", "train", "sweep", "finetune", "sorting", "interop", "cebra", "all"} <= set(
        metadata.get_all("Provides-Extra")
    )
    text = metadata.get_payload()
    assert text == (ROOT / "README.md").read_text()


def test_versions_of_the_release_agree():
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {__version__}\n" in citation


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> tuple[Path, dict[str, str], Path]:
    """The folder of the installed wheel, an environment that uses it, and a folder outside the clone."""
    site, elsewhere = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("elsewhere")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, "--target", str(site), str(wheel)], check=True)
    own = {"PYTHONPATH": site, "FOUNDATION_LOG": elsewhere / "log", "XDG_CACHE_HOME": elsewhere / "cache"}
    return site, os.environ | {name: str(path) for name, path in own.items()}, elsewhere


def run(installed: tuple[Path, dict[str, str], Path], *command: str) -> str:
    _, environment, elsewhere = installed
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=elsewhere, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def foundation(installed: tuple[Path, dict[str, str], Path], *words: str) -> str:
    return run(installed, sys.executable, "-m", "foundation", *words)


@pytest.fixture(scope="module")
def simulated(installed) -> str:
    """The path of one simulated NWB file of 30 units, outside the clone."""
    small = ["--networks", "1", "--neurons", "30", "--seconds", "60", "--wake", "40", "--nrem", "10", "--rem", "10"]
    foundation(installed, "simulate", "izhikevich", "--config", "simulate/demo", "--output", "nwb", *small)
    (path,) = (installed[2] / "nwb").rglob("*.nwb")
    return str(path)


def test_installed_command_runs_with_its_shipped_configs(installed, simulated):
    where = "import foundation, ingest, finetune; print(foundation.__file__, ingest.__file__, finetune.__file__)"
    assert run(installed, sys.executable, "-c", where).count(str(installed[0])) == 3
    assert str(installed[0] / "foundation" / "configs") in foundation(installed, "doctor")
    foundation(installed, "ingest", "--input", simulated, "--store", "store")
    assert "1 recording of 1 subject, 30 units" in foundation(installed, "catalog", "store")
    words = ("pretrain", "--config", "pretrain/demo", "--store", "store", "--output", "out", "--print_config")
    printed = foundation(installed, *words)
    assert "tokens_per_step: 16384" in printed


NO_NETWORK = ("unshare", "--user", "--map-root-user", "--net")


def test_shipped_checkpoint_embeds_and_decodes_without_a_network(installed, simulated):
    if subprocess.run([*NO_NETWORK, "true"], capture_output=True, check=False).returncode:
        pytest.skip("unshare cannot make a network namespace here")
    lines = f"""
import foundation
model = foundation.load_model("eit-tiny")
table = model.embed(foundation.read_nwb({simulated!r}))
print(table.num_rows, len(table["embedding"][0]) == model.config.dim)
"""
    assert run(installed, *NO_NETWORK, sys.executable, "-c", lines) == "30 True\n"
    command = (*NO_NETWORK, sys.executable, "-m", "foundation")
    quick = ("--mode", "probe", "--tasks", "[cell_type]")
    run(installed, *command, "finetune", "--checkpoint", "eit-tiny", "--input", simulated, "--output", "heads", *quick)
    head = ("--head", "heads/cell_type", "--output", "decoded.nwb")
    assert "30 units of 1 recording in decoded.nwb" in run(installed, *command, "predict", *head, "--input", simulated)
    assert (installed[2] / "decoded.nwb").is_file()
