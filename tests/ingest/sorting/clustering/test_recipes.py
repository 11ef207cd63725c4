"""Sorting recipes: number of units, labels, seeds, and nearly empty input."""

from dataclasses import replace

import numpy as np
import pytest

from foundation.common.errors import ConfigError, SourceError
from ingest.sorting.clustering import ClusterSettings, cluster_waveforms
from ingest.sorting.clustering.cluster_settings import RECIPES
from ingest.sorting.clustering.labelled import LabelledWaveforms, joined_classes
from ingest.sorting.clustering.mixtures import choose_mixture, joined_mixture
from ingest.sorting.clustering.noise_mixture import NoiseMixture, near_groups
from ingest.sorting.clustering.recipes import LABELS, train_recipe
from ingest.sorting.sorting_score import notebook_score
from ingest.sorting.spikes.waveforms import Waveforms

NOISE = 8.0  # µV
LEAST = {"idec": 0.5, "vade": 0.5, "v2": 0.5, "v0": 0.8}  # accuracies after a few epochs; other tests train to the end
QUICK = ClusterSettings(max_units=6, epochs=15, max_fit=600, batch=64)


def waveforms_of(seed=0, each=150, amplitudes=(120.0, 90.0, 150.0), noise=NOISE):
    """Three shapes under coloured noise, in µV, with background as it is cut from voltage."""
    rng = np.random.default_rng(seed)
    t = np.linspace(-1, 1, 39)
    shapes = [(0.01, 0.0), (0.03, 0.6), (0.1, 0.3)]
    shape_UT = np.stack([-np.exp(-(t**2) / w) + a * np.exp(-((t - 0.4) ** 2) / 0.05) for w, a in shapes])
    truth = np.repeat(np.arange(len(amplitudes)), each)

    def coloured(n):
        white = rng.normal(0, 1, (n, 42))
        return noise * (white[:, :39] + white[:, 1:40] + white[:, 2:41]) / 3**0.5

    x_NT = shape_UT[truth % 3] * np.array(amplitudes)[truth, None] + coloured(len(truth))
    amplitude_N = np.maximum(np.abs(x_NT).max(axis=1), 1e-6).astype(np.float32)
    x_NCT = (x_NT / amplitude_N[:, None])[:, None].astype(np.float32)
    n = len(truth)
    background = coloured(500)[:, None].astype(np.float32) if noise else None
    return Waveforms(x_NCT, amplitude_N, np.arange(n) * 0.01, np.zeros(n, int), 19_500.0, background), truth


def test_criteria_find_three_separate_gaussians():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(600, 3)) + np.repeat(np.eye(3) * 20, 200, axis=0)
    assert choose_mixture(z, None, 0, ClusterSettings(max_units=9)).units.n_units == 3
    assert choose_mixture(z, None, 0, ClusterSettings(max_units=9, criterion="icl")).units.n_units == 3
    assert choose_mixture(z, 2, 0, ClusterSettings()).units.n_units == 2


def test_a_mixture_of_a_given_number_keeps_near_units_apart_where_one_is_wide():
    """One start with the given number splits the wide cluster and joins two narrow ones, for two of three seeds."""
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2, 3], 150)
    centre_4F = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 25.0], [25.0, 0.0]])
    z_NF = centre_4F[truth] + rng.normal(size=(600, 2)) * np.array([1.0, 1.0, 1.0, 6.0])[truth, None]

    def right(choose) -> int:
        found = [choose(z_NF, 4, seed, ClusterSettings()).units.assign(z_NF)[0] for seed in range(6)]
        return sum(notebook_score(truth, label_N)["accuracy"] > 0.95 for label_N in found)

    assert right(joined_mixture) == 6
    assert right(choose_mixture) < 6


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_separates_three_shapes_and_labels_new_spikes(recipe):
    waveforms, truth = waveforms_of(each=80)
    labelled = [LabelledWaveforms(waveforms_of(seed=5, each=80)[0], truth)] if recipe in LABELS else []
    if recipe == "spc":
        pytest.importorskip("spclustering")
    n_units = None if recipe in ("v3", "isosplit", "spc", "pca_uv") else 3
    clusters = cluster_waveforms(waveforms, recipe=recipe, n_units=n_units, labelled=labelled, settings=QUICK)
    assert clusters.n_units == 3
    assert notebook_score(truth, clusters.label_N)["accuracy"] > LEAST.get(recipe, 0.95)
    label_N, probability_N = clusters.model.assign(waveforms.x_NCT[:9], waveforms.amplitude_N[:9])
    assert label_N.tolist() == clusters.label_N[:9].tolist()
    assert ((probability_N > 0.3) & (probability_N <= 1)).all()
    if recipe in ("v0", "v2", "v3", "vade"):
        again = cluster_waveforms(waveforms, recipe=recipe, n_units=n_units, seed=0, settings=QUICK)
        assert np.array_equal(again.label_N, clusters.label_N)
        assert np.array_equal(again.probability_N, clusters.probability_N)


def test_amplitude_separates_units_of_one_shape_for_v3():
    shape = waveforms_of(amplitudes=(100.0,), each=1, noise=0.0)[0].x_NCT[0, 0]
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 500)
    x_NT = shape * np.array([90.0, 150.0, 220.0])[truth, None] + rng.normal(0, NOISE, (1500, 39))
    amplitude_N = np.abs(x_NT).max(axis=1).astype(np.float32)
    x_NCT = (x_NT / amplitude_N[:, None])[:, None]
    background = rng.normal(0, NOISE, (2000, 1, 39))
    clusters = cluster_waveforms(Waveforms(x_NCT, amplitude_N, np.arange(1500.0), np.zeros(1500), 2e4, background))
    assert clusters.n_units == 3
    assert notebook_score(truth, clusters.label_N)["accuracy"] > 0.95


def test_v3_finds_one_unit_and_none_in_background():
    one, _ = waveforms_of(amplitudes=(120.0,))
    assert cluster_waveforms(one, settings=QUICK).n_units == 1
    background, _ = waveforms_of(amplitudes=(0.0,), each=400)
    assert cluster_waveforms(background, settings=QUICK).n_units == 1


def test_v3_merges_pieces_of_one_unit_and_marks_unassigned_spikes():
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.normal(size=(400, 2)), rng.normal(size=(300, 2)) + 9, rng.uniform(-60, 60, (15, 2))])
    units = NoiseMixture(z, 0, ClusterSettings()).fit(None)
    label_N, _ = units.assign(z)
    far_N = np.minimum(np.linalg.norm(z, axis=1), np.linalg.norm(z - 9, axis=1)) > 8
    assert (label_N[far_N] == -1).all()
    assert far_N.sum() > 5
    assert len(set(label_N[:700].tolist()) - {-1}) == 2
    assert near_groups(np.array([[0.0], [1.9], [3.8], [9.0]]), 2.0).tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("spikes", [0, 1])
def test_too_few_spikes_give_noise(spikes):
    waveforms, _ = waveforms_of()
    clusters = cluster_waveforms(waveforms.part(np.arange(spikes)))
    assert clusters.n_units == 0
    assert clusters.label_N.tolist() == [-1] * spikes


@pytest.mark.parametrize("recipe", ["v0", "v2", "v3", "pca", "isosplit"])
def test_identical_spikes_are_one_unit(recipe):
    waveforms, _ = waveforms_of(noise=0.0, amplitudes=(120.0,), each=30)
    clusters = cluster_waveforms(waveforms, recipe=recipe, settings=ClusterSettings(max_units=3, epochs=2))
    assert clusters.n_units == 1


def test_classes_of_two_recordings_stay_separate():
    waveforms, truth = waveforms_of(each=4)
    noise = truth.copy()
    noise[0] = -1
    x_MCT, class_M = joined_classes([LabelledWaveforms(waveforms, truth), LabelledWaveforms(waveforms, noise)])
    assert len(x_MCT) == 23
    assert sorted(set(class_M.tolist())) == [0, 1, 2, 3, 4, 5]


def test_bad_input_is_named():
    waveforms, _ = waveforms_of(each=5)
    broken = waveforms.x_NCT.copy()
    broken[7, 0, 3] = np.nan
    with pytest.raises(SourceError, match="spike 7 is not finite"):
        cluster_waveforms(replace(waveforms, x_NCT=broken))
    with pytest.raises(ConfigError, match="recipe is 'v9': expected one of v0"):
        cluster_waveforms(waveforms, recipe="v9")
    with pytest.raises(ConfigError, match="n_units is 0"):
        cluster_waveforms(waveforms, n_units=0)
    wide = replace(waveforms, x_NCT=np.repeat(waveforms.x_NCT, 2, axis=1))
    with pytest.raises(ConfigError, match="1 channel x 39 samples where these have 2 x 39"):
        cluster_waveforms(wide, recipe="v1")
    with pytest.raises(ConfigError, match="labelled is empty"):
        train_recipe("v1", [waveforms], [])
    with pytest.raises(ConfigError, match="expected one that trains an encoder: v0, v1, contrastive"):
        train_recipe("v3", [waveforms], [])
    with pytest.raises(ConfigError, match="max_units is 2: expected at least min_units, 4"):
        ClusterSettings(min_units=4, max_units=2)


@pytest.mark.parametrize("spikes", [2, 12])
def test_superparamagnetic_clustering_takes_few_spikes(spikes):
    pytest.importorskip("spclustering")
    waveforms, _ = waveforms_of()
    assert cluster_waveforms(waveforms.part(np.arange(spikes)), recipe="spc").n_units == 1
