"""Options that save memory do not change what is learned."""

import json
from pathlib import Path

import pytest
import torch

from foundation.common.errors import ConfigError
from foundation.objectives import NDTSettings, ObjectiveSettings
from foundation.store import Catalog, Store
from foundation.training import ModelSettings, pretrain
from foundation.training.pretrain_settings import EngineSettings
from foundation.training.trainer import Trainer

NDT = ObjectiveSettings("ndt", ndt=NDTSettings(4, 12))


def losses(settings) -> list[float]:
    pretrain(settings)
    return [json.loads(line)["loss"] for line in (Path(settings.output) / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def plain(short_run, tmp_path_factory) -> list[float]:
    return losses(short_run(output=tmp_path_factory.mktemp("plain") / "run", steps=4))


@pytest.mark.parametrize(
    ("stage", "engine"),
    [
        (0, EngineSettings(accumulate=3)),
        (3, EngineSettings(accumulate=3)),
        (2, EngineSettings(accumulate=2, activation_checkpointing=True)),
        (0, EngineSettings(activation_checkpointing=True)),
        (3, EngineSettings(activation_checkpointing=True)),
        (1, EngineSettings(offload="cpu")),
        (2, EngineSettings(offload="cpu")),
        (3, EngineSettings(offload="cpu")),
    ],
)
def test_memory_options_give_the_same_losses(tiny, plain, tmp_path, stage, engine):
    saved = tiny(output=str(tmp_path / "saved"), steps=4, zero_stage=stage, engine=engine)
    assert losses(saved) == pytest.approx(plain, rel=1e-4)
    config = json.loads((tmp_path / "saved" / "deepspeed.json").read_text())
    offloaded = "offload_optimizer" in config["zero_optimization"]
    assert offloaded == (engine.offload == "cpu")


def test_accumulation_is_exact_for_a_masked_objective(tiny, tmp_path):
    shape = ModelSettings(dim=16, heads=2, individual_layers=1, interaction_layers=1)
    a = losses(tiny(output=str(tmp_path / "a"), steps=4, objective=NDT, model=shape))
    b = losses(
        tiny(output=str(tmp_path / "b"), steps=4, objective=NDT, model=shape, engine=EngineSettings(accumulate=4))
    )
    assert b == pytest.approx(a, rel=1e-4)


def test_accumulation_holds_less(tiny, tmp_path):
    """Bytes held for the backward pass once the loss is computed."""

    def kept(engine: EngineSettings) -> int:
        settings = tiny(output=str(tmp_path / str(engine.accumulate)), engine=engine)
        trainer = Trainer(settings, Catalog.open(Store(settings.store)))
        held: dict[int, int] = {}

        def pack(tensor):
            held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        batch = trainer.loader.load(0)
        views = [view.cast() for view in batch.views]
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            trainer.engine.module(views, batch.context)
        return sum(held.values())

    assert kept(EngineSettings(accumulate=4)) < kept(EngineSettings()) / 3


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            {"engine": EngineSettings(offload="cpu")},
            r"engine\.offload is 'cpu' and engine\.zero_stage 0: expected zero_stage 1",
        ),
    ],
)
def test_incompatible_options_are_refused(tiny, change, what):
    with pytest.raises(ConfigError, match=what):
        tiny(**change)
