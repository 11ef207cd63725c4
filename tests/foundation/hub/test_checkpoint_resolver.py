"""From a name to a folder and a digest: the order of names, and refused names."""

import hashlib
import json
import shutil
import subprocess
import sys

import pytest
import yaml

from foundation.common.errors import CheckpointError, ConfigError
from foundation.hub import checkpoint_digest, load_model, resolve
from foundation.hub.checkpoints import read_beside


@pytest.fixture
def site(tmp_path, saved, monkeypatch):
    """A folder of a site's own checkpoints, searched before the package's."""
    folder = tmp_path / "site"
    shutil.copytree(saved, folder / "eit-mini")
    monkeypatch.setenv("FOUNDATION_CHECKPOINTS", str(folder))
    return folder


def registry(tmp_path, monkeypatch=None, **checkpoints):
    path = tmp_path / "lab.yaml"
    path.write_text(yaml.safe_dump({"checkpoints": checkpoints}))
    if monkeypatch is not None:
        monkeypatch.setenv("FOUNDATION_REGISTRY", str(path))
    return path


def test_shipped_name_is_found_but_a_local_folder_takes_precedence(site, saved, sha256, tmp_path, monkeypatch):
    found = resolve("eit-mini")
    assert (found.kind, found.folder, found.digest) == ("shipped", site / "eit-mini", sha256)
    assert load_model("eit-mini").config.dim == 32
    monkeypatch.chdir(tmp_path)
    shutil.copytree(saved, tmp_path / "eit-mini" / "model")
    assert (resolve("eit-mini").kind, resolve("eit-mini").folder.name) == ("folder", "model")


def test_folder_without_a_checkpoint_hides_no_name(site, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "eit-mini").mkdir()
    (tmp_path / "eit-mini" / "notes.txt").write_text("mine")
    assert resolve("eit-mini").folder == site / "eit-mini"
    (tmp_path / "data").mkdir()
    with pytest.raises(CheckpointError, match=r"no checkpoint at 'data': a folder with config\.json"):
        resolve("data")


def test_shipped_name_takes_precedence_over_a_registry(site, saved, sha256, tmp_path, monkeypatch):
    entry = {"url": str(saved), "sha256": sha256}
    registry(tmp_path, monkeypatch, **{"eit-mini": entry, "eit-lab": entry})
    assert resolve("eit-mini").folder == site / "eit-mini"
    found = resolve("eit-lab")
    assert (found.folder, found.registry) == (saved, str(tmp_path / "lab.yaml"))
    assert load_model("eit-lab").config.dim == 32


def test_own_registry_is_given_by_argument(saved, sha256, tmp_path):
    path = registry(tmp_path, mine={"url": str(saved), "sha256": sha256})
    assert resolve("mine", registry=path).digest == checkpoint_digest("mine", path) == sha256
    assert load_model("mine", registry=path).config.dim == 32
    with pytest.raises(CheckpointError, match="no checkpoint at 'mine'"):
        resolve("mine")


def test_pinned_digest_is_checked(saved, sha256, tmp_path):
    path = registry(tmp_path, mine={"url": str(saved), "sha256": "0" * 64})
    with pytest.raises(CheckpointError, match=rf"mine has sha256 {sha256}: expected 000.*write the new digest there"):
        load_model("mine", registry=path)


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ({"url": "s3://a/b"}, "sha256 is '': expected 64 hexadecimal digits"),
        ({"sha256": "0" * 64}, "has no url"),
        ({"url": "a", "sha256": "0" * 64, "sha": 1}, "has 'sha': expected one of url, revision, sha256"),
        ({"url": "a", "sha256": "0" * 64, "size": "4 MB"}, "size is '4 MB': expected a number of bytes"),
        ("hf://a/b", "is 'hf://a/b': expected a mapping"),
    ],
)
def test_damaged_registry_is_refused_with_the_key(entry, what, tmp_path):
    with pytest.raises(ConfigError, match=what):
        resolve("mine", registry=registry(tmp_path, mine=entry))


def test_missing_registry_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("FOUNDATION_REGISTRY", str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigError, match=r"no registry of checkpoints at .*none\.yaml"):
        resolve("mine")


@pytest.mark.usefixtures("site")
def test_unknown_name_suggests_the_nearest():
    with pytest.raises(CheckpointError, match=r"no checkpoint at 'eit-mine': did you mean 'eit-mini'\?"):
        load_model("eit-mine")
    with pytest.raises(CheckpointError, match=r"no checkpoint at 'not/there': a folder with config.json"):
        load_model("not/there")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("models:/eit", "models:/name@alias or models:/name/3"),
        ("hf://eit", "expected hf://org/name or hf://org/name@revision"),
        ("hf://lab/eit@a b", "has the revision 'a b'"),
        ("hf://lab/../eit", "holds '..'"),
        ("nothing://a/b", "cannot fetch nothing://a/b"),
    ],
)
def test_malformed_names_are_refused(name, what):
    with pytest.raises(CheckpointError, match=what):
        resolve(name)


def test_digest_changes_with_the_files(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "a")
    before = checkpoint_digest(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"note": "x"}))
    assert checkpoint_digest(folder) != before
    whole = (folder / "config.json").read_bytes() + (folder / "model.safetensors").read_bytes()
    assert checkpoint_digest(folder) == hashlib.sha256(whole).hexdigest()


def test_curves_are_read_beside_a_run_only(site, saved, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(saved, run / "model")
    for folder in (run, site):
        (folder / "metrics.jsonl").write_text("{}\n")
    assert read_beside(run, "metrics.jsonl") == "{}\n"
    assert read_beside("eit-mini", "metrics.jsonl") is None


def test_resolving_imports_neither_torch_nor_transformers(site):
    code = (
        "import sys; from foundation.hub import resolve; print(resolve('eit-mini').kind);"
        "print([m for m in ('torch', 'transformers', 'mlflow', 'huggingface_hub') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["shipped", "[]"], site
