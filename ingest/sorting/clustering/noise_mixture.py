"""v3's mixture: units of one known spread, too many at first, which die out until description length is least.

In features in which noise has unit covariance (`noise_whitening`) a unit has a centre and a share to be fitted, and no
covariance. So the price of a unit is small and known, and the number of units is found where BIC with free covariances
joins units or fails. Components die as in Figueiredo and Jain (IEEE Trans Pattern Anal Mach Intell 24, 381, 2002): in
each step of expectation maximisation a component gives up half of its free parameters in spikes and dies below zero;
the number with the least message length is kept. Spikes that belong to no unit (overlaps) go to one broad Gaussian. At
the end components between which there is no valley are joined to one unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import kmeans_plusplus

from ingest.sorting.clustering.cluster_settings import ClusterSettings
from ingest.sorting.clustering.clusters import NOISE
from ingest.sorting.clustering.mixtures import GaussianUnits, draw_spikes

STEPS = 40  # of expectation maximisation between two deaths
TOLERANCE = 0.5  # of the log likelihood
PATIENCE = 6  # numbers of units without a better message length, after which no fewer are tried
MOST_OUTLIERS = 0.3
ONE_MODE = 2.0  # standard deviations: two equal Gaussians that are no farther apart have one mode


@dataclass
class _State:
    """Centres and shares of K units, and the share of outliers."""

    mean_KF: np.ndarray
    weight_K: np.ndarray
    outliers: float

    def without(self, k: int) -> _State:
        """Return the state when a unit has died."""
        weight_K = np.delete(self.weight_K, k)
        weight_K *= (1 - self.outliers) / max(weight_K.sum(), 1e-300)
        return _State(np.delete(self.mean_KF, k, 0), weight_K, self.outliers)

    def joined(self, i: int, j: int) -> _State:
        """Return the state when unit j has gone into unit i."""
        a, b = self.weight_K[i], self.weight_K[j]
        mean_KF, weight_K = self.mean_KF.copy(), self.weight_K.copy()
        mean_KF[i], weight_K[i] = (a * mean_KF[i] + b * mean_KF[j]) / (a + b), a + b
        return _State(mean_KF, weight_K, self.outliers).without(j)


class NoiseMixture:
    """Fits the mixture.

    Args:
        z_NF: features in which noise has unit covariance.
        seed: of the first centres (k-means++) and of the spikes that are fitted.
        settings: ``start_units``, ``unit_cost``, ``max_fit``.
    """

    def __init__(self, z_NF: np.ndarray, seed: int, settings: ClusterSettings) -> None:
        self.z_NF = draw_spikes(z_NF, settings.max_fit, seed).astype(np.float64)
        features = self.z_NF.shape[1]
        self.cost = settings.unit_cost * features / 2
        units = max(1, min(settings.start_units, len(self.z_NF) // 2))
        mean_KF, _ = kmeans_plusplus(self.z_NF, units, random_state=seed)
        self.state = _State(mean_KF, np.full(units, 0.95 / units), 0.05)
        covariance_FF = 2 * np.atleast_2d(np.cov(self.z_NF.T)) + np.eye(features)
        self.broad_FF = np.linalg.cholesky(np.linalg.inv(covariance_FF))
        self.centre_F = self.z_NF.mean(axis=0)
        self.square_N = (self.z_NF**2).sum(axis=1)
        broad = GaussianUnits(np.ones(1), self.centre_F[None], self.broad_FF[None])
        self.broad_N = broad.log_joint(self.z_NF)

    def fit(self, n_units: int | None) -> GaussianUnits:
        """Return the mixture of the least message length, or of a given number of units."""
        best, least, worse = self.state, np.inf, 0
        while True:
            length = self._settle(1 if n_units is None else n_units)
            if length < least:
                best, least, worse = self.state, length, 0
            else:
                worse += 1
            count = len(self.state.weight_K)
            if n_units is not None and count <= n_units:
                return self._units(self.state, merged=False)
            if count <= 1 or (n_units is None and worse > PATIENCE):
                return self._units(best, merged=True)
            self.state = self.state.joined(*self._nearest())

    def _settle(self, fewest: int) -> float:
        """Run expectation maximisation until the likelihood stays, and return the message length."""
        last = -np.inf
        for _ in range(STEPS):
            share_NK, likelihood = self._expect()
            state, spikes_K = self.state, share_NK[:, :-1].sum(axis=0)
            if len(spikes_K) > fewest and spikes_K.min() <= self.cost:
                self.state, last = state.without(int(spikes_K.argmin())), -np.inf
                continue
            outliers = float(np.clip(share_NK[:, -1].mean(), 1e-6, MOST_OUTLIERS))
            weight_K = np.maximum(spikes_K - self.cost, 1e-6)
            mean_KF = (share_NK[:, :-1].T @ self.z_NF) / np.maximum(spikes_K, 1e-9)[:, None]
            self.state = _State(mean_KF, weight_K * ((1 - outliers) / weight_K.sum()), outliers)
            if abs(likelihood - last) < TOLERANCE:
                break
            last = likelihood
        count, size = len(spikes_K), np.maximum(spikes_K, 1.0)
        known = self.cost * np.log(size / 12).sum() + count / 2 * np.log(len(self.z_NF) / 12)
        return float(known + count * (2 * self.cost + 1) / 2 - likelihood)

    def _expect(self) -> tuple[np.ndarray, float]:
        """Return ``(N, K + 1)`` the share of each unit in each spike, outliers last, and the log likelihood."""
        state, features = self.state, self.z_NF.shape[1]
        square_NK = self.square_N[:, None] - 2 * self.z_NF @ state.mean_KF.T + (state.mean_KF**2).sum(axis=1)
        joint_NK = np.log(state.weight_K) - features / 2 * np.log(2 * np.pi) - np.maximum(square_NK, 0.0) / 2
        joint_NK = np.concatenate([joint_NK, self.broad_N + np.log(state.outliers)], axis=1)
        most_N1 = joint_NK.max(axis=1, keepdims=True)
        share_NK = np.exp(joint_NK - most_N1)
        total_N1 = share_NK.sum(axis=1, keepdims=True)
        return share_NK / total_N1, float((most_N1 + np.log(total_N1)).sum())

    def _nearest(self) -> tuple[int, int]:
        """Return the two units whose joining moves spikes least (Ward's distance)."""
        weight_K, mean_KF = self.state.weight_K, self.state.mean_KF
        far_KK = ((mean_KF[:, None] - mean_KF) ** 2).sum(axis=2)
        far_KK *= weight_K[:, None] * weight_K / (weight_K[:, None] + weight_K)
        np.fill_diagonal(far_KK, np.inf)
        i, j = np.unravel_index(far_KK.argmin(), far_KK.shape)
        return int(i), int(j)

    def _units(self, state: _State, merged: bool) -> GaussianUnits:
        one_KFF = np.tile(np.eye(self.z_NF.shape[1]), (len(state.weight_K), 1, 1))
        unit_K = near_groups(state.mean_KF, ONE_MODE) if merged else np.arange(len(one_KFF))
        return GaussianUnits(
            np.append(state.weight_K, state.outliers),
            np.concatenate([state.mean_KF, self.centre_F[None]]),
            np.concatenate([one_KFF, self.broad_FF[None]]),
            np.append(unit_K, NOISE).astype(np.int64),
        )


def near_groups(mean_KF: np.ndarray, far: float) -> np.ndarray:
    """Return the group of each centre: centres nearer than a distance are of one group, also over a chain of others.

    A unit that is wider than the noise (drift, bursts, misalignment) takes several Gaussians. Two equal ones that are
    no more than two standard deviations apart have one mode, so nothing in their sum shows two units.

    Args:
        mean_KF: centres, in standard deviations.
        far: distance from which on two centres are apart.

    Example:
        >>> near_groups(np.array([[0.0], [1.5], [6.0]]), 2.0).tolist()
        [0, 0, 1]
    """
    near_KK = ((mean_KF[:, None] - mean_KF) ** 2).sum(axis=2) < far**2
    return np.asarray(connected_components(csr_array(near_KK), directed=False)[1])
