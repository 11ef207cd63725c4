import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from foundation.cost_model.copied_products import Moved
from foundation.cost_model.encoder_cost import EncoderCost
from foundation.cost_model.population_cost import PopulationCost
from foundation.models import EIT, EITConfig
from foundation.models.parts.made_rows import IDENTITY
from foundation.training.monitor.throughput import ATTENTION

PART = (4, 48, 20)  # windows, units, tokens


def config_of(**changes) -> EITConfig:
    return EITConfig.named("eit-tiny-population", **{"patch_length": 2, "dropout": 0.0} | changes)


def pair(part=PART, **changes) -> tuple[EIT, dict]:
    torch.manual_seed(0)
    model = EIT(config_of(**changes)).train()
    batch, units, tokens = part
    identities = {"identities": {"a": torch.rand(units, IDENTITY)}} if model.config.made_rows else {}
    model.add_populations({"a": torch.zeros(units)}, **identities)
    given = {
        "x_BNT": torch.poisson(torch.full((batch, units, tokens * 2), 0.4)),
        "mask_BN": torch.ones(batch, units, dtype=torch.bool),
        "mask_BT": torch.ones(batch, tokens * 2, dtype=torch.bool),
        "dt_B": torch.full((batch,), 0.05),
        "modality_B": torch.zeros(batch, dtype=torch.int64),
        "population_row_BN": torch.arange(units).repeat(batch, 1),
        "hidden_BT": torch.zeros(batch, tokens, dtype=torch.bool),
        "units": False,
    }
    return model, given


def passes(model, given, counter):
    with counter() as forward:
        out = model(**given)
        loss = out.expected_BNT.square().mean()
    with counter() as backward:
        loss.backward()
    return forward, backward


@pytest.mark.parametrize("changes", [{}, {"gated_mlp": True}, {"population_layers": 1, "causal": True}])
def test_flops_and_weights_equal_torch_s_count(changes):
    model, given = pair(**changes)
    forward, backward = passes(model, given, lambda: FlopCounterMode(display=False, custom_mapping=ATTENTION))
    cost = PopulationCost(model.config)
    rows = model.population.rows
    assert cost.parameters == sum(p.numel() for p in model.population.parameters()) - rows.table_0.numel()
    assert cost.parameters + EncoderCost(model.config).parameters + rows.table_0.numel() == sum(
        p.numel() for p in model.parameters()
    )
    assert cost.forward(PART).flops == forward.get_total_flops()
    assert cost.backward(PART).flops == backward.get_total_flops()


def test_made_rows_are_counted_for_the_units_of_a_window():
    part = (1, 48, 20)
    model, given = pair(part, made_rows=True)
    forward, backward = passes(model, given, lambda: FlopCounterMode(display=False, custom_mapping=ATTENTION))
    cost, plain = (PopulationCost(config_of(made_rows=made)) for made in (True, False))
    rows = model.population.rows
    assert cost.parameters - plain.parameters == sum(p.numel() for p in rows.made.parameters())
    assert cost.forward(part).flops == forward.get_total_flops() > 1.2 * plain.forward(part).flops
    assert cost.backward(part).flops == backward.get_total_flops()


def test_shared_units_have_their_rows_made_once():
    model, given = pair(made_rows=True)
    other = torch.zeros(500), torch.rand(500, IDENTITY)
    model.add_populations({"b": other[0]}, identities={"b": other[1]})  # not in these windows
    forward, _ = passes(model, given, lambda: FlopCounterMode(display=False, custom_mapping=ATTENTION))
    cost, plain = (PopulationCost(config_of(made_rows=made)) for made in (True, False))
    made = cost.forward(PART).flops - plain.forward(PART).flops
    assert forward.get_total_flops() == plain.forward(PART).flops + made / PART[0]


def test_bytes_of_other_operations_are_near_torch_s():
    model, given = pair()
    cost = PopulationCost(model.config)
    for found, estimate in zip(passes(model, given, Moved), (cost.forward(PART), cost.backward(PART)), strict=True):
        assert estimate.moved == pytest.approx(found.bytes, rel=0.35)


def test_units_add_cost_only_at_the_ends():
    cost = PopulationCost(EITConfig(dim=64, heads=4, population_layers=2))
    few, many, more = (cost.forward((1, units, 20)).flops for units in (10, 20, 30))
    assert more - many == many - few == 2 * 2 * 10 * 20 * 64
    assert PopulationCost(EITConfig()).parameters == 0
