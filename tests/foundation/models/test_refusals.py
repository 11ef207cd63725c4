"""Inputs that models refuse: unknown arguments, invalid tensors and shapes."""

import pytest
import torch

from finetune.reproduce.models import (
    LOLCAT,
    NDT,
    EITPublished,
    EITPublishedConfig,
    GRUDecoder,
    GRUDecoderConfig,
    LOLCATConfig,
    MLPDecoder,
    MLPDecoderConfig,
    NDTConfig,
)
from foundation.common.errors import ConfigError
from foundation.models import EIT, EITConfig, PopulationMLP, PopulationMLPConfig, SwapVAEConfig, SwapVAEModel

NAN, INF = float("nan"), float("inf")
WINDOWS = {
    "x_BNT": torch.ones(3, 2, 4),
    "mask_BN": torch.ones(3, 2, dtype=torch.bool),
    "mask_BT": torch.ones(3, 4, dtype=torch.bool),
    "dt_B": torch.full((3,), 0.02),
    "modality_B": torch.zeros(3, dtype=torch.int64),
}
DECODER = {"n_units": 2, "n_bins": 4, "n_classes": 3}
DECODED = {
    "x_BNT": torch.ones(3, 2, 4),
    "labels_BT": torch.zeros(3, 4, dtype=torch.int64),
    "counts_BNT": torch.ones(3, 2, 4),
}
MODELS = [
    (EIT(EITConfig(dim=16, heads=2)), WINDOWS),
    (PopulationMLP(PopulationMLPConfig(units=2, widths=[4])), WINDOWS),
    (SwapVAEModel(SwapVAEConfig(units=2, content=2, style=2, hidden=4)), WINDOWS),
    (LOLCAT(LOLCATConfig([4], dim=8, heads=2)), {"histograms": [torch.ones(2, 3, 4)]}),
    *((Model(Config(**DECODER)), DECODED) for Model, Config in (
        (MLPDecoder, MLPDecoderConfig), (GRUDecoder, GRUDecoderConfig), (NDT, NDTConfig),
        (EITPublished, EITPublishedConfig),
    )),
]  # fmt: skip


@pytest.mark.parametrize(("model", "given"), MODELS, ids=lambda value: type(value).__name__)
def test_unknown_argument_is_refused(model, given):
    assert model(**given) is not None
    with pytest.raises(TypeError, match="unexpected keyword argument 'unit_ids_BN'"):
        model(**given, unit_ids_BN=torch.zeros(3, 2))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            {"x_BNT": torch.ones(3, 0, 4), "mask_BN": None},
            r"has shape \(3, 0, 4\): .* at least one unit and one bin",
        ),
        ({"x_BNT": torch.ones(3, 2, 0), "mask_BT": None}, r"x_BNT has shape \(3, 2, 0\)"),
        ({"x_BNT": torch.ones(2, 4)}, r"x_BNT has shape \(2, 4\)"),
        ({"dt_B": torch.tensor([0.02, 0.0, 0.02])}, r"dt_B holds 0\.0: expected seconds, above 0"),
        ({"dt_B": torch.tensor([0.02, -1.0, 0.02])}, r"dt_B holds -1\.0"),
        ({"dt_B": torch.tensor([0.02, NAN, 0.02])}, "dt_B holds nan"),
        ({"dt_B": torch.tensor([0.02, INF, 0.02])}, "dt_B holds inf"),
        ({"modality_B": torch.tensor([0, 1, 2])}, "modality_B holds 2: expected 0 for counts, 1 for values"),
        ({"modality_B": torch.tensor([0, 1, -1])}, "modality_B holds -1"),
        (
            {"context_id_BC": torch.tensor([[0, 2]] * 3)},
            "context_id_BC holds 2: expected 0 to 1, places in context_channels",
        ),
        ({"context_id_BC": torch.tensor([[0, -1]] * 3)}, "context_id_BC holds -1"),
    ],
)
def test_invalid_windows_are_refused(change, what):
    model = EIT(EITConfig(dim=16, heads=2, context_channels=["a", "b"]))
    context = {"context_BCT": torch.ones(3, 2, 4), "context_id_BC": torch.tensor([[1, 0]] * 3)}
    assert model(**WINDOWS, **context).z_BND.isfinite().all()
    with pytest.raises(ValueError, match=what):
        model(**WINDOWS | context | change)


@pytest.mark.parametrize("mask_BT", [None, WINDOWS["mask_BT"]])
def test_recording_without_units_has_no_embeddings(mask_BT):
    nothing = {"x_BNT": torch.ones(3, 0, 4), "mask_BN": torch.ones(3, 0, dtype=torch.bool), "mask_BT": mask_BT}
    out = EIT(EITConfig(dim=16, heads=2))(**WINDOWS | nothing)
    assert out.z_BND.shape == (3, 0, 16)
    assert torch.equal(out.p_BTD, torch.zeros(3, 1, 16))


@pytest.mark.parametrize(
    ("config", "change", "what"),
    [
        (EITConfig, {"dim": 16.0}, r"dim is 16\.0: expected a whole number, at least 1"),
        (EITConfig, {"heads": "4"}, "heads is '4': expected a whole number, at least 1"),
        (EITConfig, {"heads": True}, "heads is True"),
        (EITConfig, {"interaction_layers": -1}, "interaction_layers is -1: expected a whole number, at least 0"),
        (EITConfig, {"mlp_ratio": 0.001}, r"mlp_ratio is 0\.001: expected at least 1 / 64"),
        (EITConfig, {"mlp_ratio": INF}, "mlp_ratio is inf: expected a finite number above 0"),
        (EITConfig, {"dropout": "0.1"}, r"dropout is '0\.1': expected a finite number from 0 to below 1"),
        (EITConfig, {"rotary_longest": INF}, "rotary_longest is inf"),
        (EITConfig, {"unit_tables": [-1, 1]}, r"unit_tables\[0\] is -1: expected a whole number, at least 0"),
        (EITConfig, {"unit_tables": 3}, "unit_tables is 3: expected a list"),
        (EITConfig, {"unit_tables": [3], "unit_names": "abc"}, "unit_names is 'abc': expected a list"),
        (EITConfig, {"context_channels": "abc"}, "context_channels is 'abc': expected a list"),
        (MLPDecoderConfig, {"dim": 0}, "dim is 0: expected a whole number, at least 1"),
        (MLPDecoderConfig, {"layers": 0}, "layers is 0"),
        (GRUDecoderConfig, {"dim": 0}, "dim is 0"),
        (GRUDecoderConfig, {"n_units": 2.0}, r"n_units is 2\.0"),
        (NDTConfig, {"heads": 0}, "heads is 0"),
        (NDTConfig, {"head_dim": 0}, "head_dim is 0"),
        (NDTConfig, {"layers": 0}, "layers is 0"),
        (NDTConfig, {"widening": 0}, "widening is 0"),
        (NDTConfig, {"mlp_ratio": 0.1}, r"mlp_ratio is 0\.1: expected at least 1 / 2"),
        (NDTConfig, {"mask_share": NAN}, "mask_share is nan: expected a finite number above 0 to below 1"),
        (
            EITPublishedConfig,
            {"interaction_layers": -1},
            "interaction_layers is -1: expected a whole number, at least 0",
        ),
        (EITPublishedConfig, {"individual_layers": 0}, "individual_layers is 0: expected a whole number, at least 1"),
        (EITPublishedConfig, {"individual_weight": NAN}, "individual_weight is nan: expected a finite number from 0"),
        (EITPublishedConfig, {"individual_weight": -0.5}, r"individual_weight is -0\.5"),
        (EITPublishedConfig, {"individual_ratio": 0.01}, r"individual_ratio is 0\.01"),
        (LOLCATConfig, {"dim": 0}, "dim is 0"),
        (LOLCATConfig, {"n_features": []}, r"n_features is \[\]: one timescale or more"),
        (LOLCATConfig, {"n_features": [4, 0]}, r"n_features\[1\] is 0: expected a whole number, at least 1"),
        (PopulationMLPConfig, {"units": 0}, "units is 0"),
        (PopulationMLPConfig, {"widths": []}, r"widths is \[\]: expected one width or more"),
        (PopulationMLPConfig, {"widths": [8, 0]}, r"widths\[1\] is 0: expected a whole number, at least 1"),
        (SwapVAEConfig, {"content": 0.5}, r"content is 0\.5"),
    ],
)
def test_invalid_shapes_are_refused(config, change, what):
    with pytest.raises(ConfigError, match=what):
        config(**change)


@pytest.mark.parametrize("model", [model for model, _ in MODELS], ids=lambda model: type(model).__name__)
def test_config_round_trips_through_a_folder_and_the_default(model, tmp_path):
    kind = type(model.config)
    model.config.save_pretrained(tmp_path)
    assert kind.from_pretrained(tmp_path).to_dict() | {"architectures": None} == model.config.to_dict() | {
        "architectures": None
    }
    assert kind().to_diff_dict()["model_type"] == kind.model_type
