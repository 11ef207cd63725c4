import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from foundation.cost_model.copied_products import Moved
from foundation.cost_model.encoder_cost import EncoderCost
from foundation.models import EIT, EITConfig
from foundation.training.monitor.throughput import ATTENTION

PART = (4, 48, 20)  # windows, units, tokens
SHAPES = [
    {},
    {"inducing_points": 8},
    {"gated_mlp": True},
    {"rotate_values": True},
    {"rotary_share": 0.5},
    {"time_layers": 2, "individual_layers": 1},
    {"interaction_layers": 0},
]


def pair(checkpointing=False, **changes) -> tuple[EIT, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    model = EIT(EITConfig.named("eit-tiny", patch_length=20, **changes)).train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    batch, units, tokens = PART
    given = {
        "x_BNT": torch.poisson(torch.full((batch, units, tokens * 20), 0.04)),
        "mask_BN": torch.ones(batch, units, dtype=torch.bool),
        "mask_BT": torch.ones(batch, tokens * 20, dtype=torch.bool),
        "dt_B": torch.full((batch,), 0.005),
        "modality_B": torch.zeros(batch, dtype=torch.int64),
    }
    return model, given


def passes(model, given, counter, bf16=False):
    """A counter of the forward pass, and one of the backward pass."""
    with counter() as forward, torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        loss = model(**given).z_BND.float().square().mean()
    with counter() as backward:
        loss.backward()
    return forward, backward


@pytest.mark.parametrize("changes", SHAPES)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_flops_equal_torch_s_count(changes, checkpointing):
    model, given = pair(checkpointing, **changes)
    forward, backward = passes(model, given, lambda: FlopCounterMode(display=False, custom_mapping=ATTENTION))
    cost = EncoderCost(model.config, checkpointing=checkpointing)
    assert cost.parameters == sum(p.numel() for p in model.parameters())
    assert cost.forward(PART).flops == forward.get_total_flops()
    again = cost.recomputed(PART).flops
    assert (again > 0) == checkpointing
    if checkpointing and changes.get("inducing_points"):
        return  # the first of its two checkpointed layers is recomputed completely
    assert cost.backward(PART).flops + again == backward.get_total_flops()


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("changes", SHAPES[:5])
def test_bytes_and_calls_of_other_operations_equal_torch_s(changes, bf16):
    model, given = pair(**changes)
    cost = EncoderCost(model.config, "bf16" if bf16 else "fp32")
    for found, estimate in zip(
        passes(model, given, Moved, bf16), (cost.forward(PART), cost.backward(PART)), strict=True
    ):
        assert estimate.moved == pytest.approx(found.bytes, rel=0.15)
        assert estimate.calls == pytest.approx(found.calls, rel=0.35)


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("changes", SHAPES[:5])
def test_held_bytes_equal_torch_s_saved_tensors(changes, checkpointing, bf16):
    model, given = pair(checkpointing, **changes)
    held: dict[int, int] = {}

    def pack(x):
        storage = x.untyped_storage()
        held[storage.data_ptr()] = storage.nbytes()
        return x

    # Inputs that are held as arguments (by checkpointing), not as saved tensors, are found through the blocks' inputs.
    handles = []
    if checkpointing:
        blocks = [m for m in model.modules() if type(m).__name__ in ("Block", "Gather", "Give")]
        handles = [m.register_forward_pre_hook(lambda m, args: pack(args[0]) is None or None) for m in blocks]
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16),
    ):
        out = model(**given)
    for handle in handles:
        handle.remove()
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    found = sum(size for place, size in held.items() if place not in weights)
    estimate = EncoderCost(model.config, "bf16" if bf16 else "fp32", checkpointing).held(PART)
    assert out.z_BND is not None
    assert estimate == pytest.approx(found, rel=0.07)


def test_cost_grows_with_layers_units_and_tokens_as_expected():
    cost = EncoderCost(EITConfig(dim=64, heads=2, individual_layers=1, interaction_layers=0))
    one, windows = cost.forward((1, 10, 20)).flops, cost.forward((3, 10, 20)).flops
    assert windows == 3 * one
    linear = 2 * 20 * 10 * 12 * 64**2 + 2 * 10 * 20 * 4 * 64 + 2 * 16 * 64
    assert one == linear + 4 * 10 * 20**2 * 64


def test_products_of_interval_tokens_equal_torch_s_count():
    torch.manual_seed(0)
    model = EIT(EITConfig.named("eit-tiny-intervals", patch_length=100)).train()
    batch, units, tokens = 2, 8, 6
    given = {
        "x_BNT": torch.bernoulli(torch.full((batch, units, tokens * 100), 0.05)),
        "mask_BN": torch.ones(batch, units, dtype=torch.bool),
        "mask_BT": torch.ones(batch, tokens * 100, dtype=torch.bool),
        "dt_B": torch.full((batch,), 0.001),
        "modality_B": torch.zeros(batch, dtype=torch.int64),
    }
    forward, backward = passes(model, given, lambda: FlopCounterMode(display=False, custom_mapping=ATTENTION))
    cost, part = EncoderCost(model.config), (batch, units, tokens)
    assert cost.parameters == sum(p.numel() for p in model.parameters())
    assert cost.forward(part).flops == forward.get_total_flops()
    assert cost.backward(part).flops == backward.get_total_flops()
