"""The population stream: its inputs, what is hidden from it, and rows for more populations."""

import json

import pytest
import torch
from transformers import AutoModel

from foundation.common.errors import CheckpointError, ConfigError
from foundation.data import pad_windows
from foundation.hub.checkpoints import load_model
from foundation.models import EIT, EITConfig
from foundation.models.parts.population_stream import PopulationPlaces, log_rates, population_places

UNITS, TOKENS, PATCH = 6, 7, 2


def build(**changes) -> EIT:
    torch.manual_seed(0)
    shape = {"dim": 16, "heads": 2, "individual_layers": 1, "interaction_layers": 1, "patch_length": PATCH}
    model = EIT(EITConfig(**shape | {"population_layers": 2} | changes))
    model.add_populations({"a": torch.linspace(-1, 1, UNITS), "b": torch.zeros(4)})
    return model.double().eval()


def inputs(batch=2, n_units=UNITS, n_tokens=TOKENS) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x_BNT = torch.poisson(torch.full((batch, n_units, n_tokens * PATCH), 0.7), generator=generator).double()
    return {
        "x_BNT": x_BNT,
        "mask_BN": torch.ones(batch, n_units, dtype=torch.bool),
        "mask_BT": torch.ones(batch, n_tokens * PATCH, dtype=torch.bool),
        "dt_B": torch.linspace(0.02, 0.1, batch).double(),
        "modality_B": torch.arange(batch) % 2,
        "population_row_BN": torch.arange(n_units).repeat(batch, 1),
    }


def close(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    return torch.allclose(found, wanted, rtol=1e-10, atol=1e-10)


def test_unit_order_only_permutes_the_predictions():
    model, given = build(), inputs()
    order = torch.tensor([3, 0, 5, 4, 1, 2])
    moved = given | {name: given[name][:, order] for name in ("x_BNT", "mask_BN", "population_row_BN")}
    plain, other = model(**given), model(**moved)
    assert close(other.p_BTD, plain.p_BTD)
    assert close(other.expected_BNT, plain.expected_BNT[:, order])
    assert not close(model(**given | {"x_BNT": moved["x_BNT"]}).p_BTD, plain.p_BTD)  # rows are the units' own


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("value", [7.0, float("nan"), float("inf")])
def test_padding_changes_nothing(value, causal):
    model, given = build(causal=causal), inputs()
    junk = torch.full((2, 9, 20), value, dtype=torch.float64)
    junk[:, :UNITS, : TOKENS * PATCH] = given["x_BNT"]
    mask_BN, mask_BT = torch.zeros(2, 9, dtype=torch.bool), torch.zeros(2, 20, dtype=torch.bool)
    mask_BN[:, :UNITS], mask_BT[:, : TOKENS * PATCH] = True, True
    row_BN = torch.full((2, 9), -1)
    row_BN[:, :UNITS] = given["population_row_BN"]
    padded = model(x_BNT=junk, mask_BN=mask_BN, mask_BT=mask_BT, population_row_BN=row_BN,
                   dt_B=given["dt_B"], modality_B=given["modality_B"])  # fmt: skip
    plain = model(**given)
    assert close(padded.p_BTD[:, :TOKENS], plain.p_BTD)
    assert close(padded.expected_BNT[:, :UNITS, :TOKENS], plain.expected_BNT)
    assert padded.p_BTD[:, TOKENS:].abs().max() == 0


def test_hidden_activity_does_not_reach_its_prediction():
    model, given = build(), inputs()
    hidden_BN, hidden_BT = torch.zeros(2, UNITS, dtype=torch.bool), torch.zeros(2, TOKENS, dtype=torch.bool)
    hidden_BN[:, [1, 4]], hidden_BT[:, [0, 3]] = True, True
    secret = {"hidden_BN": hidden_BN, "hidden_BT": hidden_BT, "units": False}
    other_BNT = given["x_BNT"].clone()
    other_BNT[:, [1, 4]] += 5
    other_BNT.unflatten(2, (TOKENS, PATCH))[:, :, [0, 3]] += 3
    plain, changed = model(**given, **secret), model(**given | {"x_BNT": other_BNT}, **secret)
    assert torch.equal(plain.expected_BNT, changed.expected_BNT)
    assert torch.equal(plain.p_BTD, changed.p_BTD)
    assert not close(plain.p_BTD, model(**given, units=False).p_BTD)


def test_causal_stream_ignores_the_future_and_the_default_does_not():
    given = inputs()
    for later in range(1, TOKENS):
        changed = given["x_BNT"].clone()
        changed[:, :, later * PATCH :] += 2
        for causal in (True, False):
            model = build(causal=causal)
            plain, other = model(**given), model(**given | {"x_BNT": changed})
            same = close(plain.p_BTD[:, :later], other.p_BTD[:, :later])
            assert same == causal
            assert close(plain.expected_BNT[..., :later], other.expected_BNT[..., :later]) == causal


def test_unknown_units_are_not_read():
    model, given = build(), inputs()
    row_BN = given["population_row_BN"].clone()
    row_BN[:, 2] = -1
    changed = given["x_BNT"].clone()
    changed[:, 2] += 4
    plain, other = (model(**given | {"population_row_BN": row_BN, "x_BNT": x}) for x in (given["x_BNT"], changed))
    assert close(plain.p_BTD, other.p_BTD)
    without = {
        name: torch.cat([t[:, :2], t[:, 3:]], 1) for name, t in given.items() if name[-2:] == "BN" or name == "x_BNT"
    }
    assert close(plain.p_BTD, model(**given | without).p_BTD)


def test_more_populations_keep_earlier_rows_bit_for_bit():
    model, given = build(), inputs()
    before = model(**given)
    model.add_populations({"c": torch.zeros(3)}, freeze_rest=True)
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["population.rows.table_1"]
    assert model.config.population_tables == [{"a": UNITS, "b": 4}, {"c": 3}]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    new = inputs(n_units=3) | {"population_row_BN": torch.arange(10, 13).repeat(2, 1)}
    start = model(**new).p_BTD.detach()
    model(**new).expected_BNT.square().sum().backward()
    optimizer.step()
    after = model(**given)
    assert torch.equal(before.p_BTD, after.p_BTD)
    assert torch.equal(before.expected_BNT, after.expected_BNT)
    assert not close(model(**new).p_BTD, start)


def test_rows_are_saved_and_loaded(tmp_path):
    model, given = build(), inputs()
    model.add_populations({"c": torch.full((2,), 3.0)})
    model.float().save_pretrained(tmp_path)
    given = {name: t.float() if t.is_floating_point() else t for name, t in given.items()}
    for again in (load_model(tmp_path), AutoModel.from_pretrained(tmp_path).eval()):
        assert torch.equal(again(**given).expected_BNT, model(**given).expected_BNT)
        assert again.config.population_tables == [{"a": UNITS, "b": 4}, {"c": 2}]
        assert again.population.rows.log_rate_1.tolist() == [3.0, 3.0]


def test_recordings_find_their_rows_in_any_order(tmp_path):
    """config.json sorts the keys of a table, so the rows must be sorted alike."""
    model = EIT(EITConfig(dim=16, heads=2, population_layers=1))
    rates = {"c": torch.full((2,), 3.0), "a": torch.full((4,), 1.0), "b": torch.full((3,), 2.0)}
    model.add_populations(rates)
    model.save_pretrained(tmp_path)
    for found in (model, load_model(tmp_path)):
        for name, (first, size) in population_places(found.config).items():
            assert found.population.rows.log_rate_0[first : first + size].tolist() == rates[name].tolist()
    changed = EITConfig(population_layers=1, population_tables=[{"c": 2, "a": 4}])
    assert population_places(changed) == {"a": (0, 4), "c": (4, 2)}


def test_checkpoint_without_recording_order_is_refused(tmp_path):
    build().float().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    given = json.loads(path.read_text())
    path.write_text(json.dumps(given | {"foundation_schema": 2}))
    with pytest.raises(CheckpointError, match="foundation_schema is 2, which lost the order of the recordings"):
        load_model(tmp_path)


def test_single_units_stay_apart_in_a_token_with_enough_features():
    model = EIT(EITConfig(dim=16, heads=2, population_layers=1))
    model.add_populations({"few": torch.zeros(5), "many": torch.zeros(40), "none": torch.zeros(0)})
    few_ND, many_ND = model.population.rows.table_0.detach()[:, :16].split([5, 40])
    assert torch.allclose(few_ND @ few_ND.T, torch.eye(5) * 0.16, atol=1e-5)
    assert torch.allclose(many_ND.T @ many_ND, torch.eye(16) * 0.4, atol=1e-5)
    assert float(model.population.rows.table_0.detach()[:, 16:32].std()) == pytest.approx(0.1, rel=0.1)


def test_tables_that_do_not_fit_the_weights_are_refused(tmp_path):
    build().float().save_pretrained(tmp_path)
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace('"b": 4', '"b": 900'))
    with pytest.raises(CheckpointError, match="does not fit its config"):
        load_model(tmp_path)


def test_model_without_rows_is_unchanged_eit():
    model, given = build(), inputs()
    rows = given.pop("population_row_BN")
    alone = model(**given)
    assert close(alone.p_BTD, alone.h_BNTD.sum(1) / UNITS)
    assert alone.expected_BNT is None
    both = model(**given, population_row_BN=rows)
    assert torch.equal(both.z_BND, alone.z_BND)
    assert model(**given, population_row_BN=rows, units=False).z_BND is None


def test_unit_without_weights_is_predicted_at_its_usual_rate():
    model, given = build(), inputs()
    with torch.no_grad():
        model.population.rows.table_0[:, 16:] = 0  # read-out and offset
    out = model(**given)
    seconds = given["dt_B"][0] * PATCH
    assert close(out.expected_BNT[0, :, 0], torch.linspace(-1, 1, UNITS).double() + seconds.log())
    assert out.expected_BNT[1].abs().max() == 0  # sampled values have no rate
    assert close(out.usual_BN[0], out.expected_BNT[0, :, 3])


@pytest.mark.parametrize("n_units", [1, 40])
def test_token_size_does_not_grow_with_the_number_of_units(n_units):
    torch.manual_seed(0)
    model = EIT(EITConfig(dim=16, heads=2, patch_length=PATCH, population_layers=1))
    model.add_populations({"a": torch.zeros(n_units)})
    seen = {}
    model.population.trunk[0].register_forward_hook(lambda _, given, out: seen.update(token=given[0]))
    given = {name: t.float() if t.is_floating_point() else t for name, t in inputs(64, n_units).items()}
    model.eval()(**given)
    about_BD = model.population.about(given["dt_B"] * PATCH, given["modality_B"])
    token_BTD = (seen["token"] - about_BD[:, None]).detach()
    assert 0.1 < float(token_BTD.square().mean().sqrt()) < 1.0


def test_batches_get_the_rows_of_their_units():
    config = EITConfig(population_layers=1, population_tables=[{"a": 3, "b": 2}])
    batch = pad_windows([torch.ones(2, 4).numpy(), torch.ones(3, 4).numpy()], bin_widths=[0.1] * 2, starts=[0.0] * 2,
                        modalities=[0] * 2, bins_per_token=4)  # fmt: skip
    places = PopulationPlaces(config, ["b", "unknown", "a"])
    with pytest.raises(ValueError, match="identifies its units"):
        places.placed(batch)
    batch.recording_B, batch.unit_BN = torch.tensor([0, 2]), torch.tensor([[1, 0, -1], [0, 1, 2]])
    assert places.placed(batch).population_row_BN.tolist() == [[4, 3, -1], [0, 1, 2]]
    batch.recording_B = torch.tensor([1, 1])
    assert (places.placed(batch).population_row_BN == -1).all()
    assert PopulationPlaces(EITConfig(), ["b"]).placed(batch) is batch


def test_silent_units_and_missing_rates_have_finite_log_rates():
    found = log_rates(torch.tensor([0.0, float("nan"), 20.0]).numpy(), counts=True)
    assert found.exp().tolist() == pytest.approx([0.01, 0.01, 20.0])
    assert log_rates(torch.tensor([0.3]).numpy(), counts=False).tolist() == [0.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"population_layers": -1}, "population_layers is -1"),
        ({"causal": True}, "causal is true and population_layers 0"),
        ({"population_tables": [{"a": 3}]}, "population_tables hold units and population_layers is 0"),
        ({"population_layers": 1, "population_tables": [{"a": 3}, {"a": 2}]}, "name 'a' twice"),
        ({"population_layers": 1, "population_tables": [["a", 3]]}, "a mapping of recordings"),
        ({"population_layers": 1, "population_tables": [{"a": 1.5}]}, "is 1.5: expected a whole number"),
    ],
)
def test_invalid_shapes_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        EITConfig(**change)


def test_invalid_calls_are_refused():
    model, given = build(), inputs()
    with pytest.raises(ConfigError, match="names 'a', which has rows already"):
        model.add_populations({"a": torch.zeros(2)})
    with pytest.raises(ConfigError, match="populations is empty"):
        model.add_populations({})
    with pytest.raises(ConfigError, match="population_layers is 0"):
        EIT(EITConfig(dim=16, heads=2)).add_populations({"a": torch.zeros(2)})
    plain = EIT(EITConfig(dim=16, heads=2, patch_length=PATCH)).double()
    with pytest.raises(ValueError, match="has no population stream"):
        plain(**given)
    with pytest.raises(ValueError, match="this model has 10 rows of units"):
        model(**given | {"population_row_BN": given["population_row_BN"] + 5})
    given.pop("population_row_BN")
    with pytest.raises(ValueError, match="at least one of the two streams"):
        model(**given, units=False)
