"""Result of clustering: a unit for each spike, and a model that labels further spikes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

NOISE = -1  # the label of spikes that belong to no unit


class SpikeEncoder(Protocol):
    """Turns waveforms into features."""

    def encode(self, x_NCT: np.ndarray, amplitude_N: np.ndarray) -> np.ndarray:
        """Return ``(N, F)`` features of spikes that were divided by their amplitude (µV)."""
        ...


class FeatureClusterer(Protocol):
    """Turns features into units."""

    @property
    def n_units(self) -> int:
        """Number of units."""
        ...

    def assign(self, z_NF: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return label ``(N,)`` and probability ``(N,)``."""
        ...


@dataclass(frozen=True)
class ClusterModel:
    """Labels spikes by the features of an encoder."""

    encoder: SpikeEncoder
    clusterer: FeatureClusterer

    def assign(self, x_NCT: np.ndarray, amplitude_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return label and probability of spikes that may not have been clustered.

        Args:
            x_NCT: spikes, each divided by its amplitude.
            amplitude_N: µV.

        Returns:
            label_N: unit from 0 on, or -1 for noise. probability_N: of that unit, from 0 to 1.
        """
        if len(x_NCT) == 0:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        return self.clusterer.assign(self.encoder.encode(x_NCT, amplitude_N))


@dataclass(frozen=True)
class Clusters:
    """Units of N spikes.

    Args:
        label_N: int64, unit from 0 to n_units - 1, or -1 for noise.
        probability_N: float32, how certain each label is.
        n_units: number of units; some may hold no spike.
        model: labels further spikes; see `ClusterModel.assign`.
    """

    label_N: np.ndarray
    probability_N: np.ndarray
    n_units: int
    model: ClusterModel
