"""Labels of sorted units: single units are good, small or mixed ones are multi-unit activity."""

from dataclasses import replace

import numpy as np
import pytest
from known_voltage import make_voltage, pair_up

from ingest.sorting.clustering import ClusterSettings
from ingest.sorting.sort_settings import MatchingSettings, SortSettings
from ingest.sorting.sorted_units import contamination, is_contaminated
from ingest.sorting.sorting_run import sort_voltage

PCA = SortSettings(recipe="pca", clustering=ClusterSettings(max_units=6))


def train(rate, seconds, seed, refractory=0.003):
    gaps = refractory + np.random.default_rng(seed).exponential(1 / rate - refractory, int(rate * seconds * 2))
    time_N = np.cumsum(gaps)
    return time_N[time_N < seconds]


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_contamination_is_the_share_of_foreign_spikes(share):
    seconds = 3000.0
    own = train(20 * (1 - share), seconds, 0)
    others = np.random.default_rng(1).uniform(0, seconds, int(20 * share * seconds))
    mixed = np.sort(np.concatenate([own, others]))
    assert contamination(mixed, seconds) == pytest.approx(share, abs=0.05)
    assert is_contaminated(mixed, seconds) == (share > 0.1)


def test_few_spikes_without_a_short_interval_are_not_evidence():
    assert contamination(train(1.0, 60.0, 2), 60.0) == 0.0
    assert not is_contaminated(np.zeros(0), 60.0)


def test_single_units_are_good_and_two_neurons_in_one_are_not(sorted_tetrode):
    assert set(sorted_tetrode.labels()) == {"good"}
    both = replace(sorted_tetrode, unit_N=np.zeros(len(sorted_tetrode), dtype=int)).part(np.array([0]))
    assert both.labels().tolist() == ["mua"]


def test_unit_just_above_the_noise_is_multi_unit_activity():
    made = make_voltage(7, seconds=60.0, n_channels=1, sizes=[[42.0], [150.0]])
    sorting = sort_voltage(made.voltage, PCA)
    labels = [str(sorting.labels()[unit]) for unit, _, _ in pair_up(sorting, made)]
    assert labels == ["mua", "good"]


def test_small_unit_on_four_channels_is_found():
    made = make_voltage(8, seconds=40.0, n_channels=4, sizes=[[24.0] * 4])
    found = {}
    for threshold in (3.0, 4.0):
        settings = replace(PCA, matching=MatchingSettings(threshold=threshold))
        found[threshold] = pair_up(sort_voltage(made.voltage, settings), made)[0]
    assert found[3.0][1] > 0.9 > found[4.0][1]
    assert found[3.0][2] > 0.95
