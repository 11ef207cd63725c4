"""Online sorting: known spikes, any block length, no use of later voltage."""

from dataclasses import replace

import numpy as np
import pytest
from known_voltage import make_voltage, recall
from scipy.signal import sosfilt

from foundation.common.errors import SourceError
from ingest.sorting.clustering import ClusterSettings
from ingest.sorting.online import CausalCleaner, OnlineSorter
from ingest.sorting.sort_settings import DetectionSettings, SortSettings
from ingest.sorting.sorting_run import sort_voltage
from ingest.sorting.spikes.filtering import clean_voltage

PCA = SortSettings(recipe="pca", clustering=ClusterSettings(max_units=6))
SIZES = [[150, 90, 30, 20], [40, 120, 70, 20], [30, 30, 110, 140]]


@pytest.fixture(scope="module")
def halves():
    """Return a tetrode at 24 kHz: half to learn from, half that arrives live."""
    made = make_voltage(7, seconds=30.0, rate=24_000.0, n_channels=4, sizes=SIZES)
    half = len(made.x_TC) // 2
    first = replace(made, x_TC=made.x_TC[:half], trains=[t[t < half] for t in made.trains])
    second = replace(made, x_TC=made.x_TC[half:], trains=[t[t >= half] - half for t in made.trains])
    return first, second, sort_voltage(first.voltage, PCA)


def run(halves, x_TC, block):
    first, _, sorting = halves
    sorter = OnlineSorter.learn(first.voltage, sorting, PCA)
    parts = [sorter.feed(x_TC[k : k + block]) for k in range(0, len(x_TC), block)]
    return np.concatenate([p.time_N for p in parts]), np.concatenate([p.unit_N for p in parts])


def test_known_spikes_are_labelled(halves):
    first, second, offline = halves
    time_N, unit_N = run(halves, second.x_TC, 24)
    assert len(time_N) == pytest.approx(sum(map(len, second.trains)), rel=0.02)
    for now, before in zip(second.trains, first.trains, strict=True):
        unit = max(range(offline.n_units), key=lambda u: recall(offline.train(u), before / first.rate, 5e-4))
        assert recall(time_N[unit_N == unit], now[now < len(second.x_TC) - 100] / second.rate, 5e-4) > 0.97


def test_blocks_of_any_size_give_the_same_spikes(halves):
    x_TC = halves[1].x_TC[:60_000]
    whole = run(halves, x_TC, 24)
    for block in (7, 500):
        other = run(halves, x_TC, block)
        assert abs(len(other[0]) - len(whole[0])) <= 2
        assert recall(other[0], whole[0][:-3], 1e-4) > 0.98


def test_labels_come_within_five_milliseconds_and_do_not_use_the_future(halves):
    first, second, sorting = halves
    sorter = OnlineSorter.learn(first.voltage, sorting, PCA)
    assert sorter.wait < 0.0035  # with a block of 1 ms and its computation: within 5 ms
    stop = 30_000
    changed = second.x_TC[:40_000].copy()
    changed[stop:] = 0.0
    seen, other = run(halves, second.x_TC[:40_000], 24), run(halves, changed, 24)
    before = stop / second.rate - sorter.wait - 0.001
    assert np.array_equal(seen[0][seen[0] < before], other[0][other[0] < before])
    # Each label is returned as soon as its wait is over.
    sorter = OnlineSorter.learn(first.voltage, sorting, PCA)
    late = []
    for k in range(0, stop, 24):
        late += (((k + 24) / second.rate) - sorter.feed(second.x_TC[k : k + 24]).time_N).tolist()
    assert max(late) < 0.0035
    assert min(late) > 0


def test_forward_filter_equals_scipy(halves):
    first = halves[0]
    clean = clean_voltage(first.voltage, PCA.filter, PCA.windows)
    cleaner = CausalCleaner(replace(clean, whitening_CC=None))
    found = np.concatenate([cleaner.feed(first.x_TC[k : k + 50]) for k in range(0, 5000, 50)])
    assert found == pytest.approx(sosfilt(clean.sos, first.x_TC[:5000] - clean.centre_C, axis=0), abs=1e-3)


def test_learning_needs_at_least_one_unit(halves):
    first = halves[0]
    nothing = sort_voltage(first.voltage, replace(PCA, detection=DetectionSettings(threshold=1000.0)))
    with pytest.raises(SourceError, match="the sorting has no units: expected at least one"):
        OnlineSorter.learn(first.voltage, nothing, PCA)
