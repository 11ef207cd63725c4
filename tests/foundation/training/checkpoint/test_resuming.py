"""Resuming with damaged and with temporarily unreadable checkpoints."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from safetensors.torch import load, save

from foundation.common.errors import CheckpointError
from foundation.store.commit.atomic_files import Files
from foundation.training import pretrain
from foundation.training.checkpoint.checkpoint import Checkpoints, sha256
from foundation.training.pretrain_settings import SafetySettings

WHOLE = "step-00000004"


def model_bytes(output) -> bytes:
    return (Path(output) / "model" / "model.safetensors").read_bytes()


@pytest.fixture
def trained(tiny):
    """A run of four steps that has lost its model and resumes from checkpoints."""
    settings = tiny(steps=4, safety=SafetySettings(retries=1, pause=0.01))
    pretrain(settings)
    shutil.rmtree(Path(settings.output) / "model")
    return settings, Checkpoints(Path(settings.output) / "checkpoints")


def away(monkeypatch, times: int, error: Exception) -> Counter:
    """Make reads of weights fail a number of times; return how often each file was read."""
    read, counted = Files.read_bytes, Counter()

    def flaky(files, name):
        counted[name] += 1
        if name.endswith("model.safetensors") and counted[name] <= times:
            raise error
        return read(files, name)

    monkeypatch.setattr(Files, "read_bytes", flaky)
    return counted


@pytest.mark.parametrize("error", [TimeoutError("timed out"), OSError(5, "Input/output error"), MemoryError("full")])
def test_unreadable_is_not_damaged(trained, monkeypatch, error):
    _, place = trained
    counted = away(monkeypatch, times=9, error=error)
    with pytest.raises(type(error), match=str(error.args[-1])):
        Checkpoints(place.files.url, retries=2).resumable({})
    assert counted == {f"{WHOLE}/model/model.safetensors": 3} | {
        name: 1 for name in counted if not name.endswith("model.safetensors")
    }


def test_unreadable_place_stops_the_run_without_loss(trained, monkeypatch, caplog):
    settings, place = trained
    expected = place.read(WHOLE)
    counted = away(monkeypatch, times=9, error=TimeoutError("timed out"))
    with pytest.raises(CheckpointError, match=r"cannot be read \(TimeoutError: timed out\): make them readable"):
        pretrain(settings)
    assert counted[f"{WHOLE}/model/model.safetensors"] == 2
    assert "is damaged" not in caplog.text
    monkeypatch.undo()
    assert place.names() == [WHOLE, "step-00000002"]
    assert place.read(WHOLE) == expected


def test_failed_read_is_retried_and_no_file_is_read_twice(trained, monkeypatch, caplog):
    settings, place = trained
    files = place.manifest(WHOLE)["files"]
    counted = away(monkeypatch, times=1, error=TimeoutError("timed out"))
    with caplog.at_level("INFO"):
        pretrain(settings)
    assert "model.safetensors failed (TimeoutError: timed out): retrying in 0.01 s" in caplog.text
    assert "resuming from step 4" in caplog.text
    assert {file: counted[f"{WHOLE}/{file}"] for file in files} == {
        file: 1 + file.endswith("model.safetensors") for file in files
    }


def test_run_with_only_damaged_checkpoints_does_not_restart(trained):
    settings, place = trained
    place.files.remove(f"{WHOLE}/objective.safetensors")
    place.files.write_bytes("step-00000002/checkpoint.json", b"{")
    lines = (Path(settings.output) / "metrics.jsonl").read_bytes()
    with pytest.raises(
        CheckpointError,
        match=r"all 2 checkpoints in .* are damaged \(step-00000004: objective.safetensors is missing; "
        r"step-00000002: .* is damaged: .*\): move them away to start from step 0, or use --resume never",
    ):
        pretrain(settings)
    assert (Path(settings.output) / "metrics.jsonl").read_bytes() == lines
    for name in place.names():
        shutil.move(place.files.path(name), place.files.path(f"damaged-{name}"))
    pretrain(settings)
    assert place.damage(WHOLE) == ""


def test_deepspeed_configuration_is_saved_with_the_weights(trained):
    settings, place = trained
    manifest = place.manifest(WHOLE)
    content = place.files.read_bytes(f"{WHOLE}/deepspeed.json")
    assert json.loads(content)["zero_optimization"]["stage"] == manifest["zero_stage"] == settings.zero_stage
    assert manifest["files"]["deepspeed.json"] == sha256(content)
    assert content == (Path(settings.output) / "deepspeed.json").read_bytes()


def test_checkpoint_without_deepspeed_json_loads(trained, caplog):
    settings, place = trained
    manifest = place.manifest(WHOLE)
    del manifest["files"]["deepspeed.json"], manifest["zero_stage"]
    place.files.write_json(f"{WHOLE}/checkpoint.json", manifest)
    place.files.remove(f"{WHOLE}/deepspeed.json")
    with caplog.at_level("INFO"):
        pretrain(settings)
    assert "resuming from step 4" in caplog.text
    assert model_bytes(settings.output) == place.files.read_bytes(f"{WHOLE}/model/model.safetensors")


def test_run_of_an_earlier_version_resumes(tiny, left_alone):
    """Schema 1 called the tokens' embedding ``embed``; weights, moments and target networks have its names."""
    settings = tiny(steps=6)
    checkpoints = Path(settings.output) / "checkpoints"
    shutil.copytree(left_alone / "checkpoints" / WHOLE, checkpoints / WHOLE)
    manifest = json.loads((checkpoints / WHOLE / "checkpoint.json").read_text())
    renamed = 0
    for path in (checkpoints / WHOLE).rglob("*.safetensors"):
        tensors = load(path.read_bytes())
        old = {name.replace("token_embedding.", "embed."): tensor for name, tensor in tensors.items()}
        renamed += len(old.keys() - tensors.keys())
        content = save(old, metadata={"format": "pt"})
        path.write_bytes(content)
        manifest["files"][path.relative_to(checkpoints / WHOLE).as_posix()] = sha256(content)
    assert renamed > 6
    (checkpoints / WHOLE / "checkpoint.json").write_text(json.dumps(manifest))
    pretrain(settings)
    assert model_bytes(settings.output) == model_bytes(left_alone)
