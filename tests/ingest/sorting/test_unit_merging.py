"""Parts of one unit are merged; neurons that only share a shape are not."""

import numpy as np
import pytest

from ingest.sorting.templates.unit_merging import likeness, merges
from ingest.sorting.templates.unit_templates import NoiseModel, Templates

WAVE = -np.exp(-0.5 * (np.arange(-20, 28) / 3.0) ** 2) + 0.4 * np.exp(-0.5 * ((np.arange(-20, 28) - 9) / 5.0) ** 2)


def templates(sizes_UC, spikes=400):
    """Return templates of one shape with these amplitudes in microvolts on each channel."""
    mean_UPML = (np.array(sizes_UC, dtype=np.float32)[:, None, :, None] * WAVE).astype(np.float32)
    n_units, _, n_channels, _ = mean_UPML.shape
    channels_UM = np.tile(np.arange(n_channels), (n_units, 1))
    counts = np.full(n_units, spikes)
    return Templates(mean_UPML, channels_UM, np.zeros(n_units, dtype=int), np.full(n_units, 0.1), counts, 20, 10**6)


def noise(channels):
    return NoiseModel(np.eye(9)[0], np.full(channels, 10.0))


def one_neuron_cut_in_two(seed=0):
    """Return spikes of one neuron with a refractory period, split into two units."""
    rng = np.random.default_rng(seed)
    time_N = np.cumsum(0.004 + rng.exponential(0.05, 800))
    first_N = rng.random(800) < 0.5
    return [time_N[first_N], time_N[~first_N]]


@pytest.mark.parametrize("channels", [1, 4])
def test_neuron_split_by_clustering_is_merged(channels):
    cut = templates([[100.0] * channels, [103.0] * channels])
    assert len(set(merges(cut, one_neuron_cut_in_two(), noise(channels), 0.95, 0.0005).tolist())) == 1


def test_amplitude_separates_units_of_one_shape_on_one_channel():
    apart = templates([[100.0], [80.0]])
    assert merges(apart, one_neuron_cut_in_two(), noise(1), 0.95, 0.0005).tolist() == [0, 1]


def test_units_that_break_each_other_s_refractory_period_stay_two():
    rng = np.random.default_rng(1)
    trains = [np.sort(rng.uniform(0, 40, 800)) for _ in range(2)]
    assert merges(templates([[100.0], [101.0]]), trains, noise(1), 0.95, 0.0005).tolist() == [0, 1]


def test_templates_half_a_sample_apart_are_the_same():
    at_T = np.arange(-20, 28)
    one, other = (np.exp(-0.5 * ((at_T - shift) / 3.0) ** 2)[None] * 100 for shift in (0.0, 0.5))
    assert likeness(one, other).distance < 0.05
    assert likeness(other, one).correlation > 0.99999


def test_gap_without_overlapping_spikes_does_not_separate_units():
    two = templates([[100.0] * 4, [75.0] * 4])
    trains = one_neuron_cut_in_two()
    assert len(set(merges(two, trains, noise(4), 0.95, 0.0005).tolist())) == 1
    assert merges(two, trains, noise(4), 0.95, 0.0005, complete=False).tolist() == [0, 1]
