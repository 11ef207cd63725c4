"""Features in which the noise of every spike is one: what v3 clusters.

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
            background_SCT: µV, windows away from spikes. Without 50 of them the noise is estimated from the differences
                of spikes that are nearest to each other.
            features: at most so many.
            least: variance of a feature over that of the noise.
        """
        flat_ND = _microvolts(x_NCT, amplitude_N)
        value_D, vector_DD = np.linalg.eigh(noise_covariance(x_NCT, amplitude_N, background_SCT))
        whitening_DD = vector_DD / np.sqrt(value_D)
        spread_D, main_DD = np.linalg.eigh(np.atleast_2d(np.cov((flat_ND @ whitening_DD).T)))
        count = int(np.clip((spread_D > least).sum(), min(2, len(spread_D)), features))
        axes_DF = whitening_DD @ main_DD[:, ::-1][:, :count]
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
        covariance_DD = neighbour_covariance(_microvolts(x_NCT, amplitude_N))
    covariance_DD = np.atleast_2d(covariance_DD)
    size = max(float(np.trace(covariance_DD)) / len(covariance_DD), 1e-12)
    return covariance_DD + RIDGE * size * np.eye(len(covariance_DD))


def neighbour_covariance(flat_ND: np.ndarray) -> np.ndarray:
    """Return an estimate of the noise's covariance: half that of the differences of nearest neighbours.

    Two spikes that are nearest in their first components are mostly of one unit, so that their waveforms cancel. In
    those components differences are too small, as neighbours were chosen by them; there the median variance of the
    other directions stands for the noise if it is larger.
    """
    flat_ND = flat_ND[:: max(1, len(flat_ND) // MOST_SPIKES)]
    vector_DD = np.linalg.eigh(np.atleast_2d(np.cov(flat_ND.T)))[1]
    main_DF = vector_DD[:, ::-1][:, :NEIGHBOUR_FEATURES]
    score_NF = flat_ND @ main_DF
    nearest_N = cKDTree(score_NF).query(score_NF, k=2)[1][:, 1]
    difference_ND = flat_ND - flat_ND[nearest_N]
    covariance_DD = difference_ND.T @ difference_ND / (2 * len(difference_ND))
    inside_F = np.einsum("df,de,ef->f", main_DF, covariance_DD, main_DF)
    rest = np.linalg.eigvalsh(covariance_DD)[NEIGHBOUR_FEATURES:]
    missing_F = np.maximum(float(np.quantile(rest, 0.9)) - inside_F, 0.0) if len(rest) else np.zeros(len(inside_F))
    filled_DD: np.ndarray = covariance_DD + (main_DF * missing_F) @ main_DF.T
    return filled_DD


def _microvolts(x_NCT: np.ndarray, amplitude_N: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = (x_NCT * amplitude_N[:, None, None]).reshape(len(x_NCT), -1).astype(np.float64)
    return scaled
