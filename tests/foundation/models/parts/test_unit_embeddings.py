"""Known units: their effect on the model, and refusals before any change."""

import copy

import pytest
import torch

from foundation.common.errors import ConfigError
from foundation.models import EIT, EITConfig
from foundation.models.parts.unit_embeddings import UnitEmbedding


def build() -> EIT:
    torch.manual_seed(0)
    return EIT(EITConfig(dim=16, heads=2)).eval()


def inputs():
    x_BNT = torch.poisson(torch.full((2, 3, 8), 0.7), generator=torch.Generator().manual_seed(0))
    return {
        "x_BNT": x_BNT,
        "mask_BN": None,
        "mask_BT": None,
        "dt_B": torch.full((2,), 0.02),
        "modality_B": torch.arange(2),
    }


@pytest.mark.parametrize("names", [[], ["a/0"]])
def test_unknown_units_change_nothing_in_bf16_with_and_without_tables(names):
    model, unknown = build(), torch.full((2, 3), -1)
    if names:
        model.add_units(names)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast, plain = model(**inputs(), unit_id_BN=unknown).z_BND, model(**inputs()).z_BND
    torch.testing.assert_close(cast, plain, rtol=0, atol=0.02 if names else 0)  # a table is fp32, and so is its sum
    model = model.bfloat16()
    pure = model(**inputs(), unit_id_BN=unknown).z_BND
    assert pure.dtype == torch.bfloat16
    assert torch.equal(pure, model(**inputs()).z_BND)
    with pytest.raises(ValueError, match=f"holds 1: this model knows {len(names)} units"):
        model(**inputs(), unit_id_BN=unknown + 2)


@pytest.mark.parametrize(
    ("names", "what"),
    [
        ("abc", "names is 'abc': expected a list of at least one"),
        ([], r"names is \[\]: expected a list of at least one"),
        (["b", "b"], "a distinct name"),
        (["b", 1], "unit_names holds 1: expected strings"),
    ],
)
def test_invalid_names_are_refused_without_any_change(names, what):
    model = build()
    model.add_units(["a"], freeze_rest=False)
    config, state = copy.deepcopy(model.config.to_dict()), {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ConfigError, match=what):
        model.add_units(names)
    assert model.config.to_dict() == config
    assert model.state_dict().keys() == state.keys()
    assert all(p.requires_grad for p in model.parameters())


def test_table_is_added_without_touching_earlier_ones(monkeypatch):
    units = UnitEmbedding([1] * 3, dim=2)
    monkeypatch.setattr(UnitEmbedding, "tables", property(lambda _: pytest.fail("all tables were listed")))
    units.add(4)
    assert [(name, tuple(table.shape)) for name, table in units.named_parameters()][-2:] == [
        ("table_2", (1, 2)),
        ("table_3", (4, 2)),
    ]
