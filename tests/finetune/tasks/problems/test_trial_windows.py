"""Windows of whole tokens inside trials, and over all observed time."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from finetune.tasks.problems.trial_windows import block_windows, cut_windows, observed_trials, trial_windows
from foundation.store import Interval

TOKEN = 0.1


@given(
    st.lists(st.tuples(st.floats(0.0, 5.0), st.floats(0.01, 7.0)), min_size=1, max_size=6),
    st.integers(1, 12),
)
def test_windows_fill_each_piece_without_overlap(gaps_and_lengths, max_tokens):
    starts, ends, at = [], [], 0.0
    for gap, length in gaps_and_lengths:
        starts.append(at + gap)
        ends.append(at + gap + length)
        at = ends[-1]
    pieces = Interval(np.array(starts), np.array(ends))
    start_W, tokens_W, piece_W = cut_windows(pieces, TOKEN, max_tokens)
    end_W = start_W + tokens_W * TOKEN
    assert (tokens_W >= 1).all()
    assert (tokens_W <= max_tokens).all()
    assert (start_W >= pieces.start[piece_W] - 1e-9).all()
    assert (end_W <= pieces.end[piece_W] + 1e-6).all()
    assert (start_W[1:] >= end_W[:-1] - 1e-6).all()
    for piece in range(len(pieces)):
        left = (ends[piece] - starts[piece]) - tokens_W[piece_W == piece].sum() * TOKEN
        assert left < TOKEN + 1e-6  # a rest shorter than a token is dropped
        sizes = tokens_W[piece_W == piece]
        assert not len(sizes) or sizes.max() - sizes.min() <= 1


def test_trial_that_overlaps_another_begins_at_its_end():
    trials = Interval(np.array([0.0, 1.0, 1.5]), np.array([2.0, 3.0, 1.8]))
    pieces, trial = observed_trials(trials, Interval.single(0.0, 10.0))
    assert pieces.start.tolist() == [0.0, 2.0]
    assert pieces.end.tolist() == [2.0, 3.0]
    assert trial.tolist() == [0, 1]


def test_unobserved_time_splits_a_trial():
    trials = Interval(np.array([0.0]), np.array([10.0]))
    pieces, trial = observed_trials(trials, Interval(np.array([0.0, 6.0]), np.array([4.0, 20.0])))
    assert pieces.start.tolist() == [0.0, 6.0]
    assert pieces.end.tolist() == [4.0, 10.0]
    assert trial.tolist() == [0, 0]
    windows = trial_windows(trials, Interval(np.array([0.0, 6.0]), np.array([4.0, 20.0])), TOKEN, 10)
    assert windows.tokens_W.sum() == 80
    assert set(windows.part_W.tolist()) == {0}


def test_windows_over_all_time_are_even_and_in_contiguous_parts():
    windows = block_windows(Interval.single(0.0, 1000.0), TOKEN, 10, max_tokens=500, blocks=5)
    assert 450 <= windows.tokens_W.sum() <= 550
    assert windows.start_W[0] == 0.0
    assert windows.start_W[-1] > 980.0
    assert (np.diff(windows.part_W) >= 0).all()
    assert np.bincount(windows.part_W).tolist() == [10] * 5
