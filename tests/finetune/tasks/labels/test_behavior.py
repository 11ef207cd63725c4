"""Behaviour targets: trials and time bins that become samples, and those left out with a reason."""

import numpy as np
import pytest

from finetune.finetune_settings import WindowSettings
from finetune.tasks.labels import behavior
from finetune.tasks.task import Sources
from foundation.data.reading.reader import ReaderCache
from foundation.store import (
    Catalog,
    Interval,
    IrregularTimeSeries,
    Recording,
    Source,
    Spikes,
    Store,
    Subject,
    Units,
    write_recording,
)

FOLDS = 3


@pytest.fixture
def sources(tmp_path):
    """Return a function from directions and lengths of trials, one every 2 s, to the sources of a store with them."""

    def build(directions, lengths=None, velocity=None, folds=FOLDS):
        count = len(directions)
        start = 2.0 * np.arange(count)
        trials = Interval(start, start + (np.full(count, 1.0) if lengths is None else np.asarray(lengths)))
        trials.columns["direction"] = np.asarray(directions, dtype=np.float64)
        end = max(2.0 * count, 4.0)
        times = np.arange(0.0, end, 0.02)
        series = {} if velocity is None else {"velocity": IrregularTimeSeries(times, velocity(times), "cm/s")}
        recording = Recording(
            Source("a.nwb", "0" * 64), Subject("m"), "s", Units(2), Interval.single(0.0, end),
            spikes=Spikes.from_trains([np.arange(0.0, end, 0.1), np.arange(0.0, end, 0.3)]),
            intervals={"trials": trials}, behavior=series,
        )  # fmt: skip
        store = Store(str(tmp_path / "store"), create=True)
        write_recording(store, recording)
        catalog = Catalog.build(store)
        return Sources(catalog, ReaderCache(catalog), WindowSettings(), 2, 2, folds=folds, seed=0)

    return build


def only(found):
    """Return the only problem."""
    assert found.failed == []
    (problem,) = found.problems
    return problem


def test_directions_that_differ_by_full_turns_are_one_class(sources):
    labels = only(behavior.find(sources([0.0, np.pi, 2 * np.pi, -np.pi] * 2))).labels
    assert labels.classes == ("0°", "180°")
    assert labels.y_S.tolist() == [0, 1] * 4


def test_trial_without_a_direction_is_not_a_sample(sources):
    problem = only(behavior.find(sources([0.0, np.nan, np.pi] * 4)))
    assert len(problem.labels.y_S) == 8
    assert problem.cluster_name == "trials"
    assert len(set(problem.cluster_S.tolist())) == 8


def test_direction_with_fewer_trials_than_folds_is_left_out_and_named(sources):
    problem = only(behavior.find(sources([0.0] * 4 + [np.pi] * 4 + [np.pi / 2] * 2)))
    assert problem.labels.classes == ("0°", "180°")
    assert any("direction 90° is left out: 2 trials, fewer than the 3 folds" in note for note in problem.labels.notes)


def test_one_short_trial_does_not_shorten_all(sources):
    count = 40
    lengths = np.full(count, 1.0)
    lengths[5] = 0.2
    problem = only(behavior.find(sources([0.0, np.pi] * (count // 2), lengths)))
    assert len(problem.labels.y_S) == count - 1
    assert "1 trials shorter than 1 s are left out" in problem.labels.notes
    assert "the first 1 s of each trial" in problem.labels.notes


@pytest.mark.parametrize(
    ("directions", "reason"),
    [
        ([0.0, np.pi] * 2, "4 trials with a direction, fewer than two a fold"),
        ([0.0] * 8, "fewer than two directions have a trial for each fold"),
        (np.linspace(0, 6, 40), "40 different directions are no classes (at most 32)"),
    ],
)
def test_undecodable_recordings_are_skipped_with_the_reason(sources, directions, reason):
    found = behavior.find(sources(directions))
    assert found.problems == []
    assert any(reason in skipped for skipped in found.skipped), found.skipped


def test_velocity_is_read_at_the_middle_of_each_token_inside_trials(sources):
    given = sources([np.nan] * 8, velocity=lambda t: np.stack([t, -2 * t], axis=1))
    problem = only(behavior.find(given))
    token = given.windows.behavior_token
    assert problem.labels.value_names == ("velocity x (cm/s)", "velocity y (cm/s)")
    assert problem.labels.y_S.shape == (80, 2)  # 8 trials of 1 s
    middle = 2.0 * np.repeat(np.arange(8), 10) + (np.tile(np.arange(10), 8) + 0.5) * token
    np.testing.assert_allclose(problem.labels.y_S[:, 0], middle, atol=0.02)
    np.testing.assert_allclose(problem.labels.y_S[:, 1], -2 * problem.labels.y_S[:, 0])
    assert set(np.unique(problem.cluster_S)) == set(range(8))


def test_constant_dimension_is_left_out_and_named(sources):
    given = sources([np.nan] * 8, velocity=lambda t: np.stack([t, np.ones_like(t)], axis=1))
    labels = only(behavior.find(given)).labels
    assert labels.value_names == ("velocity x (cm/s)",)
    assert any("1 dimensions that never change are left out" in note for note in labels.notes)


def test_no_trial_is_on_both_sides_of_a_split(sources):
    problem = only(behavior.find(sources([np.nan] * 9, velocity=lambda t: np.sin(t)[:, None])))
    split = problem.split(FOLDS, seed=0)
    problem.check(split)
    for fold in split.folds:
        assert not set(problem.cluster_S[fold.train].tolist()) & set(problem.cluster_S[fold.test].tolist())
    assert sorted(np.concatenate([fold.test for fold in split.folds]).tolist()) == list(range(len(problem.labels.y_S)))
