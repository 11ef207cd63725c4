"""Gaussian mixtures over spike features, and the number of their components.

gt-GMM is a mixture with the true number of units; auto-GMM the one with the lowest Bayesian information criterion.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from ingest.sorting.clustering.cluster_settings import ClusterSettings

SPIKES_EACH = 2  # a mixture has at most one component for so many spikes


@dataclass(frozen=True)
class MixtureClusterer:
    """Labels features by the most likely component of a scikit-learn mixture."""

    mixture: Any

    @property
    def n_units(self) -> int:
        """Number of components."""
        return int(self.mixture.n_components)

    def assign(self, z_NF: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the most likely component of each spike and its probability."""
        probability_NK = self.mixture.predict_proba(z_NF.astype(np.float64))
        return probability_NK.argmax(axis=1), probability_NK.max(axis=1).astype(np.float32)


def fit_mixture(z_NF: np.ndarray, n_units: int, seed: int, means_KF: np.ndarray | None = None) -> Any:
    """Return a scikit-learn mixture of Gaussians with full covariances.

    Args:
        z_NF: features.
        n_units: components; at most half as many as spikes are fitted.
        seed: of the start (k-means++).
        means_KF: where the components start; None: where k-means++ says.
    """
    z_NF = z_NF.astype(np.float64)
    n_units = max(1, min(n_units, len(z_NF) // SPIKES_EACH))
    floor = 1e-6 * max(float(z_NF.var(axis=0).mean()), 1e-12)
    mixture = GaussianMixture(
        n_units, reg_covar=floor, random_state=seed, means_init=means_KF, init_params="k-means++", max_iter=200
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(z_NF)


def choose_mixture(z_NF: np.ndarray, n_units: int | None, seed: int, settings: ClusterSettings) -> MixtureClusterer:
    """Return a mixture with a given number of units, or with the number of the lowest criterion.

    Args:
        z_NF: features, at least two spikes.
        n_units: number of units; None: chosen among ``settings.min_units`` to ``settings.max_units``.
        seed: of the spikes that are fitted and of the starts.
        settings: criterion, range of numbers and spikes that are fitted.
    """
    drawn_NF = draw_spikes(z_NF, settings.max_fit, seed)
    if n_units is not None:
        return MixtureClusterer(fit_mixture(drawn_NF, n_units, seed))
    most = min(settings.max_units, len(drawn_NF) // SPIKES_EACH)
    tried = [fit_mixture(drawn_NF, k, seed) for k in range(min(settings.min_units, most), most + 1)]
    values = [_criterion(mixture, drawn_NF, settings.criterion) for mixture in tried]
    return MixtureClusterer(tried[int(np.argmin(values))])


def _criterion(mixture: Any, z_NF: np.ndarray, name: str) -> float:
    """Return BIC, or BIC plus twice the entropy of the labels (ICL: Biernacki, Celeux and Govaert 2000)."""
    bic = float(mixture.bic(z_NF))
    if name == "bic":
        return bic
    p_NK = mixture.predict_proba(z_NF)
    return bic - 2.0 * float((p_NK * np.log(np.maximum(p_NK, 1e-300))).sum())


def draw_spikes(z_NF: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Return the features, or a draw of ``most`` of them in their order."""
    if len(z_NF) <= most:
        return z_NF
    return z_NF[np.sort(np.random.default_rng(seed).choice(len(z_NF), most, replace=False))]
