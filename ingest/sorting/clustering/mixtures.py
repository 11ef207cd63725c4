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
MORE, STARTS = 4, 3  # components with which `joined_mixture` begins beyond the given number, and number of its starts


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


def joined_mixture(z_NF: np.ndarray, n_units: int, seed: int, settings: ClusterSettings) -> ChosenMixture:
    """Return a mixture with a given number of units that begins with more of them.

    A mixture that begins with the given number often spends one component on overlaps and leaves two units together.
    Here four more components find the units first. Then the two whose joining costs the least likelihood (the bound of
    Runnalls, IEEE Trans Aerosp Electron Syst 43, 989, 2007) become one and all are fitted again, until the given number
    is left. Of three starts the most likely mixture is returned.

    Args:
        z_NF: features, at least two spikes.
        n_units: number of units.
        seed: of the spikes that are fitted and of the starts.
        settings: spikes that are fitted.

    Example:
        >>> z = np.random.default_rng(0).normal(size=(300, 2)) + np.repeat([[0, 0], [9, 0], [0, 9]], 100, axis=0)
        >>> joined_mixture(z, 3, 0, ClusterSettings()).units.mean_KF.max(axis=0).round().tolist()
        [9.0, 9.0]
    """
    drawn_NF = draw_spikes(z_NF, settings.max_fit, seed).astype(np.float64)
    found = [_joined(fit_mixture(drawn_NF, n_units + MORE, start), drawn_NF, n_units, start)
             for start in range(seed, seed + STARTS)]  # fmt: skip
    return _chosen(max(found, key=lambda mixture: mixture.lower_bound_), drawn_NF)


def _joined(mixture: Any, z_NF: np.ndarray, n_units: int, seed: int) -> Any:
    while (count := len(mixture.weights_)) > n_units:
        i, j = _cheapest(mixture.weights_, mixture.means_, mixture.covariances_)
        means_KF, weight_K = mixture.means_.copy(), mixture.weights_
        means_KF[i] = np.average(means_KF[[i, j]], axis=0, weights=weight_K[[i, j]])
        mixture = fit_mixture(z_NF, count - 1, seed, np.delete(means_KF, j, axis=0))
    return mixture


def _cheapest(weight_K: np.ndarray, mean_KF: np.ndarray, covariance_KFF: np.ndarray) -> tuple[int, int]:
    """Return the two components whose joining costs the least likelihood, at most."""
    both_KK = weight_K[:, None] + weight_K
    mine_KK = weight_K[:, None] / both_KK
    apart_KKF = mean_KF[:, None] - mean_KF
    share_KK11 = mine_KK[:, :, None, None]
    joined_KKFF = share_KK11 * covariance_KFF[:, None] + (1 - share_KK11) * covariance_KFF
    joined_KKFF += share_KK11 * (1 - share_KK11) * apart_KKF[:, :, :, None] * apart_KKF[:, :, None, :]
    size_K = weight_K * np.linalg.slogdet(covariance_KFF)[1]
    cost_KK = both_KK * np.linalg.slogdet(joined_KKFF)[1] - size_K[:, None] - size_K
    np.fill_diagonal(cost_KK, np.inf)
    i, j = np.unravel_index(cost_KK.argmin(), cost_KK.shape)
    return int(i), int(j)


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
