import numpy as np
import pytest
import torch
from transformers import AutoModel

from finetune.reproduce.models import LOLCAT, LOLCATConfig, Timescale, interval_histograms, snippet_batch
from foundation.common.errors import ConfigError

SCALES = (Timescale(3.0, 30), Timescale(12.0, 24, step=6.0))


def trains(seed, n_units=8, regular=False, seconds=60.0):
    """Poisson or regular trains of 10 events a second, all units alike in rate."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n_units):
        gaps = rng.normal(0.1, 0.005, 2000) if regular else rng.exponential(0.1, 2000)
        times = np.cumsum(np.abs(gaps))
        found.append(times[times < seconds])
    return found


def batch(seed):
    both = [*trains(seed), *trains(seed + 100, regular=True)]
    return *snippet_batch(both, (0.0, 60.0), SCALES), torch.arange(2).repeat_interleave(8)


def test_interval_histograms_equal_those_of_plain_loops():
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0, 20, 80))
    scale = Timescale(3.0, 30, step=1.5)
    starts = scale.starts(0.0, 20.0)
    assert starts[-1] + 3.0 <= 20.0
    assert len(starts) == 12
    expected = np.zeros((12, 30))
    for s, start in enumerate(starts):
        inside = [t for t in times if start <= t < start + 3.0]
        for i in range(len(inside) - 1):
            expected[s, int((inside[i + 1] - inside[i]) / 0.1)] += 1
    assert np.array_equal(interval_histograms(times, starts, scale), expected)


def test_snippets_without_events_are_masked_and_a_unit_keeps_one():
    histograms, masks = snippet_batch([np.array([1.0, 1.5]), np.empty(0)], (0.0, 12.0), [Timescale(3.0, 30)])
    assert tuple(histograms[0].shape) == (2, 4, 30)
    assert masks[0].tolist() == [[True, False, False, False], [True] * 4]
    with pytest.raises(ConfigError, match="no snippet fits"):
        snippet_batch([np.empty(0)], (0.0, 2.0), [Timescale(3.0, 30)])


def test_lolcat_separates_firing_patterns_of_new_units(tmp_path):
    torch.manual_seed(0)
    model = LOLCAT(LOLCATConfig(n_features=[30, 24], n_classes=2, dim=16, heads=2))
    histograms, masks, labels = batch(0)
    model.fit_scale(histograms, masks)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        model(histograms, masks, labels).loss.backward()
        optimizer.step()
    histograms, masks, labels = batch(7)
    out = model.eval()(histograms, masks)
    assert (out.logits_BC.argmax(-1) == labels).float().mean() > 0.9
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(histograms, masks).logits_BC, out.logits_BC)
    assert loaded.encoders[0].mean_F.abs().max() > 0


def test_attention_shows_which_snippets_were_used():
    model = LOLCAT(LOLCATConfig(n_features=[30, 24], dim=16, heads=2)).eval()
    histograms, masks, _ = batch(0)
    masks[0][:, ::2] = False
    out = model(histograms, masks)
    weights, mask = out.attention_BHS, torch.cat(masks, 1)
    torch.testing.assert_close(weights.sum(-1), torch.ones(16, 2))
    assert weights.masked_select(~mask[:, None].expand_as(weights)).abs().max() == 0
    # snippets that no head used have no influence; used snippets do
    junk = [histograms[0].clone(), histograms[1]]
    junk[0][:, ::2] += 50
    assert torch.equal(model(junk, masks).logits_BC, out.logits_BC)
    junk[0][:, 1] += 50
    assert (model(junk, masks).logits_BC - out.logits_BC).abs().max() > 1e-3


def test_order_of_snippets_and_padding_do_not_matter():
    model = LOLCAT(LOLCATConfig(n_features=[30, 24], dim=16, heads=2)).eval()
    histograms, masks, _ = batch(0)
    plain = model(histograms, masks)
    order = torch.randperm(histograms[0].shape[1])
    moved = model([histograms[0][:, order], histograms[1]], [masks[0][:, order], masks[1]])
    torch.testing.assert_close(moved.logits_BC, plain.logits_BC, rtol=1e-5, atol=1e-5)
    padded = [torch.nn.functional.pad(h, (0, 0, 0, 3), value=5.0) for h in histograms]
    pads = [torch.nn.functional.pad(m, (0, 3)) for m in masks]
    torch.testing.assert_close(model(padded, pads).logits_BC, plain.logits_BC, rtol=1e-5, atol=1e-5)


def test_snippet_dropout_stays_within_its_share():
    model = LOLCAT(LOLCATConfig(snippet_dropout=0.6)).train()
    torch.manual_seed(0)
    mask = torch.ones(2000, 50, dtype=torch.bool)
    kept = model._leave_out(mask).float().mean(1)
    assert kept.mean() == pytest.approx(0.7, abs=0.02)  # shares are uniform from 0 to 0.6
    assert kept.min() > 0.15
    alone = torch.zeros(100, 5, dtype=torch.bool)
    alone[:, 3] = True
    assert torch.equal(model._leave_out(alone), alone)
    assert torch.equal(model.eval()._leave_out(mask), mask)


def test_bins_that_never_vary_become_zero():
    model = LOLCAT(LOLCATConfig(n_features=[4], dim=8, heads=2))
    x = torch.rand(5, 6, 4)
    x[..., 2] = 3.0
    model.fit_scale([x], [torch.ones(5, 6, dtype=torch.bool)])
    assert model.encoders[0].scale_F[2] == 0
    scaled = (x - model.encoders[0].mean_F) * model.encoders[0].scale_F
    torch.testing.assert_close(scaled[..., :2].std((0, 1), unbiased=False), torch.ones(2))


@pytest.mark.parametrize("training", [False, True])
def test_unit_without_a_snippet_is_rejected(training):
    model = LOLCAT(LOLCATConfig(n_features=[4, 5], dim=8, heads=2)).train(training)
    histograms = [torch.rand(3, 2, 4), torch.rand(3, 2, 5)]
    masks = [torch.ones(3, 2, dtype=torch.bool) for _ in range(2)]
    masks[0][1:] = False
    assert model(histograms, masks).logits_BC.isfinite().all()  # one timescale is enough
    masks[1][1] = False
    with pytest.raises(ValueError, match=r"units \[1\] of the batch \(1 in all\) have no snippet"):
        model(histograms, masks)


def test_timescale_needs_at_least_one_snippet():
    model = LOLCAT(LOLCATConfig(n_features=[4, 5], dim=8, heads=2))
    histograms = [torch.rand(3, 2, 4), torch.rand(3, 2, 5)]
    masks = [torch.ones(3, 2, dtype=torch.bool), torch.zeros(3, 2, dtype=torch.bool)]
    with pytest.raises(ValueError, match=r"masks\[1\] excludes all 6 snippets"):
        model.fit_scale(histograms, masks)
    assert model.encoders[0].mean_F.abs().max() == 0  # no partial fit
    for trains, scales in (([], [Timescale()]), ([np.empty(0)], [])):
        message = f"{len(trains)} trains and {len(scales)} scales: expected at least one of each"
        with pytest.raises(ValueError, match=message):
            snippet_batch(trains, (0.0, 12.0), scales)
