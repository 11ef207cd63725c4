"""`foundation push`, `pull` and `models`: from a folder to each kind of place and back."""

import fsspec
import pytest
import yaml

from foundation.cli.commands import main
from foundation.common.errors import CheckpointError
from foundation.hub import load_model, resolve
from foundation.hub.hub_settings import ModelsSettings, PullSettings, PushSettings
from foundation.hub.model_listing import list_models, pull
from foundation.hub.publishing import push


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hub-token")


@pytest.mark.usefixtures("token")
def test_push_to_a_hub_returns_a_pinned_name(hub, saved, sha256, contents):
    pushed = push(PushSettings(str(saved), "hf://lab/new"))
    commit = pushed.name.partition("@")[2]
    assert hub.repos["lab/new"]["commits"][commit] == contents
    assert pushed.sha256 == sha256
    assert load_model(pushed.name).config.dim == 32
    assert resolve("hf://lab/new").revision == commit


def test_push_to_a_hub_without_login_says_what_to_do(hub, saved, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "wrong-secret")
    with pytest.raises(CheckpointError, match=r"cannot push to hf://lab/new: .*hf auth login") as caught:
        push(PushSettings(str(saved), "hf://lab/new"))
    assert "wrong-secret" not in str(caught.value)
    assert "lab/new" not in hub.repos


def test_push_to_a_bucket_and_back(bucket, saved, sha256):
    assert push(PushSettings(str(saved), f"{bucket}/models/eit")).sha256 == sha256
    assert sorted(p.rpartition("/")[2] for p in fsspec.filesystem("s3").ls(f"{bucket}/models/eit")) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert resolve(f"{bucket}/models/eit").digest == sha256
    with pytest.raises(CheckpointError, match="already holds a checkpoint: name another place, or give --replace"):
        push(PushSettings(str(saved), f"{bucket}/models/eit"))
    push(PushSettings(str(saved), f"{bucket}/models/eit", replace=True))


def test_push_to_a_folder(saved, sha256, tmp_path):
    target = tmp_path / "a" / "eit"
    assert push(PushSettings(str(saved), str(target))).name == str(target)
    assert resolve(target).digest == sha256
    push(PushSettings(str(saved), str(target)))
    (target / "config.json").write_bytes((target / "config.json").read_bytes() + b" ")
    with pytest.raises(CheckpointError, match="is not empty: name another folder, or give --replace"):
        push(PushSettings(str(saved), str(target)))
    push(PushSettings(str(saved), str(target), replace=True))
    assert resolve(target).digest == sha256
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep")
    with pytest.raises(CheckpointError, match="is not empty"):
        push(PushSettings(str(saved), str(tmp_path / "notes"), replace=True))
    assert (tmp_path / "notes" / "mine.txt").read_text() == "keep"


def test_push_is_refused_offline(saved, monkeypatch):
    monkeypatch.setenv("FOUNDATION_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="cannot be written: connections are switched off"):
        push(PushSettings(str(saved), "hf://lab/new"))


def test_pull_is_listed_and_copied(web, sha256, tmp_path, capsys):
    url = f"{web.url}/eit"
    assert main(["pull", url, "--output", str(tmp_path / "copy")]) == 0
    assert sha256 in capsys.readouterr().out
    assert resolve(tmp_path / "copy").digest == sha256
    assert main(["models"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(url))
    assert row.split()[1:5] == ["cached", "0.2", "MB", sha256[:12]]


def test_shipped_and_registered_checkpoints_are_listed_with_data_and_figures(saved, sha256, tmp_path, monkeypatch):
    push(PushSettings(str(saved), str(tmp_path / "site" / "eit-mini")))
    about = {"license": "cc-by-4.0", "foundation": {"data": "2 mice", "figures": {"cell type": "0.7 [0.6, 0.8]"}}}
    (tmp_path / "site" / "eit-mini" / "README.md").write_text(f"---\n{yaml.safe_dump(about)}---\n# Mini\n")
    monkeypatch.setenv("FOUNDATION_CHECKPOINTS", str(tmp_path / "site"))
    entry = {"url": "s3://lab/eit", "sha256": "1" * 64, "size": 4_200_000, "data": "3 rats", "figures": {"r2": 0.5}}
    (tmp_path / "lab.yaml").write_text(yaml.safe_dump({"checkpoints": {"eit-lab": entry}}))
    listing = list_models(ModelsSettings(registry=str(tmp_path / "lab.yaml")))
    mini = next(m for m in listing.models if m.name == "eit-mini")
    assert (mini.kind, mini.sha256, mini.data, mini.licence) == ("shipped", sha256, "2 mice", "cc-by-4.0")
    assert mini.figures == {"cell type": "0.7 [0.6, 0.8]"}
    lines = str(listing).splitlines()
    assert any(line.split()[:6] == ["eit-lab", "registry", "4.2", "MB", 12 * "1", "3"] for line in lines)


@pytest.mark.usefixtures("token")
def test_pulled_hub_checkpoints_are_listed(hub, contents, sha256):
    commit = hub.commit("lab/eit", contents)
    pull(PullSettings("hf://lab/eit"))
    names = {m.name: m.sha256 for m in list_models(ModelsSettings()).models}
    assert names[f"hf://lab/eit@{commit}"] == sha256


def test_damaged_cache_entries_are_skipped(web, cache):
    resolve(f"{web.url}/eit")
    (cache / "names" / "x").write_text("{")
    (cache / ("a" * 64)).mkdir()
    assert [m.kind for m in list_models(ModelsSettings()).models if m.name.startswith("http")] == ["cached"]


def test_commands_name_the_problem(capsys, tmp_path):
    assert main(["pull"]) == 2
    assert main(["push", str(tmp_path / "a")]) == 2
    assert main(["push", str(tmp_path / "a"), str(tmp_path / "b"), "c"]) == 2
    capsys.readouterr()
    assert main(["push", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    assert "no checkpoint at" in capsys.readouterr().err
    assert main(["pull", "nothing-like-it"]) == 1
    assert "expected a folder with config.json" in capsys.readouterr().err
