"""Positions, frequencies and order of windows."""

import numpy as np
import pytest
from scipy import stats

from foundation.common.errors import ConfigError
from foundation.data import BlockSampler, FixedSampler, LabelSampler, RandomSampler, TrialSampler
from foundation.data.samplers.intervals import clipped
from foundation.data.samplers.sampler import WindowSampler
from foundation.data.shuffle_quality import distance_from_uniform, places_in_batches
from foundation.store import Interval

PIECES = {"a": Interval([0.0, 50.0], [10.0, 90.0]), "b": Interval([5.0, 20.0], [5.5, 40.0])}
BLOCKS = {"a": Interval(np.arange(0.0, 90, 9), np.arange(9.0, 99, 9)), "b": Interval([5.0, 24.0], [24.0, 40.0])}
STATES = {
    "a": Interval([0.0, 10.0, 30.0], [10.0, 30.0, 31.0], {"state": np.array(["wake", "nrem", "rem"])}),
    "b": Interval([0.0, 100.0], [100.0, 103.0], {"state": np.array(["wake", ""])}),
}
FAST = {"duration": 1.0, "bin_width": 0.1, "seed": 3}


def all_samplers() -> list[WindowSampler]:
    return [
        RandomSampler(intervals=PIECES, **FAST),
        RandomSampler(intervals=PIECES, weights={"a": 1.0, "b": 3.0}, grid=0.25, **FAST),
        FixedSampler(intervals=PIECES, **FAST),
        FixedSampler(intervals=PIECES, shuffle=True, jitter=True, **FAST),
        TrialSampler(trials=STATES, offset=0.2, shuffle=True, domain=PIECES, **FAST),
        LabelSampler(intervals=STATES, column="state", **FAST),
        BlockSampler(intervals=PIECES, blocks=BLOCKS, buffer=2, **FAST),
        BlockSampler(intervals=PIECES, blocks=BLOCKS, buffer=3, jitter=True, grid=0.05, **FAST),
    ]


@pytest.mark.parametrize("k", range(8))
def test_part_of_the_sequence_equals_the_whole(k):
    sampler, again = all_samplers()[k], all_samplers()[k]
    assert isinstance(sampler, WindowSampler)
    whole = sampler.windows(0, 500)
    for first, last in ((420, 500), (0, 1), (33, 190), (190, 191)):
        part = again.windows(first, last)
        for name in ("recording_B", "start_B", "n_bins_B", "width_B", "label_B"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[first:last])
    assert len(sampler.windows(7, 7)) == 0


@pytest.mark.parametrize("k", range(8))
def test_windows_lie_in_one_interval(k):
    sampler = all_samplers()[k]
    table = sampler.windows(0, 2000)
    where = STATES if isinstance(sampler, LabelSampler) else PIECES
    for r, name in enumerate(sampler.recordings):
        mine = table.recording_B == r
        start = table.start_B[mine] / 1e9
        end = start + 1.0
        rows = where[name]
        inside = (start[:, None] >= rows.start - 1e-9) & (end[:, None] <= rows.end + 1e-9)
        assert inside.any(axis=1).all()
        if isinstance(sampler, LabelSampler):
            labels = rows.columns["state"][inside.argmax(axis=1)]
            assert labels.tolist() == [sampler.labels[c] for c in table.label_B[mine]]
    assert (table.n_bins_B * table.width_B == 1_000_000_000).all()


def test_random_starts_are_uniform():
    sampler = RandomSampler(intervals=PIECES, **FAST)
    table = sampler.windows(0, 20_000)
    # All possible starts laid end to end: 9 s and 39 s of a, 19 s of b; half a second is too short for a window.
    start = table.start_B / 1e9
    place = np.where(table.recording_B == 1, 48 + start - 20, np.where(start < 45, start, 9 + start - 50))
    assert stats.kstest(place / 67, "uniform").pvalue > 1e-3
    seeds = RandomSampler(intervals=PIECES, **(FAST | {"seed": 4})).windows(0, 20_000)
    assert (seeds.start_B != table.start_B).mean() > 0.99


def test_weights_set_recordings_and_grid_sets_starts():
    sampler = RandomSampler(intervals=PIECES, weights={"a": 1.0, "b": 3.0}, grid=0.25, **FAST)
    table = sampler.windows(0, 20_000)
    assert (table.recording_B == 1).mean() == pytest.approx(0.75, abs=0.015)
    steps = np.where(table.recording_B == 1, table.start_B - 20e9, table.start_B) / 0.25e9
    assert (steps == np.rint(steps)).all()
    assert len(np.unique(table.start_B[table.recording_B == 1])) == 19 * 4 + 1


@pytest.mark.parametrize("jitter", [False, True])
def test_epoch_of_fixed_windows_has_each_once_without_overlap(jitter):
    sampler = FixedSampler(intervals=PIECES, shuffle=True, jitter=jitter, **FAST)
    assert len(sampler) == (9 + 39 + 19 if jitter else 10 + 40 + 20)
    epochs = [sampler.windows(e * len(sampler), (e + 1) * len(sampler)) for e in range(2)]
    for table in epochs:
        order = np.lexsort((table.start_B, table.recording_B))
        gap = np.diff(table.start_B[order])[np.diff(table.recording_B[order]) == 0]
        assert (gap >= 1_000_000_000).all()
    first, second = (set(zip(t.recording_B.tolist(), t.start_B.tolist(), strict=True)) for t in epochs)
    assert (first == second) is not jitter
    assert epochs[0].start_B.tolist() != epochs[1].start_B.tolist()  # another order
    plain = FixedSampler(intervals=PIECES, stride=0.5, **FAST).windows(0, 19).start_B / 1e9
    assert plain.tolist() == [k / 2 for k in range(19)]


def test_trials_are_cut_at_their_event_and_only_where_observed():
    trials = {
        "a": Interval([1.0, 4.0, 8.5, 60.0], [2.0, 5.0, 9.9, 61.0], {"cue": np.array([1.5, np.nan, 9.4, 60.25])}),
        "b": Interval([20.0], [21.0], {"cue": np.array([20.0])}),
    }
    sampler = TrialSampler(trials=trials, column="cue", offset=-0.25, domain=PIECES, **FAST)
    table = sampler.windows(0, len(sampler))
    # Trial 1 of a has no cue; windows of its trial 2 and of b's trial extend beyond the observed time.
    assert (table.start_B / 1e9).tolist() == [1.25, 60.0]
    assert table.label_B.tolist() == [0, 3]
    assert sampler.left_out == 3
    with pytest.raises(ConfigError, match="no column 'go' of times; columns of numbers: start, end, cue"):
        TrialSampler(trials=trials, column="go", **FAST)


def test_labels_are_balanced_or_weighted_by_time():
    balanced = LabelSampler(intervals=STATES, column="state", **FAST)
    assert balanced.labels == ("nrem", "rem", "wake")
    share = np.bincount(balanced.windows(0, 9000).label_B) / 9000
    np.testing.assert_allclose(share, 1 / 3, atol=0.02)
    by_time = LabelSampler(intervals=STATES, column="state", balance=False, labels=["wake", "nrem"], **FAST)
    share = np.bincount(by_time.windows(0, 9000).label_B) / 9000
    np.testing.assert_allclose(share, np.array([9 + 99, 19]) / 127, atol=0.02)
    with pytest.raises(ConfigError, match="no interval with state sleep"):
        LabelSampler(intervals=STATES, column="state", labels=["wake", "sleep"], **FAST)
    with pytest.raises(ConfigError, match="no column 'stage'; columns: state"):
        LabelSampler(intervals=STATES, column="stage", **FAST)


@pytest.mark.parametrize("jitter", [False, True])
def test_epoch_of_blocks_has_each_window_once_and_few_blocks_at_a_time(jitter):
    intervals = {"a": Interval([0.0], [1000.0]), "b": Interval([0.0], [500.0])}
    blocks = {
        n: Interval(np.arange(0.0, i.end[0], 20), np.arange(20.0, i.end[0] + 20, 20)) for n, i in intervals.items()
    }
    sampler = BlockSampler(intervals=intervals, blocks=blocks, buffer=5, jitter=jitter, **FAST)
    n = len(sampler)
    # The first window of a segment (except the first) starts just after its border, so 19 of 20 fit.
    assert n == (18 * 73 + 2 * 19 if jitter else 19 * 73 + 2 * 20)
    assert sampler.left_out == pytest.approx(1 - n / 1500)
    for epoch in range(2):
        table = sampler.windows(epoch * n, (epoch + 1) * n)
        order = np.lexsort((table.start_B, table.recording_B))
        gap = np.diff(table.start_B[order])[np.diff(table.recording_B[order]) == 0]
        assert (gap >= 1_000_000_000).all()
        first, last = table.start_B // 20_000_000_000, (table.start_B + 999_999_999) // 20_000_000_000
        np.testing.assert_array_equal(first, np.where(table.start_B % 20_000_000_000, last, first))
        block = table.recording_B * 1000 + first
        runs = [len(set(block[k : k + 5 * 18].tolist())) for k in range(0, n - 5 * 18, 5 * 18)]
        assert max(runs) <= 10  # two buffers at most
        assert np.mean(runs) > 5
        seen = [np.flatnonzero(block == b) for b in np.unique(block)]
        assert max(np.ptp(s) for s in seen) < 5 * 20  # a block is in one buffer only
    one = sampler.windows(0, n).start_B
    assert one.tolist() != sampler.windows(n, 2 * n).start_B.tolist()


def test_distance_from_a_uniform_order():
    intervals = {str(k): Interval([0.0], [2000.0]) for k in range(4)}
    blocks = {n: Interval(np.arange(0.0, 2000, 50), np.arange(50.0, 2050, 50)) for n in intervals}
    by_time = FixedSampler(intervals=intervals, **FAST)
    shuffled = FixedSampler(intervals=intervals, shuffle=True, **FAST)
    distance = {}
    for buffer in (1, 16, 160):
        sampler = BlockSampler(intervals=intervals, blocks=blocks, buffer=buffer, **FAST)
        table = sampler.windows(0, len(sampler))
        distance[buffer] = distance_from_uniform(table)
        found, uniform = places_in_batches(table, 64, 50.0)
        assert uniform == pytest.approx(160 * (1 - (1 - 1 / 160) ** 64), rel=0.03)
        # A batch holds windows of the buffer's blocks, and at the buffer's end also of the next one's.
        assert found <= min(2 * max(buffer, 2), uniform + 1)
    assert distance_from_uniform(by_time.windows(0, len(by_time))) == 1
    assert distance_from_uniform(shuffled.windows(0, len(shuffled))) < 0.03
    assert distance[1] > 0.9 > distance[160]
    assert distance[160] < 0.05
    assert distance[1] > distance[16] > distance[160]


def test_short_blocks_are_joined():
    blocks = {"a": Interval(np.arange(0.0, 100), np.arange(1.0, 101))}
    sampler = BlockSampler(intervals={"a": Interval([0.0], [100.0])}, blocks=blocks, buffer=1, **FAST)
    assert len(sampler) >= 90


def test_pieces_of_states_keep_their_label():
    pieces = clipped(STATES["a"], Interval([5.0, 25.0], [20.0, 40.0]))
    assert pieces.start.tolist() == [5.0, 10.0, 25.0, 30.0]
    assert pieces.end.tolist() == [10.0, 20.0, 30.0, 31.0]
    assert pieces.columns["state"].tolist() == ["wake", "nrem", "nrem", "rem"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"duration": 0.55}, "expected a whole number of bins"),
        ({"duration": -1.0}, "duration is -1.0"),
        ({"bin_width": 0.0}, "bin_width is 0.0"),
        ({"duration": 1000.0}, "no interval holds a window of 1000 s"),
        ({"grid": 0.0}, "grid is 0.0"),
        ({"weights": {"a": 1.0}}, "weights has no entry for b"),
        ({"weights": {"a": 0.0, "b": -1.0}}, "weights: expected finite numbers of 0 or more"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_invalid_settings_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        RandomSampler(intervals=PIECES, **(FAST | changes))
