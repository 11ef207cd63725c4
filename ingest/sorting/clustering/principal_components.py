"""Principal components of waveforms: the features that most sorters start from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PrincipalComponents:
    """Projects waveforms, divided by their amplitude, on the axes of the largest variance."""

    mean_D: np.ndarray
    axes_FD: np.ndarray

    @classmethod
    def fit(cls, x_NCT: np.ndarray, features: int) -> PrincipalComponents:
        """Return the axes of spikes; no more of them than spikes or samples."""
        flat_ND = x_NCT.reshape(len(x_NCT), -1).astype(np.float64)
        mean_D = flat_ND.mean(axis=0)
        axes_DD = np.linalg.eigh(np.atleast_2d(np.cov(flat_ND.T)))[1][:, ::-1]
        return cls(mean_D, axes_DD[:, : min(features, *flat_ND.shape)].T)

    def encode(self, x_NCT: np.ndarray, amplitude_N: np.ndarray) -> np.ndarray:
        """Return ``(N, F)`` scores; the amplitude is not used."""
        return (x_NCT.reshape(len(x_NCT), -1) - self.mean_D) @ self.axes_FD.T
