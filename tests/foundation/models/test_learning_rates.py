"""A coordinate check: activations and updates have the same size at every width."""

import math

import pytest
import torch

from foundation.models import EIT, EITConfig, param_groups

WIDTHS = (64, 128, 256, 512)
STEPS = 5


def inputs():
    generator = torch.Generator().manual_seed(0)
    return {
        "x_BNT": torch.poisson(torch.full((2, 6, 16), 0.7), generator=generator),
        "mask_BN": torch.ones(2, 6, dtype=torch.bool),
        "mask_BT": torch.ones(2, 16, dtype=torch.bool),
        "dt_B": torch.tensor([0.02, 0.02]),
        "modality_B": torch.zeros(2, dtype=torch.int64),
    }


def streams(model):
    """The residual stream after each block, optionally in a fixed set of coordinates: ``(blocks, ...)``."""
    found = []
    blocks = [*model.individual, *(b for i in model.interaction for b in (i.across_units, *i.across_time))]
    hooks = [block.register_forward_hook(lambda _m, _i, out: found.append(out.detach().clone())) for block in blocks]
    output = model(**inputs())
    for hook in hooks:
        hook.remove()
    return found, output


def coordinate_check(width, groups_of, inducing_points=0):
    """Root mean square of each block's output at the start, and of its change after five steps."""
    torch.manual_seed(0)
    config = EITConfig(
        dim=width, heads=width // 32, individual_layers=1, interaction_layers=1, inducing_points=inducing_points
    )
    model = EIT(config)
    generator = torch.Generator().manual_seed(1)
    readout_DK = torch.randn(width, 4, generator=generator) / width
    target_K = torch.randn(2, 6, 4, 4, generator=generator)
    optimizer = torch.optim.AdamW(groups_of(model), betas=(0.9, 0.95), eps=1e-15)
    before, _ = streams(model)
    for _ in range(STEPS):
        optimizer.zero_grad()
        ((model(**inputs()).h_BNTD @ readout_DK) * 8 - target_K).square().mean().backward()
        optimizer.step()
    after, _ = streams(model)
    size = torch.tensor([b.square().mean().sqrt() for b in before])
    moved = torch.tensor([(a - b).square().mean().sqrt() for a, b in zip(after, before, strict=True)])
    return size, moved


def slopes(values_WL):
    """Growth of each block's size with width: 0 is none, 0.5 is a square root."""
    log_width = torch.tensor([math.log(w) for w in WIDTHS])
    log_width = log_width - log_width.mean()
    return (log_width[:, None] * values_WL.log()).sum(0) / log_width.square().sum()


@pytest.mark.parametrize("inducing_points", [0, 4])
def test_activations_and_updates_have_one_size_at_every_width(inducing_points):
    found = [coordinate_check(w, lambda m: param_groups(m, 2e-3, 0.01), inducing_points) for w in WIDTHS]
    size, moved = (torch.stack(part) for part in zip(*found, strict=True))
    assert slopes(size).abs().max() < 0.1, size
    assert slopes(moved).abs().max() < 0.2, moved
    assert size.min() > 0.3
    assert size.max() < 3
    assert moved.min() > 0.01


def test_single_rate_does_not_transfer():
    found = [coordinate_check(w, lambda m: [{"params": m.parameters(), "lr": 2e-3}]) for w in WIDTHS]
    assert slopes(torch.stack([moved for _, moved in found])).max() > 0.3


def test_every_trained_parameter_is_in_one_group():
    model = EIT(EITConfig(dim=128, heads=4, inducing_points=2, context_channels=["session/a"]))
    model.add_units(["a"], freeze_rest=False)
    model.norm.requires_grad_(False)
    groups = param_groups(model, 1e-3, 0.01)
    grouped = [id(p) for g in groups for p in g["params"]]
    trained = [id(p) for p in model.parameters() if p.requires_grad]
    assert sorted(grouped) == sorted(trained)
    decayed = {id(p) for g in groups if g["weight_decay"] for p in g["params"]}
    assert id(model.token_embedding.read_in.weight) in decayed
    for p in (
        model.token_embedding.modality.weight,
        *model.units.tables,
        model.interaction[0].across_units.gather.points,
    ):
        assert id(p) not in decayed
    assert all(g["lr"] * g["weight_decay"] in (0.0, 1e-5) for g in groups)


def test_widths_up_to_the_base_have_one_rate():
    assert {g["lr"] for g in param_groups(EIT(EITConfig(dim=32)), 1e-3, 0.0)} == {1e-3}
