"""Bad spikes: corrected and counted, or refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.common.errors import SourceError
from foundation.store import Interval
from foundation.store.format.finite import LARGEST
from ingest.nwb.spikes.spike_times import clean_trains, count_outside
from ingest.quality.read_counts import Quality

BAD = {
    "unsorted": ([1.0, 3.0, 2.0], [1.0, 2.0, 3.0], "units_sorted", 1, "not sorted"),
    "nan": ([1.0, np.nan, 2.0, np.nan], [1.0, 2.0], "spikes_dropped_nan", 2, "2 spike times that are NaN"),
    "negative": ([-0.5, 1.0], [1.0], "spikes_dropped_out_of_range", 1, "negative or infinite"),
    "infinite": ([1.0, np.inf], [1.0], "spikes_dropped_out_of_range", 1, "negative or infinite"),
}


def clean(trains, strict=False):
    quality = Quality()
    bounds = np.concatenate([[0], np.cumsum([len(t) for t in trains])])
    return clean_trains(
        np.concatenate([np.asarray(t, float) for t in trains]), bounds, quality, strict
    ), quality.found()


@pytest.mark.parametrize("kind", BAD)
def test_bad_spikes_are_corrected_and_counted(kind):
    given_, expected, key, number, _ = BAD[kind]
    spikes, quality = clean([[0.1, 0.2], given_, []])
    assert spikes.train(1).tolist() == expected
    assert spikes.train(0).tolist() == [0.1, 0.2]
    assert spikes.n_units == 3
    assert quality == {key: number}


@pytest.mark.parametrize("kind", BAD)
def test_strict_refuses_and_names_unit_and_fault(kind):
    given_, *_, message = BAD[kind]
    with pytest.raises(SourceError, match=f"unit 1 .*{message}|{message}.* unit 1|unit 1 are {message}"):
        clean([[0.1, 0.2], given_, []], strict=True)


def test_good_trains_pass_strict_bit_for_bit():
    train = np.array([0.0, 1 / 3, 1 / 3, 2 / 3])  # a doubled time is sorted
    spikes, quality = clean([train], strict=True)
    assert spikes.train(0).tobytes() == train.tobytes()
    assert not quality


@given(st.lists(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=20), min_size=1, max_size=5))
def test_result_is_the_valid_part_of_the_input(trains):
    spikes, quality = clean(trains)
    for unit, train in enumerate(trains):
        good = sorted(t for t in train if 0 <= t <= LARGEST)
        assert spikes.train(unit).tolist() == good
    dropped = quality.get("spikes_dropped_nan", 0) + quality.get("spikes_dropped_out_of_range", 0)
    assert dropped + len(spikes) == sum(map(len, trains))


def test_ends_of_observation_count_as_inside():
    observed = Interval([0.0, 5.0], [1.0, 6.0])
    assert count_outside(np.array([0.0, 1.0, 1.1, 4.9, 5.0, 6.0, 6.1]), observed) == 3
    assert count_outside(np.array([1.0]), Interval([], [])) == 1
