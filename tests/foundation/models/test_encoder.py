"""Your own models: requirements of settings, checkpoints and plans."""

import json

import pytest
import torch
from transformers import AutoConfig, AutoModel, PreTrainedModel

from foundation.common.errors import CheckpointError, ConfigError
from foundation.common.extensions.search_folders import searching
from foundation.common.work import Work
from foundation.cost_model.own_model_cost import OwnModelCost
from foundation.hub.checkpoints import load_model
from foundation.models import EIT, EITConfig, Encoder, EncoderConfig, ModelCost
from foundation.models.encoder import CLASS, check_architecture
from foundation.training import ModelSettings

HERE = f"{__name__}:Linear"


class LinearConfig(EncoderConfig):
    model_type = "test_encoder_linear"
    seconds: float = 5000.0


class Linear(Encoder):
    config_class = LinearConfig

    def __init__(self, config):
        super().__init__(config)
        self.read_in = torch.nn.Linear(config.patch_length, config.dim)
        self.post_init()

    def forward(self, x_BNT, mask_BN, mask_BT, dt_B, modality_B):
        return self.output(self.read_in(x_BNT.unflatten(-1, (-1, self.config.patch_length))), mask_BN, mask_BT)

    @classmethod
    def cost(cls, config, windows, units, tokens):
        rows = windows * units * tokens
        return ModelCost(Work(2.0 * rows * config.patch_length * config.dim, 0.0, 1), 4.0 * rows * config.dim)


class Louder(EIT):
    """A custom subclass of EIT."""


class OtherConfig(LinearConfig):
    model_type = "test_encoder_other"


class NoType(Encoder):
    config_class = EncoderConfig


class NoMasks(Encoder):
    config_class = OtherConfig

    def forward(self, x_BNT):
        return x_BNT


class Foreign(PreTrainedModel):
    def forward(self, x_BNT, mask_BN, mask_BT, dt_B, modality_B):
        return x_BNT


@pytest.fixture
def named(monkeypatch):
    """The name of this file's classes in settings."""
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules[Linear.__module__])


def saved(folder, model, **changes):
    model.save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (NoType, "expected a subclass of EncoderConfig with its own model_type"),
        (NoMasks, "forward does not take mask_BN, mask_BT, dt_B, modality_B"),
        (Foreign, "expected a subclass of foundation.models.EncoderConfig"),
    ],
)
def test_class_that_cannot_be_trained_is_refused(kind, message):
    with pytest.raises(ConfigError, match=f"model.name is 'x', whose .*{message}"):
        check_architecture(kind, "model.name is 'x'")


def test_settings_are_arguments_of_the_configuration(named):
    model = ModelSettings(name=HERE, settings={"dim": 8, "seconds": 3.0}).build()
    assert (model.config.dim, model.config.seconds, getattr(model.config, CLASS)) == (8, 3.0, HERE)
    with pytest.raises(ConfigError, match=r"model.settings has 'dims': LinearConfig takes dim, patch_length, seconds"):
        ModelSettings(name=HERE, settings={"dims": 8}).build()
    with pytest.raises(ConfigError, match="dim is 0: expected a whole number, at least 1"):
        ModelSettings(name=HERE, settings={"dim": 0}).build()
    with pytest.raises(ConfigError, match=r"model.dim is 8 and model.name .*give model.settings.dim"):
        ModelSettings(name=HERE, dim=8)
    with pytest.raises(ConfigError, match=r"model.settings has dim: expected none for eit"):
        ModelSettings(settings={"dim": 8})
    with pytest.raises(ConfigError, match=r"model.name is 'etit': expected eit, package.module:Class"):
        ModelSettings(name="etit")


def test_masked_units_and_tokens_do_not_count():
    model = Linear(LinearConfig(dim=8))
    x_BNT, mask_BN = torch.rand(2, 3, 8), torch.tensor([[True, True, False]] * 2)
    mask_BT = torch.ones(2, 8, dtype=torch.bool)
    mask_BT[:, 4:] = False
    one = model(x_BNT, mask_BN, mask_BT, torch.full((2,), 0.1), torch.zeros(2, dtype=torch.long))
    x_BNT[:, 2], x_BNT[:, :, 4:] = 7.0, 9.0
    other = model(x_BNT, mask_BN, mask_BT, torch.full((2,), 0.1), torch.zeros(2, dtype=torch.long))
    for name in ("h_BNTD", "z_BND", "p_BTD"):
        assert torch.equal(one[name], other[name])


def test_checkpoint_loads_by_its_stored_name_and_by_class(named, tmp_path):
    model = Linear(LinearConfig(dim=8))
    folder = saved(tmp_path / "model", model, **{CLASS: HERE})
    with searching([], [HERE]):
        loaded = load_model(folder)
    assert torch.equal(loaded.read_in.weight, model.read_in.weight)
    assert loaded.config.seconds == 5000.0  # a number that equals no size of a weight
    assert type(load_model(folder, Linear)) is Linear
    assert type(load_model(folder, HERE)) is Linear
    assert AutoConfig.for_model("test_encoder_linear").model_type == "test_encoder_linear"
    assert type(AutoModel.from_pretrained(folder)) is Linear


def test_subclass_of_eit_counts_as_a_custom_model(named, tmp_path):
    settings = ModelSettings(name=f"{__name__}:Louder", settings={"dim": 16, "heads": 2})
    model = settings.build()
    model.save_pretrained(tmp_path)
    with searching([], [__name__]):
        assert type(load_model(tmp_path)).__name__ == "Louder"
    assert EITConfig.model_type == model.config.model_type


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({CLASS: "os:system"}, "would run its code"),
        ({CLASS: ["mylab:Net"]}, "expected package.module:Class"),
        ({"dim": 1 << 40}, "dim is 1099511627776: expected at most"),
        ({"dim": 9}, "does not fit its config.json"),
        ({"auto_map": {"AutoModel": "evil.Net"}}, "auto_map is not allowed"),
    ],
)
def test_hostile_config_is_refused(named, tmp_path, changes, message):
    folder = saved(tmp_path / "model", Linear(LinearConfig(dim=8)), **({CLASS: HERE} | changes))
    with searching([], [HERE]), pytest.raises(CheckpointError, match=message):
        load_model(folder)


def test_plan_of_a_model_with_a_cost_has_no_unknowns(named):
    cost = OwnModelCost.of(Linear(LinearConfig(dim=8)), checkpointing=True)
    assert (cost.parameters, cost.tensors, cost.is_known) == (8 * 4 + 8, 2, True)
    assert cost.forward((2, 3, 5)).flops == 2 * 30 * 4 * 8
    assert cost.backward((2, 3, 5)).flops == 2 * cost.recomputed((2, 3, 5)).flops
    assert cost.held((2, 3, 5)) == 4 * 30 * 8
