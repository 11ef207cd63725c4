"""EIT as published, MLP, GRU and NDT: shapes, allowed inputs, and learning."""

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModel

from finetune.reproduce.models import (
    NDT,
    EITPublished,
    EITPublishedConfig,
    GRUDecoder,
    GRUDecoderConfig,
    MLPDecoder,
    MLPDecoderConfig,
    NDTConfig,
)
from finetune.reproduce.models.published_eit import distinct_rows
from finetune.reproduce.models.wide_attention import Dropout, WideAttention
from foundation.common.errors import ConfigError

SMALL = {"n_units": 7, "n_bins": 3, "n_classes": 4}
EVERY = {
    "eit": lambda **c: EITPublished(EITPublishedConfig(**SMALL | c)),
    "eit-t": lambda **c: EITPublished(EITPublishedConfig(interaction_layers=0, **SMALL | c)),
    "mlp": lambda **c: MLPDecoder(MLPDecoderConfig(**SMALL | c)),
    "gru": lambda **c: GRUDecoder(GRUDecoderConfig(**SMALL | c)),
    "ndt": lambda **c: NDT(NDTConfig(**SMALL | c)),
    "ndt-sup": lambda **c: NDT(NDTConfig(supervised=True, **SMALL | c)),
}


def build(name, **changes):
    torch.manual_seed(0)
    return EVERY[name](**changes)


@pytest.mark.parametrize("name", EVERY)
def test_mlflow_head_predicts_classes_and_reloads_from_a_folder(name, tmp_path):
    model, x = build(name).eval(), torch.randn(5, 7, 3)
    out = model(x)
    assert out.logits_BTC.shape == (5, 3, 4)
    assert out.p_BTD.shape[:2] == (5, 3)
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path).eval()
    assert type(loaded) is type(model)
    assert torch.equal(loaded(x).logits_BTC, out.logits_BTC)


@pytest.mark.parametrize("name", sorted(set(EVERY) - {"ndt"}))
def test_decoder_learns_separable_directions(name):
    model = build(name, dropout=0.0, **({"head_dropout": 0.0} if name.startswith("eit") else {})).train()
    labels = torch.arange(4).repeat(8)
    x = F.one_hot(labels, 7).float()[..., None].expand(-1, -1, 3) * 2 + torch.randn(32, 7, 3) * 0.1
    labels_BT = labels[:, None].expand(-1, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model(x, labels_BT).loss.backward()
        optimizer.step()
    assert (model.eval()(x).logits_BTC.argmax(-1) == labels_BT).float().mean() > 0.95


@pytest.mark.parametrize("name", ["mlp", "ndt"])
def test_another_population_or_window_is_rejected(name):
    with pytest.raises(ValueError, match="windows of 8 units and 3 bins: expected 7 units and 3 bins"):
        build(name)(torch.randn(2, 8, 3))


def test_folded_attention_equals_attention_in_output_and_gradient():
    torch.manual_seed(0)
    attention = WideAttention(16, heads=6, head_dim=64).double()
    x = torch.randn(5, 9, 16, dtype=torch.float64, requires_grad=True)

    def by_hand(x):
        q, k, v = (part.view(5, 9, 6, 64).transpose(1, 2) for part in attention.qkv(x).chunk(3, -1))
        mixed = (q @ k.transpose(-1, -2) / 8).softmax(-1) @ v
        return attention.out(mixed.transpose(1, 2).reshape(5, 9, 384))

    weight = torch.randn(5, 9, 16, dtype=torch.float64)
    given = [x, *attention.parameters()]
    expected = by_hand(x)
    wanted = torch.autograd.grad((expected * weight).sum(), given)
    for way in (attention.folded, attention.plain):
        found = way(x)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        for a, b in zip(torch.autograd.grad((found * weight).sum(), given), wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
    assert torch.equal(attention(x), attention.folded(x))
    wide = WideAttention(80, heads=2, head_dim=64)
    y = torch.randn(2, 3, 80)
    assert torch.equal(wide(y), wide.plain(y))


@pytest.mark.parametrize("n_bins", [1, 2, 6])
def test_repeated_windows_are_computed_once_with_equal_results(n_bins, monkeypatch):
    torch.manual_seed(0)
    counts = torch.poisson(torch.full((16, 20, n_bins), 0.3))
    x = counts * 10 - torch.rand(20)[:, None]  # the mean of each unit is subtracted
    place, which = distinct_rows(x.flatten(0, 1))
    known = {tuple(row) for row in x.flatten(0, 1).tolist()}
    assert len(place) == len(known) < 16 * 20
    assert torch.equal(x.flatten(0, 1)[place][which], x.flatten(0, 1))
    model = build("eit", n_units=20, n_bins=n_bins, dropout=0.0, head_dropout=0.0)
    labels = torch.randint(0, 4, (16, n_bins))
    seen = []
    model.individual.blocks[0].register_forward_hook(lambda _, given, out: seen.append(len(given[0])))

    def run():
        model.zero_grad()
        out = model(x, labels)
        out.loss.backward()
        return out.logits_BTC.detach(), [p.grad.clone() for p in model.parameters()]

    once, gradients = run()
    monkeypatch.setattr(model.individual, "_repeats", lambda x: False)
    expected, wanted = run()
    assert seen == [len(place), 16 * 20]
    torch.testing.assert_close(once, expected, rtol=0, atol=1e-5)
    for a, b in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_input_gradient_is_available():
    model = build("eit-t")
    x = torch.zeros(2, 7, 3, requires_grad=True)
    model.eval()(x, torch.zeros(2, 3, dtype=torch.int64)).loss.backward()
    assert x.grad.abs().max() > 0


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_dropout_drops_its_share_and_preserves_the_mean(share):
    torch.manual_seed(0)
    x = torch.randn(400, 500, requires_grad=True)
    kept = Dropout(share)(x)
    assert (kept == 0).float().mean() == pytest.approx(share, abs=0.005)
    torch.testing.assert_close(kept[kept != 0], x[kept != 0] / (1 - share))
    kept.sum().backward()
    assert torch.equal(x.grad != 0, kept != 0)  # the gradient goes where the values went
    # neighbours, rows and columns are dropped independently
    dropped = (kept == 0).double() - share
    for other in (dropped.roll(1, 0), dropped.roll(1, 1)):
        assert (dropped * other).mean().abs() < 0.003
    assert torch.equal(Dropout(share).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


def test_published_shape_has_the_published_number_of_parameters():
    model = EITPublished(EITPublishedConfig(n_units=163, n_bins=2))
    attention = 16 * 3 * 384 + 384 * 16 + 16
    norms = 2 * 2 * 16
    individual = 2 * (attention + norms + 16 * 32 + 32 + 32 * 16 + 16) + 2 * 16 + 17
    interaction = 2 * (attention + norms + 2 * (16 * 16 + 16)) + 163 * 16 + 17
    heads = 2 * (163 * 8 + 8) + 2 * 163
    assert sum(p.numel() for p in model.parameters()) == individual + interaction + heads


def test_individual_module_replaces_its_input_by_attention():
    model = build("eit").eval()
    block = model.individual.blocks[0]
    for p in block.attention.parameters():
        p.data.zero_()
    # without a residual, zero attention output leaves no input
    assert torch.equal(block(torch.randn(2, 3, 16)), block(torch.randn(2, 3, 16)))
    kept = build("eit", individual_residual=True).eval().individual.blocks[0]
    for p in kept.attention.parameters():
        p.data.zero_()
    assert not torch.equal(kept(torch.randn(2, 3, 16)), kept(torch.randn(2, 3, 16)))


def test_individual_module_ignores_other_units_and_their_identity():
    model, x = build("eit").eval(), torch.randn(2, 7, 3)
    other = x.clone()
    other[:, 6] += 3
    one, two = model(x), model(other)
    h, moved = model.individual(x)[0], model.individual(other)[0]
    torch.testing.assert_close(moved[:, :6], h[:, :6])
    assert (two.logits_BTC - one.logits_BTC).abs().max() > 1e-3
    order = torch.tensor([3, 0, 4, 1, 2, 6, 5])
    torch.testing.assert_close(model.individual(x[:, order])[0], h[:, order])
    # the table of units tells the interaction module the identity of units
    assert (model.interaction(h[:, order]) - model.interaction(h)[..., order]).abs().max() > 1e-3


def test_loss_is_interaction_plus_half_of_individual():
    model, x = build("eit").eval(), torch.randn(2, 7, 3)
    labels = torch.randint(0, 4, (2, 3))
    out = model(x, labels)
    parts = [F.cross_entropy(logits.flatten(0, 1), labels.flatten()) for logits in (out.logits_BTC, out[3])]
    assert out.individual_logits_BTC is out[3]
    torch.testing.assert_close(out.loss, parts[0] + 0.5 * parts[1])


def test_transferred_individual_module_is_frozen_under_a_new_head():
    model = build("eit")
    other = model.transfer(n_units=11)
    x = torch.randn(4, 11, 3)
    before = [p.clone() for p in other.individual.parameters()]
    trained = [p for p in other.parameters() if p.requires_grad]
    assert {id(p) for p in trained} == {id(p) for p in other.individual_head.parameters()}
    optimizer = torch.optim.AdamW(trained, lr=1e-2, weight_decay=0.1)
    other(x, torch.randint(0, 4, (4, 3))).loss.backward()
    optimizer.step()
    pairs = zip(before, other.individual.parameters(), model.individual.parameters(), strict=True)
    assert all(torch.equal(a, b) and torch.equal(b, c) for a, b, c in pairs)


def test_ndt_masks_its_share_and_does_not_see_masked_bins():
    model = build("ndt", mask_share=1 / 3).eval()
    masked = model.draw_mask(500, torch.device("cpu"))
    assert (masked.sum(1) == 1).all()
    assert masked.float().mean(0).tolist() == pytest.approx([1 / 3] * 3, abs=0.07)
    x, counts = torch.randn(4, 7, 3), torch.poisson(torch.ones(4, 7, 3))
    torch.manual_seed(5)
    mask = model.draw_mask(4, torch.device("cpu"))
    junk = torch.where(mask[:, None], torch.full_like(x, 9.0), x)
    torch.manual_seed(5)
    plain = model(x, counts_BNT=counts)
    torch.manual_seed(5)
    assert torch.equal(model(junk, counts_BNT=counts).loss, plain.loss)
    log_rate, seen = plain.p_BTD[mask].double(), counts.transpose(1, 2)[mask].double()
    torch.testing.assert_close(plain.loss.double(), (log_rate.exp() - seen * log_rate).mean(), rtol=1e-5, atol=1e-6)


def test_ndt_without_labels_learns_rates():
    torch.manual_seed(0)
    model = build("ndt", dropout=0.0).train()
    rate_N = torch.linspace(0.5, 6.0, 7)
    counts = torch.poisson(rate_N[None, :, None].expand(256, 7, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(80):
        optimizer.zero_grad()
        model(counts - rate_N[None, :, None], counts_BNT=counts).loss.backward()
        optimizer.step()
    found = model.eval()(counts - rate_N[None, :, None]).p_BTD.exp().mean((0, 1))
    torch.testing.assert_close(found, rate_N, rtol=0.25, atol=0.2)


@pytest.mark.parametrize("name", ["eit", "ndt-sup"])
def test_checkpointing_and_bf16(name):
    model = build(name, dropout=0.0, **({"head_dropout": 0.0} if name == "eit" else {})).train()
    x, labels = torch.randn(4, 7, 3), torch.randint(0, 4, (4, 3))
    model(x, labels).loss.backward()
    expected = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    model.gradient_checkpointing_enable()
    model(x, labels).loss.backward()
    found = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found, expected, strict=True))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = model(x, labels).logits_BTC
    exact = model(x, labels).logits_BTC
    assert (cast.float() - exact).norm() / exact.norm() < 0.05


@pytest.mark.parametrize(
    ("config", "change", "what"),
    [
        (EITPublishedConfig, {"head_dropout": 1.0}, "head_dropout is 1.0"),
        (EITPublishedConfig, {"n_units": 0}, "n_units is 0"),
        (NDTConfig, {"mask_share": 0.0}, "mask_share is 0.0"),
    ],
)
def test_invalid_shapes_are_rejected(config, change, what):
    with pytest.raises(ConfigError, match=what):
        config(**change)
