import json

import numpy as np
import pytest
import torch

from foundation.common.errors import CheckpointError, ConfigError
from foundation.hub.checkpoints import load_model
from foundation.models import EIT, EITConfig
from foundation.models.parts.interval_tokens import LAGS, interval_features

PATCH, BIN = 400, 0.001


def trains(n_windows=2, n_units=4, n_tokens=3, seed=0) -> torch.Tensor:
    """Events of regular, bursting, silent and fast units in bins of 1 ms."""
    generator = torch.Generator().manual_seed(seed)
    rate_N = torch.tensor([0.02, 0.05, 0.0, 0.2] * n_units)[:n_units]
    chance_BNT = rate_N[None, :, None].expand(n_windows, n_units, n_tokens * PATCH)
    x_BNT = torch.bernoulli(chance_BNT, generator=generator)
    x_BNT[:, 0, 100:130:4] = 1.0  # a burst
    x_BNT[0, 1, 333] = 3.0  # more than one event in a bin
    return x_BNT


def length_of(seconds: float, number: int) -> int:
    steps = np.log10(max(seconds, 0.0005) / 0.001) * number / 4 + 1e-3
    return int(np.clip(np.floor(steps), 0, number - 1))


def by_loops(x_T: np.ndarray, dt: float, missing_T: np.ndarray) -> np.ndarray:
    """Features of one unit, computed event by event and pair by pair."""
    n_tokens = len(x_T) // PATCH
    events = [t for t, count in enumerate(x_T) for _ in range(round(float(count)))]
    whole = [np.zeros((n_tokens, size)) for size in (1, 40, 144, 38)]

    def joined(i: int, j: int) -> bool:
        return not missing_T[events[i] : events[j]].any()

    for j, event in enumerate(events):
        token = event // PATCH
        whole[0][token] += 1
        if j >= 1 and joined(j - 1, j):
            last = (event - events[j - 1]) * dt
            whole[1][token, length_of(last, 40)] += 1
            if j >= 2 and joined(j - 2, j - 1):
                before = (events[j - 1] - events[j - 2]) * dt
                whole[2][token, 12 * length_of(before, 12) + length_of(last, 12)] += 1
        for i in range(j):
            lag = (event - events[i]) * dt * (1 + 1e-5)
            if joined(i, j) and lag < LAGS[-1]:
                whole[3][token, np.searchsorted(LAGS, lag, side="right") - 1] += 1
    shares = [np.sqrt(part / np.maximum(part.sum(1, keepdims=True), 1)) for part in whole[1:]]
    return np.concatenate([np.log1p(whole[0]) / 4, *shares], axis=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_features_equal_plain_loops(dtype):
    x_BNT, dt_B = trains(), torch.tensor([BIN, 0.0025])
    mask_BT = torch.ones(2, x_BNT.shape[2], dtype=torch.bool)
    mask_BT[1, 450:520] = False  # a gap, over which nothing is counted
    x_BNT = x_BNT * mask_BT[:, None]
    found = interval_features(x_BNT.to(dtype), dt_B, PATCH, None, mask_BT).numpy()
    for b in range(2):
        for n in range(4):
            expected = by_loops(x_BNT[b, n].numpy(), (BIN, 0.0025)[b], ~mask_BT[b].numpy())
            np.testing.assert_allclose(found[b, n], expected, atol=1e-6)
    assert (found[:, 2] == 0).all()  # silent


@pytest.mark.parametrize("events", [0, 1, 2])
def test_nearly_empty_windows_have_features(events):
    x_BNT = torch.zeros(2, 3, 2 * PATCH)
    x_BNT[1, 2, 5 : 5 + events] = 1.0
    features_BNTF = interval_features(x_BNT, torch.full((2,), BIN), PATCH)
    assert features_BNTF.shape == (2, 3, 2, 223)
    expected = by_loops(x_BNT[1, 2].numpy(), BIN, np.zeros(2 * PATCH, dtype=bool))
    np.testing.assert_allclose(features_BNTF[1, 2].numpy(), expected, atol=1e-6)
    assert not features_BNTF[0].any()


def test_lags_are_38_up_to_400_ms():
    assert len(LAGS) == 39
    assert LAGS[-1] == pytest.approx(0.4)
    assert (np.diff(LAGS) > 0).all()


@pytest.fixture(scope="module")
def model() -> EIT:
    torch.manual_seed(0)
    config = EITConfig(dim=16, heads=2, interaction_layers=1, patch_length=PATCH, tokens="intervals")
    return EIT(config).double().eval()


def inputs(x_BNT: torch.Tensor) -> dict[str, torch.Tensor]:
    batch, n_units, n_bins = x_BNT.shape
    return {
        "x_BNT": x_BNT.double(),
        "mask_BN": torch.ones(batch, n_units, dtype=torch.bool),
        "mask_BT": torch.ones(batch, n_bins, dtype=torch.bool),
        "dt_B": torch.full((batch,), BIN),
        "modality_B": torch.zeros(batch, dtype=torch.int64),
    }


def test_padding_changes_nothing(model):
    given = inputs(trains())
    plain = model(**given)
    more = inputs(torch.full((2, 6, 5 * PATCH), torch.nan))
    more["x_BNT"][:, :4, : 3 * PATCH] = given["x_BNT"]
    more["mask_BN"][:, 4:] = False
    more["mask_BT"][:, 3 * PATCH :] = False
    padded = model(**more)
    torch.testing.assert_close(padded.z_BND[:, :4], plain.z_BND, rtol=0, atol=1e-10)
    torch.testing.assert_close(padded.h_BNTD[:, :4, :3], plain.h_BNTD, rtol=0, atol=1e-10)
    assert (padded.z_BND[:, 4:] == 0).all()


def test_embeddings_follow_the_order_of_units(model):
    given, order = inputs(trains()), torch.tensor([2, 0, 3, 1])
    shuffled = given | {"x_BNT": given["x_BNT"][:, order]}
    torch.testing.assert_close(model(**shuffled).z_BND, model(**given).z_BND[:, order], rtol=0, atol=1e-10)


def test_embedding_depends_on_times_within_a_token(model):
    """The same number of events, evenly spaced or in bursts, gives another embedding."""
    even, burst = torch.zeros(1, 1, 3 * PATCH), torch.zeros(1, 1, 3 * PATCH)
    even[..., ::40], burst[..., ::PATCH] = 1.0, 1.0
    for k in range(1, 10):
        burst[..., 3 * k :: PATCH] = 1.0
    assert even.sum() == burst.sum()
    assert (model(**inputs(even)).z_BND - model(**inputs(burst)).z_BND).abs().max() > 0.1


def test_every_weight_has_a_gradient():
    config = EITConfig(dim=16, heads=2, individual_layers=1, patch_length=PATCH, tokens="intervals")
    model = EIT(config)
    target = torch.linspace(-1, 1, 16)
    (model(**inputs(trains()) | {"x_BNT": trains()}).z_BND * target).square().sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert not silent


def test_sampled_values_are_refused(model):
    given = inputs(trains()) | {"modality_B": torch.tensor([0, 1])}
    with pytest.raises(ValueError, match=r"modality_B holds 1, sampled values, and config\.tokens is 'intervals'"):
        model(**given)


def test_invalid_tokens_are_refused():
    with pytest.raises(ConfigError, match="tokens is 'spikes': expected one of bins, intervals"):
        EITConfig(tokens="spikes")
    with pytest.raises(ConfigError, match="patch_length is 4 and tokens 'intervals': expected at least 100"):
        EITConfig(tokens="intervals")


def test_checkpoint_round_trip_and_earlier_config_reads_bins(tmp_path):
    torch.manual_seed(0)
    model = EIT(EITConfig(dim=16, heads=2, patch_length=5000, tokens="intervals")).eval()
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path).eval()
    given = inputs(torch.bernoulli(torch.full((1, 2, 10000), 0.01)))
    given["x_BNT"] = given["x_BNT"].float()
    assert again.config.tokens == "intervals"
    torch.testing.assert_close(again(**given).z_BND, model(**given).z_BND)
    earlier = EITConfig().to_dict()
    del earlier["tokens"]
    assert EITConfig(**earlier).tokens == "bins"


def test_checkpoint_cannot_request_unlimited_bins(tmp_path):
    EIT(EITConfig(dim=16, heads=2, patch_length=5000, tokens="intervals")).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"patch_length": 1 << 40}))
    with pytest.raises(CheckpointError, match="patch_length"):
        load_model(tmp_path)
