import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from foundation.evaluation.controls import (
    all_turned,
    arrangements,
    by_laboratory,
    permuted,
    permuted_over_animals,
    turned,
    turns,
)
from foundation.evaluation.splits import TooLittleError, split_by_subject, split_by_time, split_units


def covers_each_sample_once(split, n: int) -> bool:
    return sorted(np.concatenate([f.test for f in split.folds]).tolist()) == list(range(n))


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2)), min_size=8, max_size=60), st.integers(2, 6))
def test_no_animal_is_on_both_sides(pairs, folds):
    subject = np.array([f"m{s}" for s, _ in pairs])
    y = np.array([c for _, c in pairs])
    if len(set(subject)) < 2:
        with pytest.raises(TooLittleError, match="two animals"):
            split_by_subject(subject, y, folds)
        return
    split = split_by_subject(subject, y, folds)
    assert covers_each_sample_once(split, len(y))
    for fold in split.folds:
        assert not set(subject[fold.train]) & set(subject[fold.test])


def test_animals_of_a_rare_class_are_spread_over_folds():
    subject = np.repeat([f"m{k}" for k in range(12)], 2)
    y = np.repeat([0] * 9 + [1] * 3, 2)
    split = split_by_subject(subject, y, 3)
    assert all((y[fold.test] == 1).any() for fold in split.folds)


@given(st.lists(st.floats(0, 500), min_size=12, max_size=60, unique=True), st.floats(0.5, 4), st.floats(0, 5))
def test_blocks_of_time_keep_their_gap(starts, length, gap):
    start = np.array(starts)
    end = start + length
    spaced = np.sort(start)
    thirds = np.array_split(spaced, 3)
    # Every block leaves training samples: the outer two are far enough from the middle one.
    assume(thirds[2][-1] - thirds[1][-1] > length + gap and thirds[1][0] - thirds[0][0] > length + gap)
    split = split_by_time(start, end, 3, gap)
    assert covers_each_sample_once(split, len(start))
    for fold in split.folds:
        for w in fold.test:
            apart = np.maximum(start[fold.train] - end[w], start[w] - end[fold.train])
            assert (apart >= gap - 1e-6).all()
        inside = np.sort(start[fold.test])
        others = np.setdiff1d(start, inside)
        assert not ((others > inside[0]) & (others < inside[-1])).any()  # a block, not a shuffle


def test_targets_that_cannot_be_split_are_refused():
    with pytest.raises(TooLittleError, match="folds is 5: expected at most 3"):
        split_by_time(np.arange(3.0), np.arange(3.0) + 1, 5, 0.0)
    with pytest.raises(TooLittleError, match="folds is 4"):
        split_units(np.array([0, 0, 1, 1]), 4, 0)


def test_controls_permute_the_labels():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 50)
    for other in (permuted(y, rng), turned(y, 3, 39)):
        assert sorted(other.tolist()) == y.tolist()
        assert (other != y).any()
    turns = [turned(np.arange(100), repeat, 9) for repeat in range(9)]
    assert all((np.diff(turn) == 1).sum() == 98 for turn in turns)  # the course of the series is kept
    assert sorted(int(turn[0]) for turn in turns) == list(range(10, 100, 10))


@pytest.mark.parametrize("n", [2, 8, 10, 19, 20, 21, 39, 40, 100])
def test_rotations_of_a_short_series_exclude_the_original(n):
    y = np.arange(n)
    for repeat in range(39):
        assert (turned(y, repeat, 39) != y).any()
    shuffles = {tuple(other.tolist()) for other in all_turned(y, 39)}
    assert len(shuffles) == len(all_turned(y, 39)) == min(39, n - 1)
    assert turns(y) == n


def test_periodic_series_is_rotated_within_its_period():
    y = np.tile([0, 0, 0, 1, 1], 20)
    assert turns(y) == 5
    assert len(all_turned(y, 39)) == 4
    assert all((other != y).any() for other in all_turned(y, 39))


def test_animals_with_one_class_exchange_labels_whole():
    subject = np.repeat(["a", "b", "c", "d"], [5, 3, 4, 6])
    y = np.concatenate([np.zeros(5), np.ones(3), np.zeros(4), [0, 0, 0, 1, 1, 2]]).astype(int)
    seen = set()
    for seed in range(40):
        dealt = permuted_over_animals(y, subject, np.random.default_rng(seed))
        whole = [set(dealt[subject == name].tolist()) for name in "abc"]
        assert sorted(map(tuple, whole)) == [(0,), (0,), (1,)]
        assert sorted(dealt[subject == "d"].tolist()) == [0, 0, 0, 1, 1, 2]
        seen.add(tuple(dealt.tolist()))
    assert arrangements(y, subject) == 3 * 60
    assert len(seen) > 20


def test_laboratory_alone_predicts_nested_labels():
    y = np.array([0, 0, 0, 1, 1])
    lab = np.array(["a", "a", "a", "b", "b"])
    assert by_laboratory(y, lab, np.array(["b", "a", "elsewhere"])).tolist() == [1, 0, 0]
