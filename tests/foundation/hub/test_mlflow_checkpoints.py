"""Checkpoints in a local MLflow registry: pushed, found by alias and version, and available without the server."""

import os
import shutil
from pathlib import Path

import pytest

from foundation.common.errors import CheckpointError
from foundation.hub import load_model, resolve
from foundation.hub.hub_settings import PushSettings
from foundation.hub.publishing import push


@pytest.fixture(scope="module")
def registry(tmp_path_factory, saved, empty_runs):
    """The URI of a registry with two versions of a model; the second is ``production``. Tests only read it."""
    folder = tmp_path_factory.mktemp("mlflow")
    shutil.copy(empty_runs, folder / "mlflow.db")
    uri = f"sqlite:///{folder}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        patch.delenv("MLFLOW_REGISTRY_URI", raising=False)
        first = push(PushSettings(str(saved), "models:/eit"))
        second = push(PushSettings(str(saved), "models:/eit@production"))
    assert (first.name, second.name) == ("models:/eit/1", "models:/eit/2")
    return uri


@pytest.fixture
def tracking(registry, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry)
    return registry


def artifacts(uri):
    return Path(uri.removeprefix("sqlite:///")).parent / "mlartifacts"


@pytest.mark.usefixtures("tracking")
def test_alias_is_resolved_to_its_version(sha256, cache):
    found = resolve("models:/eit@production")
    assert (found.kind, found.revision, found.digest) == ("mlflow", "2", sha256)
    assert found.folder == cache / sha256
    assert (found.folder / "README.md").is_file()
    assert load_model("models:/eit/1").config.dim == 32


@pytest.mark.usefixtures("tracking")
def test_version_in_the_cache_needs_no_registry(sha256, monkeypatch, tmp_path):
    resolve("models:/eit@production")
    monkeypatch.setattr("foundation.hub.mlflow_checkpoints.client_of", lambda uri: 1 / 0)
    assert resolve("models:/eit/2").digest == sha256
    assert resolve("models:/eit@production").revision == "2", "as it was, where the registry cannot be reached"
    monkeypatch.setenv("FOUNDATION_OFFLINE", "1")
    assert resolve("models:/eit@production").digest == sha256
    with pytest.raises(CheckpointError, match=r"models:/eit/1 is not in the cache, and connections are switched off"):
        resolve("models:/eit/1")


@pytest.mark.usefixtures("tracking")
def test_missing_models_are_named():
    with pytest.raises(CheckpointError, match="has no models:/eit/9"):
        resolve("models:/eit/9")
    with pytest.raises(CheckpointError, match="has no models:/eit@none"):
        resolve("models:/eit@none")
    with pytest.raises(CheckpointError, match=r"expected models:/name or models:/name@alias; the registry counts"):
        push(PushSettings("models:/eit/1", "models:/eit/7"))


def test_missing_registry_uri_is_an_error(monkeypatch, tmp_path):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="MLFLOW_TRACKING_URI is not set"):
        resolve("models:/eit@production")
    assert os.listdir(tmp_path) in ([], ["cache"])


def test_changed_artifacts_are_refused(saved, tmp_path, tracking, cache):
    before = set(artifacts(tracking).rglob("model.safetensors"))
    push(PushSettings(str(saved), "models:/other"))
    (weights,) = set(artifacts(tracking).rglob("model.safetensors")) - before
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + b"\x01")
    with pytest.raises(CheckpointError, match=r"models:/other/1 has sha256 .*as its tag foundation\.sha256 says"):
        resolve("models:/other/1")
    weights.write_bytes(whole)
    (weights.parent / "python_model.pkl").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"models:/other/1 holds python_model\.pkl .*without pickles and code"):
        resolve("models:/other/1")
    shutil.move(weights.parent / "python_model.pkl", tmp_path)
    assert resolve("models:/other/1").kind == "mlflow"
    assert not list((cache / "parts").rglob("*.safetensors"))
