"""config.json is checked against the weights before anything is built, and a checkpoint is fetched once."""

import hashlib
import json
import threading
import time
import tracemalloc
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import fsspec
import pytest
import torch

from foundation.common.errors import CheckpointError
from foundation.hub.checkpoints import checkpoint_digest, load_model, read_beside
from foundation.models import EIT, EITConfig, PopulationMLP, PopulationMLPConfig


@pytest.fixture
def saved(tmp_path):
    EIT(EITConfig(dim=16, heads=2)).save_pretrained(tmp_path / "a")
    return tmp_path / "a"


def changed(folder, **fields):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))
    return folder


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"num_labels": 10_000_000}, "num_labels is 10000000: expected at most 1024"),
        ({"individual_layers": 100_000}, "individual_layers is 100000: expected at most 1024"),
        ({"individual_layers": 900}, "has 1804 branches"),
        ({"interaction_layers": 500, "time_layers": 500}, "has 501004 branches"),
        ({"dim": 1 << 40}, "dim is 1099511627776"),
        ({"mlp_ratio": 1e9}, r"mlp_ratio is 1000000000\.0"),
        ({"mlp_ratio": 1e300}, "mlp_ratio is 1e"),
        ({"rotary_longest": float("nan")}, "rotary_longest is inf"),
        ({"inducing_points": 800}, "does not fit its config"),
        ({"nested": {"deep": [1, {"n": 10**7}]}}, r"nested\.deep\.n is 10000000"),
        ({"_attn_implementation": "evil/kernel"}, "_attn_implementation is 'evil/kernel': expected one of eager, sdpa"),
        ({"attn_implementation": "evil/kernel:layer"}, "attn_implementation is 'evil/kernel:layer'"),
        ({"attn_implementation": {"": "evil/kernel"}}, "is 'evil/kernel'"),
        (
            {"text_config": {"_attn_implementation_internal": "evil/kernel"}},
            "text_config._attn_implementation_internal",
        ),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantization_config is not allowed"),
        ({"auto_map": {"AutoModel": "evil--code"}}, "auto_map is not allowed"),
        ({"heads": "2"}, "cannot build|heads is '2'"),
    ],
)
def test_config_that_exceeds_its_weights_is_refused_at_once(saved, fields, what):
    changed(saved, **fields)
    tracemalloc.start()
    began = time.thread_time()
    try:
        with pytest.raises(CheckpointError, match=what):
            load_model(saved)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.thread_time() - began < 5
    assert peak < 50e6, "nothing of the size that was asked for is built"


def test_other_architectures_are_checked_too(tmp_path):
    PopulationMLP(PopulationMLPConfig(units=12, widths=[16, 8])).save_pretrained(tmp_path)
    assert load_model(tmp_path, PopulationMLP).config.dim == 8
    changed(tmp_path, widths=[8] * 20_000)
    with pytest.raises(CheckpointError, match="20000 layers"):
        load_model(tmp_path, PopulationMLP)


def test_allowed_attention_still_loads(saved):
    model = load_model(changed(saved, _attn_implementation="eager"))
    assert model.config.dim == 16


class Counting(SimpleHTTPRequestHandler):
    """Serves a folder and records the requested paths with their queries."""

    asked: ClassVar[list[str]] = []

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path):
    Counting.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Counting, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def run_folder(saved, tmp_path):
    """A run's output: the model, and many other files."""
    run = tmp_path / "run"
    (run / "checkpoints" / "step-00000001").mkdir(parents=True)
    saved.rename(run / "model")
    (run / "checkpoints" / "step-00000001" / "objective.safetensors").write_bytes(bytes(1 << 20))
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    return run


def test_model_behind_a_url_is_fetched_once_without_other_files(saved, tmp_path, monkeypatch):
    run = run_folder(saved, tmp_path)
    memory = fsspec.filesystem("memory")
    memory.put(str(run), f"/{tmp_path.name}", recursive=True)
    fetched = []
    opened = type(memory)._open
    monkeypatch.setattr(
        type(memory), "_open", lambda fs, path, *a, **k: (fetched.append(path), opened(fs, path, *a, **k))[1]
    )
    url = f"memory://{tmp_path.name}"
    model = load_model(url)
    assert checkpoint_digest(url) == checkpoint_digest(run)
    assert sorted(path.rsplit("/", 2)[-2:] for path in fetched if "model" in path) == [
        ["model", "config.json"],
        ["model", "model.safetensors"],
    ]
    assert not any("objective" in path for path in fetched)
    assert torch.equal(next(model.parameters()), next(load_model(run).parameters()))
    assert read_beside(url, "metrics.jsonl") == (run / "metrics.jsonl").read_text() == read_beside(run, "metrics.jsonl")
    EIT(EITConfig(dim=32, heads=2)).save_pretrained(tmp_path / "b")
    memory.put(f"{tmp_path}/b/", f"/{tmp_path.name}/model/", recursive=True)
    assert load_model(url).config.dim == 32
    assert checkpoint_digest(url) == checkpoint_digest(tmp_path / "b"), "another content, another digest"
    memory.rm(f"/{tmp_path.name}", recursive=True)


def test_fetched_checkpoint_is_compared_with_its_run_s_digests(saved, tmp_path):
    step = tmp_path / "step-00000002"
    step.mkdir()
    saved.rename(step / "model")
    weights = hashlib.sha256((step / "model" / "model.safetensors").read_bytes()).hexdigest()
    memory = fsspec.filesystem("memory")
    memory.put(str(step), f"/{tmp_path.name}", recursive=True)
    for digest in ("0" * 64, weights):  # refused files are not kept
        manifest = json.dumps({"files": {"model/model.safetensors": digest}})
        memory.pipe_file(f"/{tmp_path.name}/checkpoint.json", manifest.encode())
        for url in (f"memory://{tmp_path.name}", f"memory://{tmp_path.name}/model"):
            if digest == weights:
                assert load_model(url).config.dim == 16
            else:
                with pytest.raises(
                    CheckpointError, match=r"model\.safetensors of .* has other bytes than its run wrote"
                ):
                    load_model(url)
    memory.rm(f"/{tmp_path.name}", recursive=True)


def test_model_behind_a_url_with_a_query_is_found(saved, tmp_path, served):
    run = run_folder(saved, tmp_path)
    assert load_model(f"{served}/run?token=abc").config.dim == 16
    assert checkpoint_digest(f"{served}/run?token=abc") == checkpoint_digest(run)
    assert all(path.endswith("?token=abc") for path in Counting.asked)
    with pytest.raises(CheckpointError, match=r"no checkpoint at 'http://127\.0\.0\.1:\d+/none\?\*\*\*'"):
        load_model(f"{served}/none?token=abc")
