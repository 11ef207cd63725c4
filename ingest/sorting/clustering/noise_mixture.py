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
from sklearn.cluster import kmeans_plusplus

from ingest.sorting.clustering.cluster_settings import ClusterSettings
from ingest.sorting.clustering.clusters import NOISE
from ingest.sorting.clustering.mixtures import GaussianUnits, draw_spikes

STEPS = 40  # of expectation maximisation between two deaths
TOLERANCE = 0.5  # of the log likelihood
PATIENCE = 6  # numbers of units without a better message length, after which no fewer are tried
MOST_OUTLIERS = 0.3
MIN_SCALE = 0.8  # of a unit's variance over that of the noise
POINTS = 101  # on the line between two centres
PRIOR_SPIKES = 50.0  # by which a unit's variance is held to that of the noise


@dataclass
class _State:
    """Centres, shares and variances of K units, and the share of outliers."""

    mean_KF: np.ndarray
    weight_K: np.ndarray
    scale_K: np.ndarray
    outliers: float

    def without(self, k: int) -> _State:
        """Return the state when a unit has died."""
        weight_K = np.delete(self.weight_K, k)
        weight_K *= (1 - self.outliers) / max(weight_K.sum(), 1e-300)
        return _State(np.delete(self.mean_KF, k, 0), weight_K, np.delete(self.scale_K, k), self.outliers)

    def joined(self, i: int, j: int) -> _State:
        """Return the state when unit j has gone into unit i."""
        a, b = self.weight_K[i], self.weight_K[j]
        mean_KF, weight_K = self.mean_KF.copy(), self.weight_K.copy()
        mean_KF[i], weight_K[i] = (a * mean_KF[i] + b * mean_KF[j]) / (a + b), a + b
        return _State(mean_KF, weight_K, self.scale_K, self.outliers).without(j)


class NoiseMixture:
    """Fits the mixture.

    Args:
        z_NF: features in which noise has unit covariance.
        seed: of the first centres (k-means++) and of the spikes that are fitted.
        settings: ``start_units``, ``unit_cost``, ``max_fit``.
        free_scale: let each unit's variance exceed that of the noise.
    """

    def __init__(self, z_NF: np.ndarray, seed: int, settings: ClusterSettings, free_scale: bool = False) -> None:
        self.z_NF = draw_spikes(z_NF, settings.max_fit, seed).astype(np.float64)
        self.free_scale = free_scale
        features = self.z_NF.shape[1]
        self.cost = settings.unit_cost * features / 2
        units = max(1, min(settings.start_units, len(self.z_NF) // 2))
        mean_KF, _ = kmeans_plusplus(self.z_NF, units, random_state=seed)
        self.state = _State(mean_KF, np.full(units, 0.95 / units), np.ones(units), 0.05)
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
            scale_K = self._scales(share_NK[:, :-1], mean_KF, spikes_K) if self.free_scale else state.scale_K
            self.state = _State(mean_KF, weight_K * ((1 - outliers) / weight_K.sum()), scale_K, outliers)
            if abs(likelihood - last) < TOLERANCE:
                break
            last = likelihood
        count, size = len(spikes_K), np.maximum(spikes_K, 1.0)
        known = self.cost * np.log(size / 12).sum() + count / 2 * np.log(len(self.z_NF) / 12)
        return float(known + count * (2 * self.cost + 1) / 2 - likelihood)

    def _expect(self) -> tuple[np.ndarray, float]:
        """Return ``(N, K + 1)`` the share of each unit in each spike, outliers last, and the log likelihood."""
        state, features = self.state, self.z_NF.shape[1]
        distance_NK = self._distances(state.mean_KF) / state.scale_K
        joint_NK = np.log(state.weight_K) - features / 2 * np.log(2 * np.pi * state.scale_K) - distance_NK / 2
        joint_NK = np.concatenate([joint_NK, self.broad_N + np.log(state.outliers)], axis=1)
        most_N1 = joint_NK.max(axis=1, keepdims=True)
        share_NK = np.exp(joint_NK - most_N1)
        total_N1 = share_NK.sum(axis=1, keepdims=True)
        return share_NK / total_N1, float((most_N1 + np.log(total_N1)).sum())

    def _distances(self, mean_KF: np.ndarray) -> np.ndarray:
        square_NK = self.square_N[:, None] - 2 * self.z_NF @ mean_KF.T + (mean_KF**2).sum(axis=1)
        return np.maximum(square_NK, 0.0)

    def _scales(self, share_NK: np.ndarray, mean_KF: np.ndarray, spikes_K: np.ndarray) -> np.ndarray:
        """Return each unit's variance over that of the noise, held to 1 by a prior of some spikes."""
        total_K = (share_NK * self._distances(mean_KF)).sum(axis=0) / self.z_NF.shape[1]
        return np.maximum((total_K + PRIOR_SPIKES) / (spikes_K + PRIOR_SPIKES), MIN_SCALE)

    def _nearest(self) -> tuple[int, int]:
        """Return the two units whose joining moves spikes least (Ward's distance)."""
        weight_K, mean_KF = self.state.weight_K, self.state.mean_KF
        far_KK = ((mean_KF[:, None] - mean_KF) ** 2).sum(axis=2)
        far_KK *= weight_K[:, None] * weight_K / (weight_K[:, None] + weight_K)
        np.fill_diagonal(far_KK, np.inf)
        i, j = np.unravel_index(far_KK.argmin(), far_KK.shape)
        return int(i), int(j)

    def _units(self, state: _State, merged: bool) -> GaussianUnits:
        factor_KFF = np.eye(self.z_NF.shape[1]) / np.sqrt(state.scale_K)[:, None, None]
        unit_K = unimodal_groups(state.mean_KF, state.weight_K, state.scale_K) if merged else np.arange(len(factor_KFF))
        return GaussianUnits(
            np.append(state.weight_K, state.outliers),
            np.concatenate([state.mean_KF, self.centre_F[None]]),
            np.concatenate([factor_KFF, self.broad_FF[None]]),
            np.append(unit_K, NOISE).astype(np.int64),
        )


def unimodal_groups(mean_KF: np.ndarray, weight_K: np.ndarray, scale_K: np.ndarray) -> np.ndarray:
    """Return the group of each Gaussian: two whose sum has a single mode on the line between them are one unit.

    A unit that is wider than the noise (drift, bursts, misalignment) takes several Gaussians, which lie so close that
    there is no valley between them. Groups join over chains of such pairs.

    Args:
        mean_KF: centres.
        weight_K: shares.
        scale_K: variance of each, in every direction.

    Example:
        >>> unimodal_groups(np.array([[0.0], [1.5], [6.0]]), np.array([0.4, 0.4, 0.2]), np.ones(3)).tolist()
        [0, 0, 1]
    """
    group_K = np.arange(len(mean_KF))
    for i in range(len(mean_KF)):
        for j in range(i):
            far = float(np.linalg.norm(mean_KF[i] - mean_KF[j]))
            at = np.linspace(0.0, far, POINTS)
            width_i, width_j = np.sqrt(scale_K[i]), np.sqrt(scale_K[j])
            density = weight_K[i] / width_i * np.exp(-0.5 * (at / width_i) ** 2)
            density += weight_K[j] / width_j * np.exp(-0.5 * ((at - far) / width_j) ** 2)
            slope = np.diff(density)
            if not ((slope[:-1] < 0) & (slope[1:] > 0)).any():
                group_K[group_K == group_K[i]] = group_K[j]
    return np.unique(group_K, return_inverse=True)[1]
