"""Surrounding information: channels of a recording, their CEBRA embedding, and the part for a segment."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from foundation.common.errors import ConfigError
from foundation.data import DataSettings, Loader, StepPlan
from foundation.data.covariates import (
    VERSION,
    Surroundings,
    SurroundSettings,
    cebra_embedding,
    channels,
    pooled,
    principal_components,
)
from foundation.data.steps.views import ViewSpec
from foundation.store import Catalog, Interval, RegularTimeSeries, Store, StoredRecording, write_recording
from foundation.store.derived import Derived
from foundation.training.inputs.surround_fitting import fit_surroundings

RAW = SurroundSettings(kind="raw", dim=3, pool=2)


@pytest.fixture
def store(tmp_path, make_recording):
    """Two recordings: one with a turning hand and trials, one without behaviour or intervals."""
    store = Store(tmp_path / "store", create=True)
    angle = np.arange(0, 60, 0.01) * 2 * np.pi / 7
    starts = np.arange(5.0, 60.0, 10.0)
    around = {
        "behavior": {"hand": RegularTimeSeries(np.stack([np.cos(angle), np.sin(angle)], 1), 100.0)},
        "intervals": {
            "trials": Interval(starts, starts + 4, {"target": np.arange(6.0), "side": np.array(["left", "right"] * 3)})
        },
    }
    write_recording(store, make_recording(0, **around))
    write_recording(store, make_recording(1))
    return store


def by_subject(store):
    return {r.subject: r for r in Catalog.build(store).records}


def test_channels_are_behaviour_trials_and_session(store):
    records = by_subject(store)
    first = next(r for k, r in records.items() if k.endswith("mouse0"))
    x_TC, start = channels(StoredRecording(store, first), 0.1)
    assert start == 0.0
    assert x_TC.shape == (600, 1 + 2 + 1 + 1 + 2)  # session, hand, in a trial, its target, its side
    assert np.allclose(x_TC.mean(0), 0, atol=1e-4)
    assert np.allclose(x_TC.std(0), 1, atol=1e-3)
    t = (np.arange(600) + 0.5) * 0.1
    hand, on, target = x_TC[:, 1], x_TC[:, 3], x_TC[:, 6]
    assert np.corrcoef(hand, np.cos(t * 2 * np.pi / 7))[0, 1] > 0.999
    assert np.array_equal(on > 0, (t % 10 >= 5) & (t % 10 < 9))
    assert len(np.unique(target[on > 0].round(4))) == 6


def test_interval_continues_after_a_nested_one_ends(tmp_path, make_recording):
    """Outer [0, 50) with 7, inner [10, 20) with 9, another [45, 55) with 8, and [45, 48) with 5, given in any order."""
    start, end = np.array([10.0, 45.0, 0.0, 45.0]), np.array([20.0, 48.0, 50.0, 55.0])
    table = Interval(start, end, {"level": np.array([9.0, 5.0, 7.0, 8.0])})
    store = Store(tmp_path / "store", create=True)
    write_recording(store, make_recording(0, intervals={"stimuli": table}))
    x_TC, _ = channels(next(iter(Catalog.build(store))), 0.1)
    t = (np.arange(len(x_TC)) + 0.5) * 0.1
    on, level = x_TC[:, 1], x_TC[:, 2]
    np.testing.assert_array_equal(on > 0, t < 55)
    expected = np.select([t < 10, t < 20, t < 45, t < 48, t < 55], [7, 9, 7, 5, 8], 0)
    assert np.corrcoef(level, expected)[0, 1] > 0.9999


def test_raw_information_is_principal_components(store):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 5)) @ np.diag([5.0, 3.0, 1.0, 0.1, 0.0])
    e = principal_components(x - x.mean(0), 6)
    assert e.shape == (400, 6)
    assert not e[:, 4:].any()
    assert np.allclose(e[:, :4].std(0), 1, atol=1e-3)
    assert abs(np.corrcoef(e[:, 0], x[:, 0])[0, 1]) > 0.98


def test_segments_are_pooled_and_missing_information_is_flagged(store):
    records = by_subject(store)
    around = Surroundings(store, list(records.values()), RAW)
    with_hand = next(r.id for k, r in records.items() if k.endswith("mouse0"))
    # A recording without behaviour still has its session's time.
    assert len(around.missing()) == 2
    a, b = around(with_hand, 0.0, 4.0), around(with_hand, 30.0, 1.2)
    assert a.shape == b.shape == (RAW.features,) == (7,)
    assert a[-1] == b[-1] == 1.0
    assert not np.allclose(a, b)
    e = Derived(
        store, f"surround-{VERSION}", {"kind": "raw", "dim": 3, "bin_width": 0.1}, [records_digest(records, with_hand)]
    ).read("e")
    assert np.allclose(b[:-1], pooled(e[300:312], 2).ravel())
    assert len(around.missing()) == 1
    length = torch.nn.AdaptiveAvgPool1d(5)(torch.arange(13.0)[None, None])[0, 0]
    assert np.allclose(pooled(np.arange(13.0)[:, None], 5)[:, 0], length)  # torch's adaptive average pooling


def records_digest(records, name):
    return next(r.digest for r in records.values() if r.id == name)


def test_contexts_have_every_view_s_information_in_any_process(store):
    catalog = Catalog.build(store)
    spec = ViewSpec(2, 2, 4, surround=RAW)
    settings = DataSettings(bin_widths=[0.1], tokens_per_step=600, min_windows=3, max_units=12)
    plan = StepPlan(catalog, settings, spec, bins_per_token=2, seed=0)
    whole = Loader(catalog, plan, total_steps=10)
    fit_surroundings(whole.surroundings)
    assert whole.surroundings.missing() == []
    one, context = plan(3), whole.load(3).context
    assert context.surround_VBS.shape == (2, len(one), RAW.features)
    assert context.progress == pytest.approx(3 / 9)
    parts = [next(Loader(catalog, plan, rank=rank, world=3).steps(3)).context for rank in range(3)]
    assert sorted(n for part in parts for n in part.item_B.tolist()) == list(range(len(one)))
    for rank, part in enumerate(parts):
        assert [repr(one[n]) for n in part.item_B] == [repr(window) for window in plan(3, rank, 3)]
        assert torch.equal(part.surround_VBS, context.surround_VBS[:, part.item_B])
        assert torch.equal(part.recording_B, context.recording_B[part.item_B])


def test_cebra_finds_the_slow_variable_and_is_kept(store):
    """A slowly turning hand among channels of noise: CEBRA-Time encodes its angle and not the noise."""
    pytest.importorskip("cebra")
    rng = np.random.default_rng(0)
    phase = np.arange(2000) * 2 * np.pi / 400
    x = np.concatenate([np.stack([np.cos(phase), np.sin(phase)], 1), rng.normal(size=(2000, 4))], 1).astype(np.float32)
    settings = SurroundSettings(dim=3, iterations=150, batch_size=256)
    e = cebra_embedding(x, settings)
    assert e.shape == (2000, 3)
    design = np.concatenate([e, np.ones((2000, 1))], 1)
    fit = design @ np.linalg.lstsq(design[:1000], x[:1000], rcond=None)[0]
    explained = 1 - ((x - fit)[1000:] ** 2).mean(0) / x[1000:].var(0)
    assert explained[:2].min() > 0.6
    assert explained[2:].max() < 0.3
    assert np.array_equal(e, cebra_embedding(x, settings))
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    cebra_embedding(x[:300], replace(settings, iterations=2))
    assert torch.equal(torch.rand(1), before)  # the run's own random numbers are unaffected


def test_invalid_settings_are_refused():
    for change, what in [({"kind": "pca"}, "one of raw, cebra"), ({"dim": 0}, "dim is 0"), ({"pool": 0}, "pool is 0")]:
        with pytest.raises(ConfigError, match=what):
            SurroundSettings(**change)
