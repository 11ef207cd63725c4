"""Rows made from the identity of units: what they depend on, and what they do not change."""

import pytest
import torch

from foundation.common.errors import ConfigError
from foundation.hub.checkpoints import load_model
from foundation.models import EIT, EITConfig
from foundation.models.parts.made_rows import IDENTITY

UNITS, TOKENS, PATCH = 6, 7, 2


def build(**changes) -> EIT:
    torch.manual_seed(0)
    shape = {"dim": 16, "heads": 2, "individual_layers": 1, "interaction_layers": 0, "patch_length": PATCH}
    model = EIT(EITConfig(**shape | {"population_layers": 1, "made_rows": True} | changes))
    if model.config.made_rows:
        model.add_populations({"a": torch.linspace(-1, 1, UNITS)}, {"a": torch.randn(UNITS, IDENTITY)})
    return model.double().eval()


def inputs(n_units=UNITS, batch=2) -> dict:
    generator = torch.Generator().manual_seed(1)
    return {
        "x_BNT": torch.poisson(torch.full((batch, n_units, TOKENS * PATCH), 0.7), generator=generator).double(),
        "mask_BN": torch.ones(batch, n_units, dtype=torch.bool),
        "mask_BT": torch.ones(batch, TOKENS * PATCH, dtype=torch.bool),
        "dt_B": torch.full((batch,), 0.05).double(),
        "modality_B": torch.zeros(batch, dtype=torch.long),
        "population_row_BN": torch.arange(n_units).repeat(batch, 1),
        "units": False,
    }


def close(found, wanted):
    return torch.allclose(found, wanted, rtol=1e-10, atol=1e-10)


def test_new_population_is_read_by_made_rows_in_any_order_and_number():
    model, identity_NF = build(), torch.randn(9, IDENTITY)
    order = torch.tensor([4, 0, 8, 2, 1, 7, 3, 6, 5])
    model.add_populations({"b": torch.zeros(9)}, {"b": identity_NF}, blank=True)
    model.add_populations({"c": torch.zeros(9)}, {"c": identity_NF[order]}, blank=True)
    given = inputs(9) | {"population_row_BN": torch.arange(UNITS, UNITS + 9).repeat(2, 1)}
    moved = given | {"x_BNT": given["x_BNT"][:, order], "population_row_BN": given["population_row_BN"] + 9}
    plain, other = model(**given), model(**moved)
    assert close(other.p_BTD, plain.p_BTD)
    assert close(other.expected_BNT, plain.expected_BNT[:, order])
    assert not close(model(**given | {"x_BNT": moved["x_BNT"]}).p_BTD, plain.p_BTD)  # which unit it is counts
    aside = model(**given, made_B=torch.tensor([True, True]))
    assert close(aside.p_BTD, plain.p_BTD)  # they have no rows of their own


def test_own_rows_are_unused_only_in_chosen_windows():
    model, given = build(), inputs()
    made_B = torch.tensor([True, False])
    before, chosen = model(**given), model(**given, made_B=made_B)
    assert not close(chosen.p_BTD[0], before.p_BTD[0])
    assert close(chosen.p_BTD[1], before.p_BTD[1])
    with torch.no_grad():
        model.population.rows.table_0.mul_(2.0)
    after = model(**given, made_B=made_B)
    assert close(after.p_BTD[0], chosen.p_BTD[0])
    assert close(after.expected_BNT[0], chosen.expected_BNT[0])
    assert not close(after.p_BTD[1], chosen.p_BTD[1])


def test_padded_units_and_units_without_a_row_change_nothing():
    model, given = build(), inputs()
    junk_BNT = torch.full((2, 9, TOKENS * PATCH), 5.0).double()
    junk_BNT[:, :UNITS] = given["x_BNT"]
    mask_BN, row_BN = torch.ones(2, 9, dtype=torch.bool), torch.full((2, 9), -1)
    row_BN[:, :UNITS] = given["population_row_BN"]
    unknown = model(**given | {"x_BNT": junk_BNT, "mask_BN": mask_BN, "population_row_BN": row_BN})
    mask_BN[:, UNITS:] = False
    padded = model(**given | {"x_BNT": junk_BNT, "mask_BN": mask_BN, "population_row_BN": row_BN})
    for found in (unknown, padded):
        assert close(found.p_BTD, model(**given).p_BTD)
        assert close(found.expected_BNT[:, :UNITS], model(**given).expected_BNT)


def test_hidden_activity_does_not_reach_predictions_through_an_identity():
    model, given = build(), inputs()
    hidden_BN = torch.zeros(2, UNITS, dtype=torch.bool)
    hidden_BN[:, [1, 4]] = True
    other_BNT = given["x_BNT"].clone()
    other_BNT[:, [1, 4]] += 5
    secret = {"hidden_BN": hidden_BN, "made_B": torch.tensor([True, False])}
    plain, changed = model(**given, **secret), model(**given | {"x_BNT": other_BNT}, **secret)
    assert torch.equal(plain.expected_BNT, changed.expected_BNT)
    assert torch.equal(plain.p_BTD, changed.p_BTD)


def test_identities_are_saved_and_loaded(tmp_path):
    model = build().float()
    model.add_populations({"b": torch.zeros(3)}, {"b": torch.randn(3, IDENTITY)}, blank=True)
    model.save_pretrained(tmp_path)
    given = inputs(3) | {"population_row_BN": torch.arange(UNITS, UNITS + 3).repeat(2, 1)}
    given |= {"x_BNT": given["x_BNT"].float(), "dt_B": given["dt_B"].float()}
    again = load_model(tmp_path)
    assert again.config.made_rows
    assert torch.equal(again(**given).expected_BNT, model(**given).expected_BNT)
    assert torch.equal(again.population.rows.identity_1, model.population.rows.identity_1)


def test_made_rows_train_with_the_model_and_new_own_rows_train_alone():
    model, given = build(), inputs()
    model(**given, made_B=torch.tensor([True, True])).expected_BNT.square().sum().backward()
    assert model.population.rows.made.inner.weight.grad.abs().sum() > 0
    assert model.population.rows.table_0.grad.abs().sum() == 0
    model.add_populations({"b": torch.zeros(3)}, {"b": torch.randn(3, IDENTITY)}, freeze_rest=True, blank=True)
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["population.rows.table_1"]
    assert model.population.rows.table_1.abs().sum() == 0


def test_model_without_made_rows_has_the_same_weights_as_before():
    model = build(made_rows=False)
    model.add_populations({"a": torch.zeros(3)})
    assert not [name for name in model.state_dict() if "made" in name or "identity" in name]


def test_invalid_settings_and_calls_are_refused():
    with pytest.raises(ConfigError, match="made_rows is true and population_layers 0: expected"):
        EITConfig(made_rows=True)
    plain, model = build(made_rows=False), build()
    with pytest.raises(ConfigError, match="identities are given and made_rows is false"):
        plain.add_populations({"a": torch.zeros(3)}, {"a": torch.zeros(3, IDENTITY)})
    with pytest.raises(ConfigError, match="identities of 'b' are missing"):
        model.add_populations({"b": torch.zeros(3)})
    with pytest.raises(ConfigError, match=rf"identities of 'b' are \(2, {IDENTITY}\): expected \(3, {IDENTITY}\)"):
        model.add_populations({"b": torch.zeros(3)}, {"b": torch.zeros(2, IDENTITY)})
    plain.add_populations({"a": torch.zeros(UNITS)})
    with pytest.raises(ValueError, match="made_B is given and made_rows is false"):
        plain(**inputs(), made_B=torch.tensor([True, True]))
