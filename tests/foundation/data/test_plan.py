import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from foundation.common.errors import ConfigError, StoreError
from foundation.data import DataSettings, Loader, StepPlan, ViewSpec, deal
from foundation.store import Catalog, Interval, RegularTimeSeries, Store, write_recording

SETTINGS = DataSettings(bin_widths=[0.005, 0.025], tokens_per_step=2048, min_windows=4, max_units=8)
SPEC = ViewSpec(views=2, min_tokens=4, max_tokens=16)


def plan_of(store, settings=SETTINGS, spec=SPEC, seed=0) -> StepPlan:
    return StepPlan(Catalog.open(Store(store)), settings, spec, bins_per_token=4, seed=seed)


def test_step_is_a_function_of_seed_and_step(small_store):
    def windows_of(plan, step):
        return [(w.recording, w.units.tolist(), w.bin_width, w.views) for w in plan(step)]

    first = plan_of(small_store)
    forward = [windows_of(first, step) for step in range(5)]
    assert [windows_of(plan_of(small_store), step) for step in reversed(range(5))] == forward[::-1]
    assert forward[0] != forward[1]
    assert windows_of(plan_of(small_store, seed=1), 0) != forward[0]


def test_windows_keep_to_budget_lengths_and_observed_time(tmp_path, make_recording):
    store = Store(tmp_path / "store", create=True)
    pieces = Interval([0.0, 10.0, 30.0], [1.0, 12.5, 31.9])
    write_recording(store, make_recording(0, domain=pieces))
    plan = plan_of(tmp_path / "store")
    used = set()
    for step in range(30):
        windows = plan(step)
        assert len(windows) >= SETTINGS.min_windows
        assert sum(len(w.units) * sum(v.n_bins // 4 for v in w.views) for w in windows) <= SETTINGS.tokens_per_step
        for w in windows:
            assert len(w.units) == len(set(w.units.tolist())) == 8
            for view in w.views:
                assert 16 <= view.n_bins <= 64
                assert pieces.covers([view.start], [view.start + view.n_bins * w.bin_width])[0]
                used.add((w.bin_width, int(view.start // 10)))
    # Every bin width occurs, and every interval that holds a window.
    assert used == {(w, k) for w in (0.005, 0.025) for k in (0, 1, 3)}


def test_starts_lie_on_the_grid_of_a_coarse_recording(tmp_path, make_recording):
    store = Store(tmp_path / "store", create=True)
    trials = Interval(np.arange(1.0, 400, 4), np.arange(1.0, 400, 4) + 1.1)
    write_recording(store, make_recording(0, seconds=400.0, domain=trials, resolution=0.1))
    plan = plan_of(tmp_path / "store")
    for step in range(10):
        for w in plan(step):
            assert w.bin_width == 0.025  # four bins of 5 ms would be finer than the recording
            steps = np.array([(v.start - 1.0) % 4 / 0.1 for v in w.views])
            assert np.allclose(steps, np.rint(steps), atol=1e-6)


def test_views_stay_within_max_distance(small_store):
    plan = plan_of(small_store, spec=replace(SPEC, max_distance=2.0))
    distances = [abs(w.views[0].start - w.views[1].start) for step in range(20) for w in plan(step)]
    assert max(distances) <= 2.0 + 1e-9
    assert max(distances) > 1.0


def test_candidates_come_from_anywhere(small_store):
    plan = plan_of(small_store, spec=replace(SPEC, max_distance=2.0, candidates=1, max_tokens=10))
    windows = [w for step in range(20) for w in plan(step)]
    assert {len(w.views) for w in windows} == {3}
    assert max(abs(w.views[0].start - w.views[1].start) for w in windows) <= 2.0 + 1e-9
    assert max(abs(w.views[0].start - w.views[2].start) for w in windows) > 30.0


def test_recordings_are_drawn_by_size_to_a_power(tmp_path, make_recording):
    store = Store(tmp_path / "store", create=True)
    write_recording(store, make_recording(0, n_units=16, seconds=100.0))
    write_recording(store, make_recording(1, n_units=4, seconds=100.0))
    settings = replace(SETTINGS, weight_power=0.5)
    plan = plan_of(tmp_path / "store", settings)
    # The first window of a step is drawn before the budget matters.
    drawn = Counter(plan(step)[0].recording for step in range(1500))
    sizes = {r.id: r.n_units for r in plan._records}
    share = sum(n for name, n in drawn.items() if sizes[name] == 16) / 1500
    assert share == pytest.approx(2 / 3, abs=0.05)  # (16 / 4) ** 0.5 = 2 to 1


def test_processes_share_a_step_without_overlap(small_store):
    plan = plan_of(small_store)
    windows = sorted(map(repr, plan(3)))
    for world in (1, 2, 3):
        parts = [plan(3, rank, world) for rank in range(world)]
        assert sorted(repr(w) for part in parts for w in part) == windows
        assert {len(part) for part in parts} <= {len(windows) // world, -(-len(windows) // world)}


def test_process_draws_only_its_own_windows(small_store, monkeypatch):
    """With a thousand processes a step has tens of thousands of windows: each is drawn once, not a thousand times."""
    plan = plan_of(small_store, replace(SETTINGS, tokens_per_step=1 << 16, min_windows=50))
    drawn = []
    draw = StepPlan._draw
    monkeypatch.setattr(StepPlan, "_draw", lambda *asked: drawn.append(asked[-1]) or draw(*asked))
    whole = len(plan.outline(0))
    assert whole > 300  # more than one block of numbers
    share = plan(0, rank=3, world=50)
    assert len(share) == len(drawn) == pytest.approx(whole / 50, abs=1)
    assert [repr(plan(0)[n]) for n in drawn[: len(share)]] == [repr(w) for w in share]


def test_invalid_share_is_refused(small_store):
    for rank, world in ((2, 2), (-1, 2), (0, 5)):
        with pytest.raises(ConfigError, match="at most as many processes as min_windows, 4"):
            plan_of(small_store)(0, rank, world)


def test_recording_with_zero_chance_is_never_drawn(tmp_path, make_recording):
    """The last one is critical: sums of weights end a little below or above 1."""
    store = Store(tmp_path / "store", create=True)
    for seed in range(3):
        write_recording(store, make_recording(seed, seconds=100.0))
    write_recording(store, make_recording(3, seconds=100.0, resolution=50.0))  # no bin width is as coarse
    plan = plan_of(tmp_path / "store")
    last = [r.resolution == 50.0 for r in plan._records].index(True)
    assert plan.outline.cumulative_R.max() == 1.0
    assert np.searchsorted(plan.outline.cumulative_R, np.nextafter(1, 0), side="right") != last
    assert not any((plan.outline(step).recording_M == last).any() for step in range(50))


def test_segments_with_apart_never_overlap(small_store):
    """They may lie anywhere else in the recording, and anywhere at all if there is no room."""
    plan, alike = plan_of(small_store, spec=replace(SPEC, apart=True)), plan_of(small_store)
    overlaps, distance = {True: 0, False: 0}, []
    for step in range(30):
        for source in (plan, alike):
            for window in source(step):
                a, b = ((v.start, v.start + v.n_bins * window.bin_width) for v in window.views)
                overlaps[source is plan] += min(a[1], b[1]) - max(a[0], b[0]) > 1e-9
                distance.append(abs(a[0] - b[0]))
                assert all(
                    abs(v.start / window.bin_width - round(v.start / window.bin_width)) < 1e-6 for v in window.views
                )
    assert overlaps[True] == 0 < overlaps[False]
    assert max(distance) > 30
    tight = plan_of(
        small_store, replace(SETTINGS, bin_widths=[0.5]), replace(SPEC, apart=True, min_tokens=20, max_tokens=20)
    )
    a, b = tight(0)[0].views  # segments of 40 of 60 seconds
    assert abs(a.start - b.start) <= 20


def test_second_segment_has_another_condition(tmp_path, make_recording):
    store = Store(tmp_path / "store", create=True)
    starts = np.array([0.0, 20.0, 30.0])
    states = Interval(starts, np.array([20.0, 30.0, 50.0]), {"state": np.array(["wake", "nrem", "wake"])})
    write_recording(store, make_recording(0, seconds=60.0, intervals={"states": states}))
    spec = replace(SPEC, condition="states.state", max_tokens=8)
    plan, seen = plan_of(tmp_path / "store", spec=spec), set()

    def label(time):
        row = np.flatnonzero((states.start <= time) & (time < states.end))
        return str(states.columns["state"][row[0]]) if len(row) else ""

    for step in range(60):
        for window in plan(step):
            first, second = window.views
            where = [label(t) for t in (second.start + 1e-6, second.start + second.n_bins * window.bin_width - 1e-6)]
            middle = label(first.start + first.n_bins * window.bin_width / 2)
            assert not middle or middle not in where
            seen.add((middle, where[0]))
    assert seen >= {("wake", "nrem"), ("wake", ""), ("nrem", "wake"), ("nrem", ""), ("", "wake"), ("", "nrem")}
    other = plan_of(tmp_path / "store", spec=replace(SPEC, condition="trials.stimulus"))  # a missing table
    assert [w.views for w in other(0)] == [w.views for w in plan_of(tmp_path / "store")(0)]
    with pytest.raises(ConfigError, match="condition is 'states': expected the name of a table of intervals and"):
        ViewSpec(condition="states")


def test_windows_are_dealt_evenly(small_store):
    """All processes wait for the one with the most work."""
    outline = plan_of(small_store, replace(SETTINGS, tokens_per_step=1 << 15)).outline(0)
    cost_M = outline.cost_M
    owner_M = deal(cost_M, 16)
    dealt = np.bincount(owner_M, weights=cost_M)
    in_turn = np.array([cost_M[rank::16].sum() for rank in range(16)])
    assert dealt.max() / dealt.mean() < 1.05 < in_turn.max() / in_turn.mean()
    assert np.ptp(np.bincount(owner_M)) <= 1


def test_outlines_cover_all_possible_values(tmp_path, make_recording):
    """Recordings by their weights, fitting bin widths with equal chance, lengths with equal chance."""
    store = Store(tmp_path / "store", create=True)
    write_recording(store, make_recording(0, n_units=16, seconds=100.0))
    write_recording(store, make_recording(1, n_units=4, seconds=100.0))
    write_recording(store, make_recording(2, n_units=4, seconds=100.0, resolution=0.1))  # 5 ms would be too fine
    plan = plan_of(tmp_path / "store", replace(SETTINGS, weight_power=0.0))
    steps = [plan.outline(step) for step in range(600)]
    # The first windows of a step are drawn before the budget matters.
    recording, width, tokens = (
        np.concatenate([getattr(step, name)[:4] for step in steps]) for name in ("recording_M", "width_M", "tokens_MV")
    )
    assert np.bincount(recording) / len(recording) == pytest.approx([1 / 3] * 3, abs=0.04)
    coarse = int(np.flatnonzero([r.resolution == 0.1 for r in plan._records])[0])
    assert set(width[recording == coarse]) == {1}
    assert np.bincount(width[recording != coarse]) / (recording != coarse).sum() == pytest.approx([0.5, 0.5], abs=0.05)
    lengths = np.bincount(tokens.ravel())[4:]
    assert len(lengths) == 13
    assert lengths / lengths.sum() == pytest.approx([1 / 13] * 13, abs=0.02)


def test_recordings_with_too_few_units_are_not_drawn(tmp_path, make_recording, caplog):
    store = Store(tmp_path / "store", create=True)
    for seed, n_units in enumerate((16, 4, 7)):
        write_recording(store, make_recording(seed, n_units=n_units, seconds=100.0))
    plan = plan_of(tmp_path / "store", replace(SETTINGS, min_units=7))
    drawn = {window.recording for step in range(40) for window in plan(step)}
    assert drawn == {record.id for record in plan._records if record.n_units >= 7}
    by_units = plan_of(tmp_path / "store", replace(SETTINGS, weight_power=0.0, unit_power=1.0))
    shares_R = np.diff(by_units.outline.cumulative_R, prepend=0.0)
    assert shares_R.tolist() == pytest.approx([record.n_units / 27 for record in by_units._records])
    everything = plan_of(tmp_path / "store", replace(SETTINGS, min_units=17))
    assert "all recordings have fewer than min_units = 17 units" in caplog.text
    assert len({window.recording for step in range(40) for window in everything(step)}) == 3


def test_budget_does_not_reduce_the_share_of_large_populations(tmp_path, make_recording):
    """Two recordings with equal chances get half of the windows each, whatever their size."""
    store = Store(tmp_path / "store", create=True)
    write_recording(store, make_recording(0, n_units=64))
    write_recording(store, make_recording(1, n_units=2))
    settings = DataSettings(bin_widths=[0.025], tokens_per_step=8192, min_windows=4, max_units=64, weight_power=0.0)
    plan = plan_of(tmp_path / "store", settings, ViewSpec(views=1, min_tokens=16, max_tokens=16))
    large = int(np.argmax([r.n_units for r in plan._records]))
    taken = [plan.outline(step).recording_M for step in range(3000)]
    assert all(len(recording_M) >= 8 for recording_M in taken)
    assert max(int(plan.outline(step).cost_M.sum()) for step in range(100)) <= 8192
    windows = sum(map(len, taken))
    share = sum(int((recording_M == large).sum()) for recording_M in taken) / windows
    assert abs(share - 0.5) < 4 * np.sqrt(0.25 / windows)


def test_loader_follows_the_plan_for_any_prefetch(small_store):
    def batches(prefetch, first):
        settings = replace(SETTINGS, prefetch=prefetch)
        plan = plan_of(small_store, settings)
        loader = Loader(Catalog.open(Store(small_store)), plan)
        return {b.step: b.views for b in loader.steps(first, 6)}

    one, three, late = batches(1, 0), batches(3, 0), batches(2, 4)
    assert list(one) == list(three) == list(range(6))
    for step in (4, 5):
        for a, b in zip(one[step], late[step], strict=True):
            assert torch.equal(a.x_BNT, b.x_BNT)
            assert torch.equal(a.dt_B, b.dt_B)
    assert all(torch.equal(a.x_BNT, b.x_BNT) for step in one for a, b in zip(one[step], three[step], strict=True))


def test_step_has_at_most_one_process_per_window(small_store):
    with pytest.raises(ValueError, match="raise min_windows"):
        Loader(Catalog.open(Store(small_store)), plan_of(small_store), rank=0, world=5)


def test_mixed_recordings_keep_their_bin_width_and_kind(tmp_path, make_recording):
    store = Store(tmp_path / "store", create=True)
    write_recording(store, make_recording(0))
    values = np.random.default_rng(0).normal(size=(500, 3))
    write_recording(
        store,
        make_recording(
            1,
            n_units=3,
            spikes=None,
            units=make_recording(1, n_units=3).units,
            activity=RegularTimeSeries(values, 0.25),
            activity_kind="values",
            domain=Interval.single(0, 2000),
        ),
    )
    settings = replace(SETTINGS, bin_widths=[0.005, 1.0])
    catalog = Catalog.build(store)
    loader = Loader(catalog, StepPlan(catalog, settings, SPEC, bins_per_token=4, seed=0))
    seen = set()
    for batch in loader.steps(0, 40):
        view = batch.views[0]
        seen |= {(round(float(dt), 3), int(m)) for dt, m in zip(view.dt_B, view.modality_B, strict=True)}
        assert (view.x_BNT * ~view.mask_BN[:, :, None]).abs().sum() == 0
        assert (view.x_BNT * ~view.mask_BT[:, None, :]).abs().sum() == 0
    assert seen == {(0.005, 0), (1.0, 0), (1.0, 1)}


def test_invalid_settings_are_refused(small_store):
    with pytest.raises(ConfigError, match="tokens_per_step is 100"):
        plan_of(small_store, replace(SETTINGS, tokens_per_step=100))
    with pytest.raises(StoreError, match="none of the 4 recordings"):
        plan_of(small_store, replace(SETTINGS, bin_widths=[100.0]))
    with pytest.raises(ConfigError, match="bin_widths is \\[-1"):
        DataSettings(bin_widths=[-1.0])
    with pytest.raises(ConfigError, match="min_tokens is 5 and max_tokens 4"):
        ViewSpec(2, 5, 4)


def test_step_is_drawn_without_opening_a_recording(tmp_path, make_recording):
    """A thousand processes that each opened all recordings of a step would mostly wait for the store."""
    store = Store(tmp_path / "store", create=True)
    gaps = Interval([0.0, 30.0, 40.0], [20.0, 40.0, 55.25])
    for seed, domain in enumerate((None, gaps)):
        write_recording(store, make_recording(seed, **({} if domain is None else {"domain": domain})))
    catalog = Catalog.refresh(store)
    drawn = [plan_of(tmp_path / "store")(step) for step in range(20)]
    # Written by older software: the recordings are opened.
    catalog = Catalog(store, [replace(row, observed=None) for row in catalog.records])
    opened = [StepPlan(catalog, SETTINGS, SPEC, bins_per_token=4, seed=0)(step) for step in range(20)]
    shutil.rmtree(tmp_path / "store" / "recordings")
    closed = [plan_of(tmp_path / "store")(step) for step in range(20)]
    assert repr(closed) == repr(drawn) == repr(opened)
