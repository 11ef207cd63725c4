"""Checkpoints of an earlier schema load with their weights; errors for other schemas say what to do."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from foundation.common.errors import CheckpointError, ConfigError
from foundation.hub import load_model
from foundation.models import EIT, EITConfig
from foundation.models.saved.preprocessing import Preprocessing


@pytest.fixture
def saved(tmp_path):
    model = EIT(EITConfig(dim=16, heads=2)).eval()
    model.save_pretrained(tmp_path / "now")
    return model, tmp_path / "now"


@pytest.fixture
def older(saved, tmp_path):
    """The same model in schema 1: other names, and a config.json without a schema."""
    folder = saved[1]
    (tmp_path / "older").mkdir()
    weights = load_file(folder / "model.safetensors")
    old = {name.replace("token_embedding.", "embed."): tensor for name, tensor in weights.items()}
    assert old.keys() != weights.keys()
    save_file(old, tmp_path / "older" / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    assert config.pop("foundation_schema") == 3
    (tmp_path / "older" / "config.json").write_text(json.dumps(config))
    return tmp_path / "older"


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_checkpoint_of_schema_1_loads_and_is_written_as_the_newest(saved, older, tmp_path):
    for load in (load_model, EIT.from_pretrained, AutoModel.from_pretrained):
        assert same(load(older).eval(), saved[0])
    load_model(older).save_pretrained(tmp_path / "again")
    assert load_file(tmp_path / "again" / "model.safetensors").keys() == saved[0].state_dict().keys()
    assert json.loads((tmp_path / "again" / "config.json").read_text())["foundation_schema"] == 3
    assert same(load_model(tmp_path / "again"), saved[0])


@pytest.mark.parametrize(
    ("schema", "advice"),
    [(0, "install the version that wrote the checkpoint, or pretrain again"), (4, "install a newer one"), ("2", "or")],
)
def test_unknown_schema_is_refused_with_advice(saved, schema, advice):
    path = saved[1] / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"foundation_schema": schema}))
    with pytest.raises(
        CheckpointError, match=rf"foundation_schema is {schema!r}: this version reads 1 to 3; .*{advice}"
    ):
        load_model(saved[1])


def test_windows_of_pretraining_are_saved_with_the_weights(tmp_path):
    own = {"bin_widths": [0.01, 1.0, 3600.0], "tokens": 5000, "kinds": ["spikes"], "min_tokens": 8}
    EIT(EITConfig(dim=16, heads=2, preprocessing=own)).save_pretrained(tmp_path)
    for load in (load_model, AutoModel.from_pretrained):
        assert load(tmp_path).config.preprocessing == own
    assert Preprocessing.of(load_model(tmp_path).config) == Preprocessing((0.01, 1.0, 3600.0), 5000, ("spikes",), 8)
    assert Preprocessing.of(EITConfig(tokens="intervals", patch_length=5000)) == Preprocessing((0.001,), tokens=8)


@pytest.mark.parametrize(
    ("own", "what"),
    [
        ({"bin_widths": []}, r"bin_widths is \[\]"),
        ({"bin_widths": [0.0]}, r"bin_widths is \[0\.0\]: expected one or more, each from 0\.0001 to 3600"),
        ({"bin_widths": 0.1}, "expected lists for bin_widths and kinds"),
        ({"tokens": 10**9}, "tokens is 1000000000: expected a whole number from 1 to 65536"),
        ({"kinds": ["voltage"]}, "kinds has 'voltage': expected one of spikes, counts, values"),
        ({"tokens": 4, "min_tokens": 5}, "min_tokens is 5: expected a whole number from 1 to preprocessing.tokens"),
        ({"width": 1}, "expected a mapping with bin_widths, tokens, kinds, min_tokens"),
    ],
)
def test_invalid_windows_are_refused(own, what):
    with pytest.raises(ConfigError, match=what):
        EITConfig(preprocessing=own)


def test_model_is_loaded_by_name(saved, tmp_path, monkeypatch):
    monkeypatch.setenv("FOUNDATION_CHECKPOINTS", str(tmp_path))
    monkeypatch.chdir("/")
    assert same(EIT.from_pretrained("now").eval(), saved[0])
    with pytest.raises(OSError, match="cached files"):  # transformers itself handles org/name
        EIT.from_pretrained("nowhere/at-all", local_files_only=True)
