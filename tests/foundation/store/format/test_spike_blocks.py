"""Arranging spikes in blocks, compared with sorting all of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.store.format.spike_blocks import gather, layout


def by_sorting(times, offsets_N, size):
    """The same result by three sorts."""
    n_spikes, n_units = len(times), len(offsets_N) - 1
    n_blocks = max(1, -(-n_spikes // size))
    in_time = np.argsort(times, kind="stable")
    block = np.empty(n_spikes, dtype=np.int64)
    block[in_time] = np.arange(n_spikes) // size
    place = block * n_units + np.repeat(np.arange(n_units), np.diff(offsets_N))
    counts = np.bincount(place, minlength=n_blocks * n_units).reshape(n_blocks, n_units)
    ends = np.cumsum(counts.reshape(-1)).reshape(n_blocks, n_units)
    starts = np.concatenate([[0], counts.sum(1).cumsum()[:-1]])
    edges = np.concatenate([times[in_time[::size]], times[in_time[-1:]]])
    return times[np.argsort(place, kind="stable")], edges, np.concatenate([starts[:, None], ends], axis=1)


# Few different times make many ties; powers crowd the spikes into the first slices.
trains = st.lists(
    st.lists(st.one_of(st.integers(0, 9).map(float), st.floats(0, 1e6)), max_size=40).map(sorted),
    min_size=1,
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(trains, st.integers(1, 20))
def test_blocks_equal_those_of_sorting(trains, size):
    times = np.concatenate([np.array(train, dtype=float) for train in trains])
    offsets_N = np.concatenate([[0], np.cumsum([len(train) for train in trains])])
    edges, offsets_KN = layout(times, offsets_N, size)
    if not len(times):
        assert edges.tolist() == [0.0, 0.0]
        assert offsets_KN.tolist() == [[0] * (len(trains) + 1)]
        return
    values, expected_edges, expected_KN = by_sorting(times, offsets_N, size)
    assert edges.tolist() == expected_edges.tolist()
    assert offsets_KN.tolist() == expected_KN.tolist()
    assert gather(times, offsets_N, offsets_KN).tolist() == values.tolist()


@pytest.mark.parametrize("power", [1, 8])
def test_spikes_crowded_in_time_are_arranged_too(power):
    rng = np.random.default_rng(0)
    trains = [np.sort(rng.uniform(0, 1, 3000) ** power) for _ in range(7)]
    times, offsets_N = np.concatenate(trains), np.arange(8) * 3000
    edges, offsets_KN = layout(times, offsets_N, 1024)
    values, expected_edges, expected_KN = by_sorting(times, offsets_N, 1024)
    assert np.array_equal(edges, expected_edges)
    assert np.array_equal(offsets_KN, expected_KN)
    assert np.array_equal(gather(times, offsets_N, offsets_KN), values)
