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
from ingest.sorting.clustering.clusters import NOISE

PATIENCE = 4  # numbers of units in a row without a lower criterion, after which no more are tried
SPIKES_EACH = 2  # a mixture has at most one component for so many spikes


@dataclass(frozen=True)
class GaussianUnits:
    """Labels features by the most likely unit, each of one Gaussian or of several.

    Args:
        weight_K: share of each Gaussian.
        mean_KF: centres.
        factor_KFF: upper triangular; ``(z - mean) @ factor`` has unit covariance.
        unit_K: the unit of each Gaussian, 0 to U - 1, or -1 for spikes that belong to none; None: each is a unit.
    """

    weight_K: np.ndarray
    mean_KF: np.ndarray
    factor_KFF: np.ndarray
    unit_K: np.ndarray | None = None

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.weight_K) if self.unit_K is None else int(self.unit_K.max()) + 1

    def log_joint(self, z_NF: np.ndarray) -> np.ndarray:
        """Return ``(N, K)`` the logarithm of share times density."""
        z_NF = z_NF.astype(np.float64)
        size = -0.5 * z_NF.shape[1] * np.log(2 * np.pi)
        columns = []
        for weight, mean_F, factor_FF in zip(self.weight_K, self.mean_KF, self.factor_KFF, strict=True):
            distance_N = (((z_NF - mean_F) @ factor_FF) ** 2).sum(axis=1)
            columns.append(np.log(weight) + np.log(np.diag(factor_FF)).sum() + size - 0.5 * distance_N)
        return np.stack(columns, axis=1)

    def assign(self, z_NF: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the most likely unit of each spike, or -1, and its probability."""
        joint_NK = self.log_joint(z_NF)
        share_NK = np.exp(joint_NK - joint_NK.max(axis=1, keepdims=True))
        share_NK /= share_NK.sum(axis=1, keepdims=True)
        if self.unit_K is not None:
            belongs_KU = self.unit_K[:, None] == np.append(np.arange(self.n_units), NOISE)
            share_NK = share_NK @ belongs_KU
        label_N = share_NK.argmax(axis=1)
        probability_N = share_NK[np.arange(len(label_N)), label_N].astype(np.float32)
        return np.where(label_N == self.n_units, NOISE, label_N), probability_N


@dataclass(frozen=True)
class ChosenMixture:
    """A mixture, and the Bayesian information criterion by which it was compared."""

    units: GaussianUnits
    bic: float


def fit_mixture(z_NF: np.ndarray, n_units: int, seed: int, means_KF: np.ndarray | None = None) -> Any:
    """Return a scikit-learn mixture of Gaussians.

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
        n_units,
        reg_covar=floor,
        random_state=seed,
        means_init=means_KF,
        init_params="k-means++",
        max_iter=200,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(z_NF)


def choose_mixture(z_NF: np.ndarray, n_units: int | None, seed: int, settings: ClusterSettings) -> ChosenMixture:
    """Return a mixture with a given number of units, or with the number of the lowest criterion.

    Numbers are tried one after another; four in a row without a lower criterion end the search.

    Args:
        z_NF: features, at least two spikes.
        n_units: number of units; None: chosen among ``settings.min_units`` to ``settings.max_units``.
        seed: of the spikes that are fitted and of the starts.
        settings: criterion, range of numbers and spikes that are fitted.
    """
    drawn_NF = draw_spikes(z_NF, settings.max_fit, seed).astype(np.float64)
    if n_units is not None:
        return _chosen(fit_mixture(drawn_NF, n_units, seed), drawn_NF)
    most = min(settings.max_units, len(drawn_NF) // SPIKES_EACH)
    least_units = min(settings.min_units, most)
    return _chosen(_search(drawn_NF, range(least_units, most + 1), seed, settings.criterion), drawn_NF)


def _search(z_NF: np.ndarray, counts: range, seed: int, criterion: str) -> Any:
    best, least, worse = None, np.inf, 0
    for count in counts:
        mixture = fit_mixture(z_NF, count, seed)
        value = _criterion(mixture, z_NF, criterion)
        best, least, worse = (mixture, value, 0) if best is None or value < least else (best, least, worse + 1)
        if worse >= PATIENCE:
            break
    return best


def _chosen(mixture: Any, z_NF: np.ndarray) -> ChosenMixture:
    units = GaussianUnits(mixture.weights_, mixture.means_, mixture.precisions_cholesky_)
    return ChosenMixture(units, float(mixture.bic(z_NF)))


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
