import pytest
import torch
from transformers import AutoConfig, AutoModel

from foundation.common.errors import CheckpointError, ConfigError
from foundation.hub.checkpoints import load_model
from foundation.models import EIT, EITConfig
from foundation.models.parts.attention import Phases, phases, rotary_angles, rotate


@pytest.fixture(scope="module")
def model() -> EIT:
    torch.manual_seed(0)
    return EIT(EITConfig(dim=32, heads=4, individual_layers=2, interaction_layers=2)).double().eval()


def inputs(batch=2, n_units=5, n_tokens=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.poisson(torch.full((batch, n_units, n_tokens * 4), 0.7, dtype=torch.float64), generator=generator)
    return {
        "x_BNT": x,
        "mask_BN": torch.ones(batch, n_units, dtype=torch.bool),
        "mask_BT": torch.ones(batch, n_tokens * 4, dtype=torch.bool),
        "dt_B": torch.linspace(0.005, 0.1, batch),
        "modality_B": torch.arange(batch) % 2,
    }


def test_permuting_units_permutes_only_the_output(model):
    given = inputs()
    order = torch.tensor([3, 0, 4, 1, 2])
    plain, moved = model(**given), model(**given | {"x_BNT": given["x_BNT"][:, order]})
    torch.testing.assert_close(moved.h_BNTD, plain.h_BNTD[:, order], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(moved.z_BND, plain.z_BND[:, order], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(moved.p_BTD, plain.p_BTD, rtol=1e-10, atol=1e-10)
    assert (plain.z_BND[:, 0] - plain.z_BND[:, 1]).abs().max() > 1e-3


@pytest.mark.parametrize("value", [7.0, -3.0, float("nan"), float("inf")])
def test_padding_changes_nothing(model, value):
    given = inputs()
    plain = model(**given)
    junk = torch.full((2, 8, 40), value, dtype=torch.float64)
    junk[:, :5, :24] = given["x_BNT"]
    mask_BN, mask_BT = torch.zeros(2, 8, dtype=torch.bool), torch.zeros(2, 40, dtype=torch.bool)
    mask_BN[:, :5] = True
    mask_BT[:, :24] = True
    padded = model(**given | {"x_BNT": junk, "mask_BN": mask_BN, "mask_BT": mask_BT})
    torch.testing.assert_close(padded.h_BNTD[:, :5, :6], plain.h_BNTD, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(padded.z_BND[:, :5], plain.z_BND, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(padded.p_BTD[:, :6], plain.p_BTD, rtol=1e-10, atol=1e-10)
    assert padded.h_BNTD[:, 5:].abs().max() == 0
    assert padded.h_BNTD[:, :, 6:].abs().max() == 0


def test_individual_module_sees_one_unit_alone():
    torch.manual_seed(0)
    alone = EIT(EITConfig(dim=16, heads=2, individual_layers=2, interaction_layers=0)).double().eval()
    together = EIT(EITConfig(dim=16, heads=2, individual_layers=1, interaction_layers=1)).double().eval()
    given = inputs()
    other = given | {"x_BNT": given["x_BNT"].clone()}
    other["x_BNT"][:, 4] += 3
    assert torch.equal(alone(**given).h_BNTD[:, :4], alone(**other).h_BNTD[:, :4])
    assert (together(**given).h_BNTD[:, :4] - together(**other).h_BNTD[:, :4]).abs().max() > 1e-6


def test_output_depends_on_bin_width_modality_and_order_in_time(model):
    given = inputs()
    z = model(**given).z_BND
    flipped = {"x_BNT": given["x_BNT"].unflatten(-1, (-1, 4)).flip(2).flatten(2)}
    for change in ({"dt_B": given["dt_B"] * 2}, {"modality_B": 1 - given["modality_B"]}, flipped):
        assert (model(**given | change).z_BND - z).abs().max() > 1e-3


def test_time_shift_changes_only_phases():
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 7, 3, 16, dtype=torch.float64)
    times = torch.rand(1, 7).cumsum(1) * 5

    def scores(shift):
        turn = phases(rotary_angles(times + shift, 8, 0.04, 256.0), torch.float64)
        return torch.einsum("blhd,bmhd->bhlm", rotate(q, turn), rotate(k, turn))

    torch.testing.assert_close(scores(0.0), scores(0.75), rtol=1e-3, atol=2e-3)  # float32 angles
    assert (scores(0.0) - torch.einsum("blhd,bmhd->bhlm", q, k)).abs().max() > 0.1


def test_time_shift_changes_only_phases_bit_for_bit():
    angles = torch.rand(1, 7, 8, dtype=torch.float64) * 6
    x = torch.randn(1, 7, 3, 16, dtype=torch.float64)
    shift = torch.rand(8, dtype=torch.float64)
    moved, still = (rotate(x, phases(a, torch.float64)) for a in (angles + shift, angles))
    # a shift of all times is one more turn of each pair: lengths and everything else stay
    torch.testing.assert_close(moved, rotate(still, phases(shift.expand(1, 7, 8), torch.float64)), rtol=0, atol=1e-13)
    pairs = torch.complex(*x.chunk(2, -1)) * torch.exp(1j * angles)[..., None, :]
    torch.testing.assert_close(still, torch.cat([pairs.real, pairs.imag], -1), rtol=0, atol=1e-13)


def test_heads_do_not_mix_in_the_rotation():
    q = torch.randn(2, 7, 3, 8)
    turn = phases(rotary_angles(torch.rand(2, 7), 4, 0.04, 256.0))
    order = torch.tensor([2, 0, 1])
    assert torch.equal(rotate(q, turn)[:, :, order], rotate(q[:, :, order], turn))
    half = Phases(turn.cos[..., :2], turn.sin[..., :2])
    assert torch.equal(rotate(q, half)[..., 4:], q[..., 4:])
    assert (rotate(q, half)[:, 1:, :, :4] - q[:, 1:, :, :4]).abs().max() > 0.1


def test_heads_permuted_in_the_weights_change_nothing(model):
    from foundation.models.parts.attention import Attention

    torch.manual_seed(0)
    attention, moved = Attention(32, 4).double(), Attention(32, 4).double()
    order = torch.tensor([2, 0, 3, 1])
    qkv, bias = attention.qkv.weight.view(3, 4, 8, 32), attention.qkv.bias.view(3, 4, 8)
    moved.load_state_dict(
        {
            "qkv.weight": qkv[:, order].reshape(96, 32),
            "qkv.bias": bias[:, order].reshape(96),
            "out.weight": attention.out.weight.view(32, 4, 8)[:, order].reshape(32, 32),
            "out.bias": attention.out.bias,
        }
    )
    x, mask = torch.randn(2, 6, 32, dtype=torch.float64), torch.ones(2, 6, dtype=torch.bool)
    turn = phases(rotary_angles(torch.arange(6.0).expand(2, 6) / 10, 4, 0.04, 256.0), torch.float64)
    plain = attention(x, mask, turn)
    torch.testing.assert_close(moved(x, mask, turn), plain, rtol=0, atol=1e-12)
    assert (attention(x, mask) - plain).abs().max() > 1e-3


def test_initial_size_does_not_depend_on_depth():
    torch.manual_seed(0)
    given = {k: v.float() if v.is_floating_point() else v for k, v in inputs(4, 8, 16).items()}
    for layers in (1, 4, 12):
        deep = EIT(EITConfig(dim=64, heads=4, individual_layers=layers, interaction_layers=1))
        deep.norm = torch.nn.Identity()
        out = deep(**given).h_BNTD
        assert 0.3 < out.std() < 3.0, (layers, out.std())


def test_saved_weights_load_unchanged(model, tmp_path):
    model.float().save_pretrained(tmp_path)
    given = {k: v.float() if v.is_floating_point() else v for k, v in inputs().items()}
    expected = model(**given).z_BND
    for loaded in (EIT.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path), load_model(tmp_path)):
        assert torch.equal(loaded.eval()(**given).z_BND, expected)
    assert AutoConfig.from_pretrained(tmp_path).dim == 32
    model.double()


def test_foreign_checkpoints_are_refused(tmp_path, model):
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_model(tmp_path / "nothing")
    EIT(EITConfig(dim=16, heads=2)).save_pretrained(tmp_path / "a")
    config = (tmp_path / "a" / "config.json").read_text()
    (tmp_path / "a" / "config.json").write_text(config.replace('"eit"', '"bert"'))
    with pytest.raises(CheckpointError, match="type 'bert'"):
        load_model(tmp_path / "a")
    (tmp_path / "a" / "config.json").write_text(config.replace('"individual_layers": 2', '"individual_layers": 3'))
    with pytest.raises(CheckpointError, match="does not fit its config"):
        load_model(tmp_path / "a")
    (tmp_path / "a" / "config.json").write_text(config.replace('"dim": 16', '"dim": 32'))
    with pytest.raises(CheckpointError):
        load_model(tmp_path / "a")
    (tmp_path / "a" / "config.json").write_text(config)
    (tmp_path / "a" / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError):
        load_model(tmp_path / "a")


def test_checkpoint_is_found_by_url(tmp_path):
    import fsspec

    EIT(EITConfig(dim=16, heads=2)).save_pretrained(tmp_path / "a")
    fsspec.filesystem("memory").put(f"{tmp_path}/a", "/models/a", recursive=True)
    assert load_model("memory://models/a").config.dim == 16


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"dim": 30}, "dim is 30 and heads 4"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"patch_length": 0}, "patch_length is 0"),
        ({"individual_layers": 0, "interaction_layers": 0}, "at least one"),
    ],
)
def test_invalid_shapes_are_refused(change, what):
    with pytest.raises(ConfigError, match=what):
        EITConfig(**change)


def test_partial_tokens_are_refused(model):
    with pytest.raises(ValueError, match="22 bins: expected a multiple of patch_length, 4"):
        model(**inputs() | {"x_BNT": torch.zeros(2, 5, 22)})
