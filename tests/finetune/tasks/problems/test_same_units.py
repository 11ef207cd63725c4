"""A neuron that is in the store twice is rejected if it would be on both sides of a split."""

import numpy as np
import pytest

from finetune.tasks.problems.decoding_task import Labels
from finetune.tasks.problems.same_units import samples_shared
from finetune.tasks.problems.unit_task import UnitProblem
from foundation.common.errors import StoreError
from foundation.store import (
    VALUES,
    Catalog,
    Interval,
    Recording,
    RegularTimeSeries,
    Source,
    Spikes,
    Store,
    Subject,
    Units,
    write_recording,
)

N = 8


def problem(tmp_path, *recordings):
    store = Store(tmp_path / "store", create=True)
    for recording in recordings:
        write_recording(store, recording)
    stored = list(Catalog.build(store))
    assert len(stored) == len(recordings)
    return UnitProblem(
        Labels("cell_type", "all", "Cell type", np.arange(len(stored) * N) % 2, classes=("a", "b")),
        stored,
        np.repeat(np.arange(len(stored)), N),
        np.tile(np.arange(N), len(stored)),
        readers=None,
        bin_width=0.1,
        n_bins=1,
        bins_per_token=1,
        windows=1,
        seed=0,
    )


def check(made):
    made.check(made.split(4, 0))


def recording(make_recording, seed, session="1", subject="mouse", digest=None, spikes=None):
    made = make_recording(seed, n_units=N, seconds=20.0)
    return make_recording(
        seed,
        n_units=N,
        seconds=20.0,
        source=Source(path=f"{digest or seed}.nwb", digest=str(digest or seed).rjust(64, "0")),
        subject=Subject(subject),
        session=session,
        units=Units(N, {"id": np.arange(N)}),
        spikes=spikes or made.spikes,
    )


def thinned(spikes, rng):
    return Spikes.from_trains([t[rng.random(len(t)) < 0.9] for t in (spikes.train(n) for n in range(N))])


def test_copied_file_is_rejected(make_recording, tmp_path):
    with pytest.raises(StoreError, match=r"unit . of .*nwb and unit . of .*nwb are the same neuron"):
        check(problem(tmp_path, recording(make_recording, 1), recording(make_recording, 1, digest=7)))


@pytest.mark.parametrize("session", ["1", "another"])
def test_copy_under_another_animal_is_rejected(make_recording, tmp_path, session):
    copy = recording(make_recording, 1, session=session, subject="other", digest=7)
    with pytest.raises(StoreError, match="same neuron"):
        check(problem(tmp_path, recording(make_recording, 1), copy))


def test_altered_copy_is_rejected(make_recording, tmp_path):
    first = recording(make_recording, 1)
    changed = recording(make_recording, 1, digest=7, spikes=thinned(first.spikes, np.random.default_rng(0)))
    with pytest.raises(StoreError, match="same neuron"):
        check(problem(tmp_path, first, changed))


def test_two_probes_with_equal_unit_numbers_are_accepted(make_recording, tmp_path):
    check(problem(tmp_path, recording(make_recording, 1), recording(make_recording, 2)))


def test_other_sessions_and_animals_are_accepted(make_recording, tmp_path):
    others = [recording(make_recording, k, session=str(k), subject=f"mouse{k % 2}") for k in range(1, 4)]
    check(problem(tmp_path, *others))


def sampled(subject, activity_TN):
    return Recording(
        source=Source(path=f"{subject}.nwb", digest=subject.rjust(64, "0")),
        subject=Subject(subject),
        session="1",
        domain=Interval.single(0.0, len(activity_TN) / 10.0),
        units=Units(N, {"id": np.arange(N)}),
        activity=RegularTimeSeries(activity_TN, 10.0),
        activity_kind=VALUES,
    )


def activities(unit):
    """Return noise of two animals that share one unit."""
    first, second = np.random.default_rng(0).normal(size=(2, 200, N))
    first[:, 3] = second[:, 3] = unit
    return first, second


@pytest.mark.parametrize("level", [np.nan, 0.0])
def test_units_of_nan_are_not_one_neuron(tmp_path, level):
    nothing = np.full(200, level)
    nothing[50:80] = np.nan
    first, second = activities(nothing)
    check(problem(tmp_path, sampled("a", first), sampled("b", second)))


def test_copied_samples_with_nan_are_rejected(tmp_path):
    signal = np.random.default_rng(1).normal(size=200)
    signal[50:80] = np.nan
    first, second = activities(signal)
    with pytest.raises(StoreError, match=r"unit 3 of .\.nwb and unit 3 of .\.nwb are the same neuron"):
        check(problem(tmp_path, sampled("a", first), sampled("b", second)))


def test_samples_are_shared_where_both_are_finite():
    rng = np.random.default_rng(2)
    x = np.where(np.arange(100) < 60, 0.0, rng.normal(size=100))
    gaps = np.where(rng.random(100) < 0.3, np.nan, x)
    assert samples_shared(gaps, gaps) == samples_shared(gaps, x) == 1.0
    assert samples_shared(np.full(100, np.nan), np.full(100, np.nan)) == 0.0
