"""Features with unit noise for every spike, clustered by v3.

A spike is its unit's waveform plus background, and the background is the same for all units. Measured in µV (not
divided by the spike's amplitude, which would scale the noise of each spike differently) and whitened by the covariance
of the background, every unit is a ball of radius one, whatever its waveform. How far two units lie apart is then known
in units of their spread, on which the number of units depends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

RIDGE = 0.02  # share of the mean variance that is added to the diagonal
MOST_SPIKES = 3000  # of which nearest neighbours are sought, without background
NEIGHBOUR_FEATURES = 5
MAX_DIMENSIONS = 40  # of spikes, in which the noise is measured
MIN_BACKGROUND = 50  # windows of background from which on their covariance is used


@dataclass(frozen=True)
class WhitenedSpikes:
    """Principal components of spikes in µV that were whitened by the background.

    Args:
        axes_DF: from µV to features; noise has unit covariance in them.
        mean_F: of the features, subtracted.
    """

    axes_DF: np.ndarray
    mean_F: np.ndarray

    @classmethod
    def fit(
        cls, x_NCT: np.ndarray, amplitude_N: np.ndarray, background_SCT: np.ndarray | None, features: int, least: float
    ) -> WhitenedSpikes:
        """Return the features of which the variance over spikes exceeds that of the noise.

        Args:
            x_NCT, amplitude_N: spikes divided by their amplitude, and that (µV).
            background_SCT: µV, windows away from spikes. Without 50 of them the noise is roughly estimated from the
                differences of spikes that are nearest to each other.
            features: at most so many.
            least: variance of a feature over that of the noise.
        """
        flat_ND = _microvolts(x_NCT, amplitude_N)
        covariance_DD = noise_covariance(x_NCT, amplitude_N, background_SCT)
        # Many channels have more samples than there is background to measure: the largest directions of spikes do.
        large_DE = np.linalg.eigh(np.atleast_2d(np.cov(flat_ND.T)))[1][:, ::-1][:, :MAX_DIMENSIONS]
        value_E, vector_EE = np.linalg.eigh(large_DE.T @ covariance_DD @ large_DE)
        whitening_DE = large_DE @ (vector_EE / np.sqrt(value_E))
        spread_E, main_EE = np.linalg.eigh(np.atleast_2d(np.cov((flat_ND @ whitening_DE).T)))
        count = int(np.clip((spread_E > least).sum(), min(2, len(spread_E)), features))
        axes_DF = whitening_DE @ main_EE[:, ::-1][:, :count]
        return cls(axes_DF, (flat_ND @ axes_DF).mean(axis=0))

    def encode(self, x_NCT: np.ndarray, amplitude_N: np.ndarray) -> np.ndarray:
        """Return ``(N, F)``, in units of the noise."""
        return _microvolts(x_NCT, amplitude_N) @ self.axes_DF - self.mean_F


def noise_covariance(x_NCT: np.ndarray, amplitude_N: np.ndarray, background_SCT: np.ndarray | None) -> np.ndarray:
    """Return ``(D, D)`` µV², the covariance of the background, made regular.

    Args:
        x_NCT, amplitude_N: spikes divided by their amplitude, and that (µV).
        background_SCT: µV, windows away from spikes; fewer than 50 are not used.
    """
    if background_SCT is not None and len(background_SCT) >= MIN_BACKGROUND:
        covariance_DD = np.cov(background_SCT.reshape(len(background_SCT), -1).T.astype(np.float64))
    else:
        covariance_DD = neighbour_covariance(x_NCT, amplitude_N)
    covariance_DD = np.atleast_2d(covariance_DD)
    size = max(float(np.trace(covariance_DD)) / len(covariance_DD), 1e-12)
    return covariance_DD + RIDGE * size * np.eye(len(covariance_DD))


def neighbour_covariance(x_NCT: np.ndarray, amplitude_N: np.ndarray) -> np.ndarray:
    """Return an estimate of the noise's covariance: half that of the differences of nearest neighbours, made
    stationary.

    Two spikes that are nearest in their first components are mostly of one unit, so their waveforms cancel. Differences
    are too small in those components, by which neighbours were chosen. Averaging over all pairs of samples that are
    equally far apart spreads this over all directions, where the share of the components is put back.
    """
    step = max(1, len(x_NCT) // MOST_SPIKES)
    flat_ND = _microvolts(x_NCT[::step], amplitude_N[::step])
    channels, samples = x_NCT.shape[1:]
    main_DD = np.linalg.eigh(np.atleast_2d(np.cov(flat_ND.T)))[1]
    count = min(NEIGHBOUR_FEATURES, flat_ND.shape[1] - 1) or 1
    score_NF = flat_ND @ main_DD[:, ::-1][:, :count]
    nearest_N = cKDTree(score_NF).query(score_NF, k=2)[1][:, 1]
    difference_ND = flat_ND - flat_ND[nearest_N]
    covariance_DD = difference_ND.T @ difference_ND / (2 * len(difference_ND))
    covariance_DD *= flat_ND.shape[1] / max(flat_ND.shape[1] - count, 1)
    block_CTCT = covariance_DD.reshape(channels, samples, channels, samples)
    lag_TT = np.arange(samples)[:, None] - np.arange(samples) + samples - 1
    for i in range(channels):
        for j in range(channels):
            sums_L = np.bincount(lag_TT.ravel(), block_CTCT[i, :, j].ravel())
            block_CTCT[i, :, j] = (sums_L / np.bincount(lag_TT.ravel()))[lag_TT]
    value_D, vector_DD = np.linalg.eigh(block_CTCT.reshape(covariance_DD.shape))
    stationary_DD: np.ndarray = (vector_DD * np.maximum(value_D, 0.0)) @ vector_DD.T
    return stationary_DD


def _microvolts(x_NCT: np.ndarray, amplitude_N: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = (x_NCT * amplitude_N[:, None, None]).reshape(len(x_NCT), -1).astype(np.float64)
    return scaled
