"""The tutorials run from beginning to end, in their order and in one folder, and make their pictures.

``TUTORIAL_PICTURES=docs/tutorials/pictures pytest tests/examples`` puts the pictures where the site shows them.
"""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PICTURES = ROOT / "docs" / "tutorials" / "pictures"
NAMES = ["own_nwb_file", "dandiset", "cluster", "take_home"]


def shown(name):
    """Names of the pictures that a tutorial's text shows."""
    return re.findall(r"\]\(pictures/([\w.]+)\)", (EXAMPLES / f"{name}.py").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all tutorials, so that each uses the recordings simulated by the first."""
    return tmp_path_factory.mktemp("tutorials")


@pytest.fixture
def run(folder, monkeypatch):
    """Run a tutorial; return the names that it defined."""
    import matplotlib.pyplot as plt

    monkeypatch.chdir(folder)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def execute(name):
        path = EXAMPLES / f"{name}.py"
        names = {"__name__": "__main__"}
        exec(compile(path.read_text(encoding="utf-8"), path, "exec"), names)
        plt.close("all")
        for picture in shown(name):
            assert (folder / picture).stat().st_size > 2000, picture
            if "TUTORIAL_PICTURES" in os.environ:
                shutil.copy(folder / picture, ROOT / os.environ["TUTORIAL_PICTURES"])
        return names

    return execute


def test_own_file(run):
    names = run("own_nwb_file")
    assert names["embedding_ND"].shape == (20, 96)
    assert names["table"]["cell_type"].to_pylist().count("RS") == 4


def test_dandiset_from_a_local_archive(run, folder, archive_server):
    run_first = not (folder / "nwb").exists()
    if run_first:
        run("own_nwb_file")
    archive_server.contents.add_dandiset("000123")
    for path in sorted((folder / "nwb").rglob("*.nwb")):
        archive_server.contents.add("000123", path.relative_to(folder / "nwb").as_posix(), path.read_bytes())
    archive_server.contents.publish("000123", "0.240101.1200")
    described = {"name": "lab", "api_url": archive_server.api_url, "dandiset": "dandi://lab/000123@0.240101.1200"}
    (folder / "archive.json").write_text(json.dumps(described))
    names = run("dandiset")
    assert [record.source.dandiset for record in names["catalog"].records] == ["000123"] * 2
    assert names["report"].ok


def test_pretraining_on_two_processes(run):
    names = run("cluster")
    assert [line["step"] for line in names["lines"]] == list(range(1, 13))
    assert names["model"].config.dim == 32


def test_a_decoder_to_take_home(run):
    names = run("take_home")
    assert names["result"].reference("shuffled") < 0.5 < names["result"].reference("rate")
    assert names["counts_CC"].sum() == 20
    assert Path("report.html").stat().st_size > 100_000


def test_every_tutorial_has_a_page_and_its_pictures():
    pages = (ROOT / "docs" / "tutorials" / "gallery.md").read_text(encoding="utf-8")
    for name in NAMES:
        assert shown(name), name
        assert f"{{example}} {name}.py" in (ROOT / "docs" / "tutorials" / f"{name}.md").read_text(encoding="utf-8")
        for picture in shown(name):
            assert (PICTURES / picture).is_file(), picture
            assert f"pictures/{picture}" in pages, picture
    assert sum(path.stat().st_size for path in PICTURES.iterdir()) < 500_000
