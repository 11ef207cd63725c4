"""Principal components of waveforms: the features that most sorters start from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA


@dataclass(frozen=True)
class PrincipalComponents:
    """Projects waveforms, divided by their amplitude, on the axes of the largest variance."""

    mean_D: np.ndarray
    axes_FD: np.ndarray

    @classmethod
    def fit(cls, x_NCT: np.ndarray, features: int) -> PrincipalComponents:
        """Return the axes of spikes; no more of them than spikes or samples."""
        flat_ND = x_NCT.reshape(len(x_NCT), -1).astype(np.float64)
        pca = PCA(min(features, *flat_ND.shape), svd_solver="covariance_eigh").fit(flat_ND)
        return cls(pca.mean_, pca.components_)

    def encode(self, x_NCT: np.ndarray, amplitude_N: np.ndarray) -> np.ndarray:
        """Return ``(N, F)`` scores; the amplitude is not used."""
        return (x_NCT.reshape(len(x_NCT), -1) - self.mean_D) @ self.axes_FD.T
