"""Optional features: context, known units, inducing points, transforms; and ways to run the model."""

import copy

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from foundation.common.errors import ConfigError
from foundation.models import EIT, EITConfig
from foundation.models.parts.transformer_blocks import Block

SMALL = {"dim": 32, "heads": 4, "individual_layers": 1, "interaction_layers": 1}


def build(seed=0, **changes) -> EIT:
    torch.manual_seed(seed)
    return EIT(EITConfig(**(SMALL | changes))).double().eval()


def inputs(batch=2, n_units=5, n_tokens=4, channels=0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.poisson(torch.full((batch, n_units, n_tokens * 4), 0.7, dtype=torch.float64), generator=generator)
    given = {
        "x_BNT": x,
        "mask_BN": torch.ones(batch, n_units, dtype=torch.bool),
        "mask_BT": torch.ones(batch, n_tokens * 4, dtype=torch.bool),
        "dt_B": torch.linspace(0.005, 0.1, batch),
        "modality_B": torch.arange(batch) % 2,
    }
    if channels:
        given["context_BCT"] = torch.randn(batch, channels, n_tokens * 4, generator=generator, dtype=torch.float64)
        given["context_id_BC"] = torch.arange(channels).expand(batch, -1)
    return given


EVERYTHING = {"inducing_points": 3, "context_channels": ["stimulus/contrast", "behavior/wheel", "session/a"]}


@pytest.mark.parametrize("changes", [{"inducing_points": 3}, EVERYTHING, {"time_layers": 0}, {"time_layers": 2}])
def test_permuting_units_permutes_the_output_with_any_option(changes):
    model, given = build(**changes), inputs(channels=len(changes.get("context_channels", [])))
    order = torch.tensor([3, 0, 4, 1, 2])
    plain, moved = model(**given), model(**given | {"x_BNT": given["x_BNT"][:, order]})
    torch.testing.assert_close(moved.h_BNTD, plain.h_BNTD[:, order], rtol=0, atol=1e-11)
    torch.testing.assert_close(moved.p_BTD, plain.p_BTD, rtol=0, atol=1e-11)
    other = given | {"x_BNT": given["x_BNT"].clone()}
    other["x_BNT"][:, 4] += 3
    assert (model(**other).h_BNTD[:, :4] - plain.h_BNTD[:, :4]).abs().max() > 1e-4


@pytest.mark.parametrize("changes", [{"inducing_points": 3}, EVERYTHING])
def test_padding_changes_nothing_with_any_option(changes):
    channels = len(changes.get("context_channels", []))
    model, given = build(**changes), inputs(channels=channels)
    plain = model(**given)
    mask_BN, mask_BT = torch.arange(8) < 5, torch.arange(24) < 16
    padded = given | {
        "x_BNT": torch.nn.functional.pad(given["x_BNT"], (0, 8, 0, 3), value=float("nan")),
        "mask_BN": mask_BN.expand(2, -1),
        "mask_BT": mask_BT.expand(2, -1),
    }
    if channels:
        padded["context_BCT"] = torch.nn.functional.pad(given["context_BCT"], (0, 8, 0, 2), value=float("nan"))
        padded["context_id_BC"] = torch.nn.functional.pad(given["context_id_BC"], (0, 2))
        padded["mask_BC"] = (torch.arange(channels + 2) < channels).expand(2, -1)
    found = model(**padded)
    torch.testing.assert_close(found.h_BNTD[:, :5, :4], plain.h_BNTD, rtol=0, atol=1e-11)
    torch.testing.assert_close(found.z_BND[:, :5], plain.z_BND, rtol=0, atol=1e-11)
    torch.testing.assert_close(found.p_BTD[:, :4], plain.p_BTD, rtol=0, atol=1e-11)
    found.z_BND.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("changes", [{}, EVERYTHING])
def test_no_mask_equals_a_full_mask(changes):
    model, given = build(**changes), inputs(channels=len(changes.get("context_channels", [])))
    plain = model(**given)
    for missing in (("mask_BN",), ("mask_BT",), ("mask_BN", "mask_BT")):
        found = model(**given | dict.fromkeys(missing))
        torch.testing.assert_close(found.h_BNTD, plain.h_BNTD, rtol=0, atol=1e-12)
        torch.testing.assert_close(found.z_BND, plain.z_BND, rtol=0, atol=1e-12)
        torch.testing.assert_close(found.p_BTD, plain.p_BTD, rtol=0, atol=1e-12)


def test_empty_window_gives_zero_and_not_nan():
    model, given = build(), inputs()
    plain = model(**given)
    given["mask_BT"] = given["mask_BT"].clone()
    given["mask_BT"][1] = False
    out = model(**given)
    assert out.h_BNTD[1].abs().max() == 0
    assert torch.equal(out.h_BNTD[0], plain.h_BNTD[0])


def test_context_is_identified_by_channel_in_any_order():
    names = EVERYTHING["context_channels"]
    model, given = build(context_channels=names), inputs(channels=3)
    plain = model(**given).z_BND
    order = torch.tensor([2, 0, 1])
    same = given | {"context_BCT": given["context_BCT"][:, order], "context_id_BC": given["context_id_BC"][:, order]}
    torch.testing.assert_close(model(**same).z_BND, plain, rtol=0, atol=1e-11)
    renamed = given | {"context_id_BC": given["context_id_BC"][:, order]}
    without = given | {"mask_BC": torch.zeros(2, 3, dtype=torch.bool)}
    for other in (renamed, without, given | {"context_BCT": given["context_BCT"] + 1}):
        assert (model(**other).z_BND - plain).abs().max() > 1e-4
    bare = {k: v for k, v in given.items() if not k.startswith("context")}
    torch.testing.assert_close(model(**without).z_BND, model(**bare).z_BND, rtol=0, atol=1e-11)
    with pytest.raises(ValueError, match="context_channels"):
        build()(**given)


def test_new_units_keep_old_embeddings_bit_for_bit(tmp_path):
    model = build()
    model.add_units([f"a/{i}" for i in range(5)], freeze_rest=False)
    known = torch.arange(5).expand(2, -1)
    train(model, inputs() | {"unit_id_BN": known})
    before, answer = copy.deepcopy(model.state_dict()), model(**inputs(), unit_id_BN=known).h_BNTD
    assert before["units.table_0"].abs().min() > 0
    new = model.add_units([f"b/{i}" for i in range(3)])
    assert new.tolist() == [5, 6, 7]
    ids = torch.tensor([[5, 6, 7, -1, -1], [5, 6, 7, -1, 0]])
    train(model, inputs(seed=1) | {"unit_id_BN": ids})
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert after["units.table_1"].abs().min() > 0
    assert torch.equal(model(**inputs(), unit_id_BN=known).h_BNTD, answer)
    model.save_pretrained(tmp_path)
    loaded = EIT.from_pretrained(tmp_path, dtype=torch.float64).eval()
    assert loaded.config.unit_names[5:] == ["b/0", "b/1", "b/2"]
    given = inputs() | {"unit_id_BN": ids}
    assert torch.equal(loaded(**given).h_BNTD, model(**given).h_BNTD)
    with pytest.raises(ConfigError, match="a distinct name"):
        model.add_units(["a/0"])
    with pytest.raises(ValueError, match="holds 8: this model knows 8"):
        model(**inputs(), unit_id_BN=known + 4)


def train(model, given, steps=3):
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(**given).h_BNTD[..., :3].square().mean().backward()
        optimizer.step()
    model.zero_grad()


def test_unknown_unit_equals_one_without_an_embedding():
    model = build()
    model.add_units(["a/0"])
    given = inputs()
    unknown = torch.full((2, 5), -1)
    assert torch.equal(model(**given, unit_id_BN=unknown).z_BND, model(**given).z_BND)
    assert torch.equal(build()(**given, unit_id_BN=unknown).z_BND, model(**given).z_BND)


@pytest.mark.parametrize(
    ("transform", "by_hand"), [("log1p", torch.log1p), ("sqrt", torch.sqrt), ("none", lambda x: x)]
)
def test_counts_are_transformed_as_configured(transform, by_hand):
    model, plain = build(count_transform=transform), build(count_transform="none")
    given = inputs() | {"modality_B": torch.zeros(2, dtype=torch.int64)}
    torch.testing.assert_close(model(**given).z_BND, plain(**given | {"x_BNT": by_hand(given["x_BNT"])}).z_BND)


def test_values_are_transformed_and_may_be_negative():
    given = inputs() | {"modality_B": torch.ones(2, dtype=torch.int64), "x_BNT": torch.randn(2, 5, 16).double() * 3}
    raw, squeezed = build(value_transform="none"), build(count_transform="none")
    torch.testing.assert_close(squeezed(**given).z_BND, raw(**given | {"x_BNT": given["x_BNT"].asinh()}).z_BND)
    assert (squeezed(**given).z_BND - raw(**given).z_BND).abs().max() > 1e-3


def flops(model, n_units):
    given = inputs(batch=1, n_units=n_units, n_tokens=2)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # others are not counted on the CPU
        model(**given).h_BNTD.sum().backward()
    return counter.get_total_flops()


def test_inducing_points_make_cost_linear_in_units():
    linear, square = build(inducing_points=4), build()
    few, some, more = (flops(linear, n) for n in (50, 100, 150))
    assert more - some == some - few
    few, some, more = (flops(square, n) for n in (50, 100, 150))
    assert more - some > some - few


@pytest.mark.parametrize("changes", [{}, {"inducing_points": 3}, {"gated_mlp": True, "rotate_values": True}])
def test_checkpointing_gives_the_same_gradients(changes):
    model, given = build(**changes).train(), inputs()
    expected = gradients(model, given)
    model.gradient_checkpointing_enable()
    for a, b in zip(gradients(model, given), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_large_populations_in_parts_give_the_same_output(monkeypatch):
    model, given = build(inducing_points=3).train(), inputs(n_units=7)
    expected, out = gradients(model, given), model(**given).h_BNTD
    monkeypatch.setattr("foundation.models.parts.transformer_blocks.TOKENS_PER_PART", 9)
    calls = []
    hooks = [m.register_forward_pre_hook(lambda m, x: calls.append(m)) for m in model.modules() if isinstance(m, Block)]
    with torch.no_grad():
        torch.testing.assert_close(model(**given).h_BNTD, out, rtol=0, atol=1e-12)
    assert len(calls) > 2 * len(hooks)
    model.gradient_checkpointing_enable()
    for a, b in zip(gradients(model, given), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def gradients(model, given):
    model.zero_grad()
    model(**given).z_BND.square().sum().backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def test_rotated_values_depend_only_on_time_differences():
    model, given = build(rotate_values=True, rotary_share=0.5), inputs(n_tokens=6)
    given["mask_BT"] = given["mask_BT"].clone()
    given["mask_BT"][:, :8] = False  # the window proper begins at its third token
    shifted = {**given, "x_BNT": given["x_BNT"][..., 8:], "mask_BT": given["mask_BT"][:, 8:]}
    torch.testing.assert_close(model(**given).h_BNTD[:, :, 2:], model(**shifted).h_BNTD, rtol=0, atol=2e-5)
    assert (model(**given).z_BND - build(rotary_share=0.5)(**given).z_BND).abs().max() > 1e-4


def test_bf16_is_close_to_fp32():
    model, given = build().float(), inputs(n_units=8)
    given = {k: v.float() if v.is_floating_point() else v for k, v in given.items()}
    expected = model(**given).z_BND
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = model(**given).z_BND
    pure = model.bfloat16()(**given).z_BND
    for found in (cast, pure):
        assert (found.float() - expected).norm() / expected.norm() < 0.02
    assert pure.dtype == torch.bfloat16


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.long)])
def test_compiled_model_equals_the_model(backend):
    """The model is one graph, with any batch; inductor compiles that graph with a C++ compiler for half a minute."""
    torch._dynamo.reset()
    model, given = build(dim=16, heads=2).float(), inputs()
    given = {k: v.float() if v.is_floating_point() else v for k, v in given.items()}
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    with torch.no_grad():
        torch.testing.assert_close(compiled(**given).h_BNTD, model(**given).h_BNTD, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"count_transform": "log"}, "count_transform is 'log': expected one of log1p, sqrt, none"),
        ({"rotary_share": 0.0}, "rotary_share is 0.0"),
        ({"inducing_points": -1}, "inducing_points is -1"),
        ({"context_channels": ["a", "a"]}, "expected different names"),
        ({"unit_tables": [2], "unit_names": ["a"]}, "unit_tables holds 2"),
    ],
)
def test_invalid_options_are_refused(change, what):
    with pytest.raises(ConfigError, match=what):
        EITConfig(**change)
