import json
import math
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from safetensors.torch import load_file

from foundation.common.errors import CheckpointError, ConfigError, StoreError
from foundation.data.steps.data_settings import WINDOWS
from foundation.hub.checkpoints import load_model
from foundation.store import Catalog, Store
from foundation.training import OptimizerSettings, pretrain
from foundation.training.checkpoint.checkpoint import list_checkpoints
from foundation.training.pretrain_settings import SafetySettings, SavingSettings
from foundation.training.update.schedule import learning_rate


def metrics(output) -> list[dict]:
    return [json.loads(line) for line in (Path(output) / "metrics.jsonl").read_text().splitlines()]


def model_bytes(output) -> bytes:
    return (Path(output) / "model" / "model.safetensors").read_bytes()


def test_run_leaves_model_metrics_settings_and_an_mlflow_run(tiny):
    settings = tiny()
    folder = pretrain(settings)
    assert load_model(folder).config.dim == 16
    own = {"bin_widths": [0.005, 0.025], "tokens": 12, "kinds": ["spikes"], "min_tokens": 4}
    assert load_model(folder).config.preprocessing == own
    lines = metrics(settings.output)
    assert [line["step"] for line in lines] == list(range(1, 7))
    assert all(math.isfinite(value) for line in lines for value in line.values())
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert "# EIT pretrained with neurpir" in (folder / "README.md").read_text()
    note = json.loads((Path(settings.output) / "run.json").read_text())
    client = MlflowClient(note["tracking_uri"])
    run = client.get_run(note["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params["model.dim"] == "16"
    assert run.data.metrics["loss"] == pytest.approx(lines[-1]["loss"])
    assert len(client.get_metric_history(note["run_id"], "loss")) == 6
    files = {f.path for f in client.list_artifacts(note["run_id"], "model")}
    assert files == {f"model/{name}" for name in ("README.md", "config.json", "model.safetensors", "pretraining.json")}
    seen = json.loads((folder / "pretraining.json").read_text())
    assert [r["subject"] for r in seen["recordings"]] == ["mouse0", "mouse1", "mouse2", "mouse3"]
    assert [r["digest"] for r in seen["recordings"]] == [
        row.digest for row in sorted(Catalog.open(Store(settings.store)).records, key=lambda row: row.subject)
    ]
    assert seen["recordings"][1]["source"]["digest"] == f"{1:064x}"
    assert (seen["steps"], seen["settings"]["model"]["dim"], seen["hardware"]["processes"]) == (6, 16, 1)
    config = json.loads((Path(settings.output) / "deepspeed.json").read_text())
    assert config["optimizer"]["params"]["lr"] == settings.optimizer.learning_rate


def test_finished_run_is_not_trained_again(tiny, caplog):
    settings = tiny(steps=2)
    pretrain(settings)
    before = (Path(settings.output) / "model" / "model.safetensors").stat().st_mtime_ns
    with caplog.at_level("INFO"):
        pretrain(settings)
    assert "already trained" in caplog.text
    assert (Path(settings.output) / "model" / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_resumed_run_ends_with_the_same_weights(tiny, tmp_path, stage):
    """Remove the last checkpoint so that the run resumes from step 4; do this twice."""
    whole = tiny(output=str(tmp_path / "whole"), zero_stage=stage, keep_checkpoints=9)
    pretrain(whole)
    expected, losses = model_bytes(whole.output), [m["loss"] for m in metrics(whole.output)]
    assert len(set(losses)) == 6
    for _ in range(2):
        for late in list_checkpoints(Path(whole.output) / "checkpoints")[:1]:
            shutil.rmtree(late)
        shutil.rmtree(Path(whole.output) / "model")
        pretrain(whole)
        assert model_bytes(whole.output) == expected
        assert [m["loss"] for m in metrics(whole.output)] == losses


def test_every_zero_stage_takes_the_same_steps(tiny, tmp_path):
    losses = {}
    for stage in (0, 1, 2, 3):
        settings = tiny(output=str(tmp_path / f"stage{stage}"), zero_stage=stage, steps=3)
        pretrain(settings)
        losses[stage] = [m["loss"] for m in metrics(settings.output)]
    for stage in (1, 2, 3):
        assert losses[stage] == pytest.approx(losses[0], rel=1e-4)


def test_bf16_trains_fp32_weights(tiny, tmp_path):
    full, half = tiny(output=str(tmp_path / "a")), tiny(output=str(tmp_path / "b"), precision="bf16")
    pretrain(full)
    pretrain(half)
    a, b = ([m["loss"] for m in metrics(s.output)] for s in (full, half))
    assert a != b
    assert b == pytest.approx(a, rel=0.05)
    tensors = load_file(Path(half.output) / "model" / "model.safetensors")
    assert {t.dtype for t in tensors.values()} == {torch.float32}


def test_damaged_checkpoint_is_named_and_the_previous_one_used(tiny, caplog):
    settings = tiny()
    pretrain(settings)
    expected = model_bytes(settings.output)
    newest = list_checkpoints(Path(settings.output) / "checkpoints")[0]
    weights = newest / "optimizer" / "00000-of-00001.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with caplog.at_level("INFO"):
        pretrain(settings)
    assert "step-00000006 is damaged (optimizer/00000-of-00001.safetensors has other bytes" in caplog.text
    assert "resuming from step 4" in caplog.text
    assert model_bytes(settings.output) == expected


def test_run_with_other_window_draws_is_refused(tiny, monkeypatch):
    settings = tiny()
    pretrain(settings)
    monkeypatch.setattr("foundation.training.pretrain_settings.WINDOWS", WINDOWS + 1)
    with pytest.raises(CheckpointError, match=rf"windows: {WINDOWS} in the checkpoint, {WINDOWS + 1} in the settings"):
        pretrain(settings)


def test_run_with_other_settings_is_refused(tiny):
    settings = tiny(steps=2)
    pretrain(settings)
    other = replace(settings, model=replace(settings.model, dim=32))
    with pytest.raises(CheckpointError, match=r"model\.dim: 16 in the checkpoint, 32 in the settings"):
        pretrain(other)
    pretrain(replace(other, resume="never"))
    assert load_model(settings.output).config.dim == 32


def test_only_the_newest_checkpoints_are_kept(tiny):
    settings = tiny(keep_checkpoints=2)
    pretrain(settings)
    found = [p.name for p in list_checkpoints(Path(settings.output) / "checkpoints")]
    assert found == ["step-00000006", "step-00000004"]


def test_stores_without_recordings_are_refused(tiny, tmp_path):
    with pytest.raises(StoreError, match="there is no store"):
        pretrain(tiny(store=str(tmp_path / "nothing")))
    Store(tmp_path / "empty", create=True)
    with pytest.raises(StoreError, match="has no recordings"):
        pretrain(tiny(store=str(tmp_path / "empty")))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"steps": 0}, "steps is 0: expected at least 1"),
        ({"precision": "fp8"}, "precision is 'fp8': expected one of fp32, bf16"),
        ({"zero_stage": 4}, "zero_stage is 4"),
        ({"processes": 9}, "processes is 9: expected at most data.min_windows=4"),
    ],
)
def test_invalid_settings_are_refused(tiny, change, what):
    with pytest.raises(ConfigError, match=what):
        tiny(**change)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_non_finite_settings_are_refused(value):
    for kind, name in (
        (OptimizerSettings, "learning_rate"),
        (OptimizerSettings, "weight_decay"),
        (SafetySettings, "pause"),
        (SavingSettings, "keep_hours"),
    ):
        with pytest.raises(ConfigError, match=f"{name} is {value}: expected a finite number"):
            kind(**{name: value})


def test_learning_rate_rises_then_falls_along_a_cosine():
    settings = OptimizerSettings(learning_rate=2.0, warmup_steps=10, final_share=0.05)
    rates = [learning_rate(step, 110, settings) for step in range(110)]
    assert rates[:10] == pytest.approx([0.2 * k for k in range(1, 11)])
    assert max(rates) == rates[9] == rates[10] == 2.0
    assert all(a >= b for a, b in pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(0.1)
    middle = 10 + 99 / 2
    assert (rates[int(middle)] + rates[int(middle) + 1]) / 2 == pytest.approx((2.0 + 0.1) / 2, rel=0.02)
