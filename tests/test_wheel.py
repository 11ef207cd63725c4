"""The built wheel, installed where there is no clone: the command and its shipped configs are there."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


def test_it_holds_the_packages_configs_and_licence_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"foundation", "ingest", "finetune"}
    for needed in ("foundation/configs/pretrain/demo.yaml", "foundation/configs/recipes/default.yaml"):
        assert needed in names
    shipped = ROOT / "foundation" / "checkpoints"
    for path in filter(Path.is_file, shipped.rglob("*")):
        assert f"foundation/checkpoints/{path.relative_to(shipped).as_posix()}" in names
    assert any(name.endswith("LICENSE") for name in names)
    assert {f"{p}/py.typed" for p in ("foundation", "ingest", "finetune")} <= set(names)


def test_the_installed_command_runs_with_its_shipped_configs(wheel, tmp_path):
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(install, check=True)
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
