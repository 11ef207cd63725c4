"""Recipes on separable waveforms: number of units, labels, seeds, and input that holds next to nothing."""

import numpy as np
import pytest

from foundation.common.errors import ConfigError, SourceError
from ingest.sorting.clustering import ClusterSettings, cluster_waveforms
from ingest.sorting.clustering.mixtures import choose_mixture
from ingest.sorting.waveforms import Waveforms


def waveforms_of(x_NT, amplitude_N=None):
    n = len(x_NT)
    amplitude_N = np.full(n, 100.0, np.float32) if amplitude_N is None else amplitude_N
    x_NCT = x_NT[:, None].astype(np.float32)
    return Waveforms(x_NCT, amplitude_N, np.arange(n) * 0.01, np.zeros(n, int), 19_500.0)


def three_shapes(seed=0, each=150, noise=0.03):
    rng = np.random.default_rng(seed)
    t = np.linspace(-1, 1, 39)
    shapes = [
        -np.exp(-(t**2) / w) + a * np.exp(-((t - 0.4) ** 2) / 0.05) for w, a in ((0.01, 0), (0.03, 0.6), (0.1, 0.3))
    ]
    truth = np.repeat(np.arange(3), each)
    return np.stack(shapes)[truth] + rng.normal(0, noise, (3 * each, 39)), truth


def test_bic_finds_three_separate_gaussians():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(600, 3)) + np.repeat(np.eye(3) * 20, 200, axis=0)
    found = choose_mixture(z, None, 0, ClusterSettings(max_units=6))
    assert found.n_units == 3
    assert choose_mixture(z, None, 0, ClusterSettings(max_units=6, criterion="icl")).n_units == 3
    assert choose_mixture(z, 2, 0, ClusterSettings()).n_units == 2


@pytest.mark.parametrize("recipe", ["pca"])
def test_recipe_separates_three_shapes(recipe):
    x, truth = three_shapes()
    clusters = cluster_waveforms(waveforms_of(x), recipe=recipe, settings=ClusterSettings(max_units=6))
    pairs = set(zip(truth.tolist(), clusters.label_N.tolist(), strict=True))
    assert clusters.n_units == 3
    assert len(pairs) == 3
    label, probability = clusters.model.assign(x[:5, None].astype(np.float32), np.full(5, 100.0))
    assert label.tolist() == clusters.label_N[:5].tolist()
    assert probability.min() > 0.99


@pytest.mark.parametrize("spikes", [0, 1])
def test_too_few_spikes_give_noise(spikes):
    clusters = cluster_waveforms(waveforms_of(np.ones((spikes, 39))))
    assert clusters.n_units == 0
    assert clusters.label_N.tolist() == [-1] * spikes


def test_equal_spikes_are_one_unit():
    clusters = cluster_waveforms(waveforms_of(np.ones((30, 39))))
    assert clusters.n_units == 1


def test_bad_input_is_named():
    x, _ = three_shapes(each=5)
    x[7, 3] = np.nan
    with pytest.raises(SourceError, match="spike 7 is not finite"):
        cluster_waveforms(waveforms_of(x))
    with pytest.raises(ConfigError, match="recipe is 'v9': one of v0"):
        cluster_waveforms(waveforms_of(x), recipe="v9")
    with pytest.raises(ConfigError, match="n_units is 0"):
        cluster_waveforms(waveforms_of(x), n_units=0)
