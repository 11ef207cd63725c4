"""Every augmentation has its documented effect and frequency, and does not depend on the number of processes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from foundation.common.errors import ConfigError
from foundation.data import pad_windows
from foundation.data.augmentations import AUGMENTATIONS, Augmentation, augment
from foundation.data.keyed_random import Draws
from foundation.data.steps.step import StepContext

EACH = [
    Augmentation("neuron_dropout", share=0.4),
    Augmentation("neuron_dropout", share=0.8, random=True),
    Augmentation("unit_subsampling", share=0.5),
    Augmentation("noise", size=0.3),
    Augmentation("pepper", share=0.3, size=1.5),
    Augmentation("temporal_jitter", size=6),
    Augmentation("segment_length", share=0.5),
    Augmentation("time_scaling", size=1.5),
]


def batch(n_windows=200, n_units=20, n_bins=32, modality=0, make=np.ones):
    x = [make((n_units, n_bins)) for _ in range(n_windows)]
    return pad_windows(
        x, bin_widths=[0.1] * n_windows, starts=[0.0] * n_windows, modalities=[modality] * n_windows, bins_per_token=4
    )


def done(view, *settings, number=0, **context):
    return augment(view, list(settings), replace(StepContext.alone(view), **context), number, tokens=4)


def test_draws_are_uniform_normal_and_independent():
    draws = Draws.of(seed=1, step=2, item_B=torch.arange(2000))
    u = draws.uniform(50).double()
    assert 0 <= float(u.min()) < 1e-4
    assert 1 - 1e-4 < float(u.max()) < 1
    assert float(u.mean()) == pytest.approx(0.5, abs=0.004)
    assert float(u.var()) == pytest.approx(1 / 12, abs=0.002)
    z = draws.normal(50).double()
    assert float(z.mean()) == pytest.approx(0.0, abs=0.015)
    assert float(z.std()) == pytest.approx(1.0, abs=0.01)
    assert float((z**4).mean()) == pytest.approx(3.0, abs=0.1)
    others = [
        draws.child("a").uniform(50),
        draws.child("a", 1).uniform(50),
        Draws.of(seed=1, step=3, item_B=torch.arange(2000)).uniform(50),
        Draws.of(seed=2, step=2, item_B=torch.arange(2000)).uniform(50),
        Draws.of(seed=1, step=2, item_B=torch.arange(1, 2001)).uniform(50),
    ]
    for other in [*others, u.roll(1, 0), u.roll(1, 1)]:
        assert abs(float(torch.corrcoef(torch.stack([u.ravel(), other.double().ravel()]))[0, 1])) < 0.015


@pytest.mark.parametrize("settings", EACH, ids=lambda s: s.name + "-random" * s.random)
def test_draws_do_not_depend_on_process_or_padding(settings):
    rng = np.random.default_rng(0)
    view = batch(7, 5, 16, make=lambda shape: rng.poisson(1.0, shape))
    context = StepContext(torch.arange(7), torch.zeros(7, dtype=torch.int64), seed=3, step=9)
    whole = augment(view, [settings], context, 1, tokens=4)
    rows = torch.tensor([1, 4])
    wider = pad_windows(
        [*(view.x_BNT[r].numpy() for r in rows), np.ones((8, 24))],
        bin_widths=[0.1] * 3, starts=[0.0] * 3, modalities=[0] * 3, bins_per_token=4,
    )  # fmt: skip
    mine = StepContext(torch.tensor([1, 4, 99]), torch.zeros(3, dtype=torch.int64), seed=3, step=9)
    part = augment(wider, [settings], mine, 1, tokens=4)
    for k, row in enumerate(rows):
        assert torch.allclose(part.x_BNT[k, :5, :16], whole.x_BNT[row], atol=1e-5)
        assert torch.equal(part.mask_BT[k, :16], whole.mask_BT[row])
        assert torch.equal(part.mask_BN[k, :5], whole.mask_BN[row])
        assert not part.x_BNT[k, 5:].any()
        assert not part.x_BNT[k, :, 16:].any()
    assert not torch.equal(whole.x_BNT, augment(view, [settings], replace(context, step=10), 1, tokens=4).x_BNT)


@pytest.mark.parametrize("settings", EACH, ids=lambda s: s.name + "-random" * s.random)
def test_views_share_a_draw_only_on_request_and_keep_a_token(settings):
    rng = np.random.default_rng(0)
    view = batch(40, make=lambda shape: rng.poisson(1.0, shape))
    a, b = (done(view, settings, number=k) for k in (0, 1))
    assert not torch.equal(a.x_BNT, b.x_BNT)
    a, b = (done(view, replace(settings, same=True), number=k) for k in (0, 1))
    assert torch.equal(a.x_BNT, b.x_BNT)
    assert torch.equal(a.mask_BT, b.mask_BT)
    short = done(batch(50, n_bins=4), settings)
    for changed in (a, short):
        assert changed.mask_BT.unflatten(1, (-1, 4)).all(-1).any(-1).all()
        assert changed.mask_BN.any(1).all()
        assert not (changed.x_BNT * ~changed.mask_BT[:, None]).any()


def test_chance_is_the_share_of_windows():
    view = batch(2000, 4, 4)
    changed = done(view, Augmentation("noise", size=1.0, chance=0.3))
    hit = (changed.x_BNT != view.x_BNT).any(-1).any(-1)
    assert float(hit.float().mean()) == pytest.approx(0.3, abs=0.04)


def test_fixed_dropout_drops_its_share_of_whole_units():
    x = done(batch(2000), Augmentation("neuron_dropout", share=0.4)).x_BNT
    assert set(x.sum(-1).unique().tolist()) == {0.0, 32.0}
    dropped_B = (x[:, :, 0] == 0).float().mean(1)
    assert float(dropped_B.mean()) == pytest.approx(0.4, abs=0.01)
    assert float(dropped_B.var()) == pytest.approx(0.4 * 0.6 / 20, rel=0.15)


def test_random_dropout_draws_its_share_for_each_window():
    x = done(batch(3000), Augmentation("neuron_dropout", share=0.8, random=True)).x_BNT
    dropped_B = (x[:, :, 0] == 0).float().mean(1)
    assert float(dropped_B.mean()) == pytest.approx(0.4, abs=0.015)
    # Variance of a uniform chance, and that of the draws given the chance: E[p(1 - p)] / N.
    spread = 0.8**2 / 12
    assert float(dropped_B.var()) == pytest.approx(spread + (0.4 - 0.4**2 - spread) / 20, rel=0.1)


def test_subsampling_removes_units_evenly():
    view = done(batch(2000), Augmentation("unit_subsampling", share=0.5))
    kept_B = view.mask_BN.sum(1)
    assert int(kept_B.min()) == 10
    assert int(kept_B.max()) == 20
    assert float(kept_B.float().mean()) == pytest.approx(15.0, abs=0.25)
    assert torch.equal(view.x_BNT[:, :, 0] == 1, view.mask_BN)
    assert float(view.mask_BN.float().mean(0).min()) > 0.7
    assert float(view.mask_BN.float().mean(0).max()) < 0.8


def test_noise_has_its_size_and_skips_padding():
    view = batch(100)
    view.mask_BT[:, 16:] = False
    view.mask_BN[:, 15:] = False
    view.x_BNT *= view.mask_BT[:, None] & view.mask_BN[:, :, None]
    added = (done(view, Augmentation("noise", size=0.3)).x_BNT - view.x_BNT)[:, :15, :16]
    assert float(added.mean()) == pytest.approx(0.0, abs=0.01)
    assert float(added.std()) == pytest.approx(0.3, abs=0.01)
    for name, more in (("noise", {}), ("pepper", {"share": 1.0})):
        x = done(view, Augmentation(name, size=0.3, **more)).x_BNT
        assert not x[:, 15:].any()
        assert not x[:, :, 16:].any()


def test_pepper_adds_its_value_to_its_share():
    added = done(batch(), Augmentation("pepper", share=0.3, size=1.5)).x_BNT - 1
    assert set(added.unique().tolist()) == {0.0, 1.5}
    assert float((added > 0).float().mean()) == pytest.approx(0.3, abs=0.01)


def test_jitter_is_uniform_and_masks_missing_bins():
    view = batch(3000, 1, 32, make=lambda shape: np.arange(1.0, 33.0)[None])
    moved = done(view, Augmentation("temporal_jitter", size=3))
    shift_B = moved.x_BNT[:, 0, 16] - 17
    values, counts = shift_B.unique(return_counts=True)
    assert values.tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert float(counts.min()) > 350
    for k in (-3, 0, 2):
        row = int((shift_B == k).nonzero()[0])
        wanted = torch.arange(1.0, 33.0) + k
        wanted[(wanted < 1) | (wanted > 32)] = 0
        assert torch.equal(moved.x_BNT[row, 0], wanted)
        assert torch.equal(moved.mask_BT[row], wanted > 0)


def test_segments_have_every_length_and_position():
    view = batch(4000, 1, 32, make=lambda shape: np.arange(1.0, 33.0)[None])
    cut = done(view, Augmentation("segment_length", share=0.5))
    kept_B = cut.mask_BT.sum(1) // 4
    lengths, counts = kept_B.unique(return_counts=True)
    assert lengths.tolist() == [4, 5, 6, 7, 8]
    assert float(counts.min()) > 650
    first_B = cut.mask_BT.long().argmax(1)  # of the valid bins
    starts, counts = (first_B[kept_B == 4] / 4).unique(return_counts=True)
    assert starts.tolist() == [0, 1, 2, 3, 4]
    assert float(counts.min()) > 100
    row = int((kept_B == 5).nonzero()[0])
    first = int(first_B[row])
    assert torch.equal(cut.x_BNT[row, 0, first : first + 20], torch.arange(first + 1.0, first + 21.0))
    assert not cut.x_BNT[row, 0, first + 20 :].any()


def test_time_scaling_is_faster_and_slower():
    rng = np.random.default_rng(0)
    counts = batch(2000, 1, 32, make=lambda shape: rng.poisson(3.0, shape))
    scaled = done(counts, Augmentation("time_scaling", size=1.5))
    there = scaled.mask_BT.sum(1)
    # A window that runs s times as fast ends after 1 / s of its bins.
    assert int(there.min()) == 21
    assert 0.45 < float((there == 32).float().mean()) < 0.56
    rate_B = scaled.x_BNT[:, 0].sum(-1) / there / counts.x_BNT[:, 0].mean(-1)
    assert float(rate_B.log().mean()) == pytest.approx(0.0, abs=0.02)
    assert float(rate_B.max()) < 1.5 * 1.4
    ramp = batch(500, 1, 32, modality=1, make=lambda shape: np.arange(0.5, 32.5)[None])
    values = done(ramp, Augmentation("time_scaling", size=1.5))
    slope_B = (values.x_BNT[:, 0, 19] - values.x_BNT[:, 0, 0]) / 19  # the mean over a bin of time s is at s (t + 1/2)
    assert float(slope_B.log().max()) == pytest.approx(np.log(1.5), abs=0.03)
    assert float(slope_B.log().min()) == pytest.approx(-np.log(1.5), abs=0.03)
    k = torch.arange(20) + 0.5
    assert torch.allclose(values.x_BNT[:, 0, :20], slope_B[:, None] * k, rtol=2e-2, atol=0.3)


def a_token_stays(view, changed):
    had, has = (v.mask_BT.unflatten(1, (-1, 4)).all(-1).any(-1) for v in (view, changed))
    assert int(had.sum()) > 100
    return bool(has[had].all())


@pytest.mark.parametrize("size", [2.0, 5.0])
@pytest.mark.parametrize("name", ["time_scaling", "temporal_jitter"])
def test_token_survives_chains_and_gaps(name, size):
    last = Augmentation(name, size=size if name == "time_scaling" else 4 * size)
    view = batch(400, 2)
    for chain in (
        [Augmentation("segment_length", share=0.25), last],
        [Augmentation("temporal_jitter", size=7), last],
        [Augmentation("segment_length", share=0.0), Augmentation("time_scaling", size=2.0), last],
    ):
        assert a_token_stays(view, done(view, *chain))
    token_T, bin_T = torch.arange(32) // 4, torch.arange(32)
    rng = torch.Generator().manual_seed(0)
    for there in (
        token_T % 2 == 1,
        bin_T % 8 != 7,
        (bin_T >= 3) & (bin_T < 12),
        (bin_T < 3) | (bin_T > 25),
        torch.rand(400, 32, generator=rng) < 0.8,
    ):
        gaps = replace(view, mask_BT=there.expand(400, 32), x_BNT=view.x_BNT * there.expand(400, 32)[:, None])
        assert a_token_stays(gaps, done(gaps, last))


def test_time_scaling_starts_at_the_longest_stretch():
    view = batch(500, 1, 32, modality=1, make=lambda shape: np.arange(0.5, 32.5)[None])
    view.mask_BT[:, :12] = view.mask_BT[:, 28:] = False
    scaled = done(view, Augmentation("time_scaling", size=9.0))
    assert scaled.mask_BT[:, 12:16].all()
    step_B = scaled.x_BNT[:, 0, 13] - scaled.x_BNT[:, 0, 12]
    assert float(step_B.max()) == pytest.approx(4.0, abs=0.01)  # 16 valid bins, in tokens of 4
    fast_B = step_B > 1
    assert int(fast_B.sum()) > 200
    assert torch.allclose((scaled.x_BNT[:, 0, 12] - step_B / 2)[fast_B], torch.tensor(12.0), atol=0.2)


def test_invalid_settings_are_refused_with_allowed_values():
    for change, what in [
        ({"name": "blur"}, "'blur': expected one of neuron_dropout"),
        ({"name": "noise"}, "size of noise is missing"),
        ({"name": "noise", "size": -1.0}, "size of noise is -1.0: expected a finite number from 0"),
        ({"name": "noise", "size": 1.0, "share": 0.1}, "share of noise is 0.1: expected none"),
        ({"name": "pepper", "size": 1.0, "share": 1.5}, "expected 0 to 1"),
        ({"name": "time_scaling", "size": 0.5}, "a finite number from 1"),
        ({"name": "pepper", "size": 1.0, "share": 0.5, "random": True}, "only neuron_dropout"),
        ({"name": "noise", "size": 1.0, "chance": 2.0}, "chance is 2.0"),
        ({"name": "noise", "size": np.inf}, "size of noise is inf: expected a finite number from 0"),
        ({"name": "pepper", "size": np.nan, "share": 0.5}, "size of pepper is nan: expected a finite number"),
        ({"name": "temporal_jitter", "size": np.inf}, "size of temporal_jitter is inf"),
        ({"name": "time_scaling", "size": np.nan}, "a finite number from 1"),
    ]:
        with pytest.raises(ConfigError) as caught:
            Augmentation(**change)
        assert what.replace("one of neuron_dropout", "one of") in str(caught.value)
    assert set(AUGMENTATIONS) == {s.name for s in EACH}
