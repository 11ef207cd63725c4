"""The recipes by name: from waveforms to units."""

from __future__ import annotations

import numpy as np

from foundation.common.errors import ConfigError, SourceError
from ingest.sorting.clustering.cluster_settings import RECIPES, ClusterSettings
from ingest.sorting.clustering.clusters import NOISE, ClusterModel, Clusters
from ingest.sorting.clustering.mixtures import choose_mixture
from ingest.sorting.clustering.principal_components import PrincipalComponents
from ingest.sorting.waveforms import Waveforms

MIN_SPIKES = 2


class NoUnits:
    """Labels every spike as noise: the model of a recording with too few spikes."""

    n_units = 0

    def encode(self, x_NCT: np.ndarray, amplitude_N: np.ndarray) -> np.ndarray:
        """Return no feature."""
        return np.zeros((len(x_NCT), 0))

    def assign(self, z_NF: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return noise, with certainty."""
        return np.full(len(z_NF), NOISE, dtype=np.int64), np.ones(len(z_NF), dtype=np.float32)


def cluster_waveforms(
    waveforms: Waveforms,
    *,
    recipe: str = "pca",
    n_units: int | None = None,
    seed: int = 0,
    settings: ClusterSettings | None = None,
) -> Clusters:
    """Return a unit for each spike, and a model that labels further spikes.

    Args:
        waveforms: spikes of one electrode or one neighbourhood of channels.
        recipe: `pca` (principal components and a Gaussian mixture).
        n_units: number of units; None: the recipe finds it.
        seed: of everything drawn; the same seed gives the same units.
        settings: options of the recipes.

    Raises:
        ConfigError: if there is no such recipe, or n_units is below 1.
        SourceError: if a waveform is not finite.
    """
    settings = settings or ClusterSettings()
    if recipe not in RECIPES:
        raise ConfigError(f"recipe is {recipe!r}: one of {', '.join(RECIPES)}")
    if n_units is not None and n_units < 1:
        raise ConfigError(f"n_units is {n_units}: at least 1, or null to have it found")
    bad_N = ~(np.isfinite(waveforms.x_NCT).all(axis=(1, 2)) & np.isfinite(waveforms.amplitude_N))
    if bad_N.any():
        raise SourceError(f"spike {int(bad_N.argmax())} is not finite: remove NaN and infinity from the voltage")
    if len(waveforms) < MIN_SPIKES:
        return _clusters(waveforms, ClusterModel(NoUnits(), NoUnits()))
    encoder = PrincipalComponents.fit(waveforms.x_NCT, settings.latent)
    z_NF = encoder.encode(waveforms.x_NCT, waveforms.amplitude_N)
    return _clusters(waveforms, ClusterModel(encoder, choose_mixture(z_NF, n_units, seed, settings)))


def _clusters(waveforms: Waveforms, model: ClusterModel) -> Clusters:
    label_N, probability_N = model.assign(waveforms.x_NCT, waveforms.amplitude_N)
    return Clusters(label_N, probability_N, model.clusterer.n_units, model)
