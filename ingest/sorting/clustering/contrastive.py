"""An encoder of waveforms by contrastive pretraining, on labelled simulated spikes and unlabelled ones together.

Two views of a spike are brought together by InfoNCE (`foundation.objectives.parts.infonce_terms`). Of an unlabelled
spike a view is the spike with background superposed, shifted by a part of a sample and scaled. Of a labelled one the
second view is another spike of the same unit, and spikes of one unit are no negatives of each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from foundation.objectives.parts.infonce_terms import infonce_terms
from ingest.sorting.clustering.cluster_settings import ClusterSettings
from ingest.sorting.clustering.labelled import LabelledWaveforms
from ingest.sorting.clustering.noise_whitening import noise_covariance
from ingest.sorting.spikes.waveforms import Waveforms

HIDDEN, FEATURES = 128, 8
TEMPERATURE = 0.1
BACKGROUND = 0.5  # standard deviation of the superposed background, over that of the spike's own
SHIFT = 0.5  # samples
SCALE = 0.05


@dataclass(frozen=True)
class ContrastiveEncoder:
    """Features of a network that sees spikes in units of their recording's noise.

    Args:
        network: of flat spikes.
        whitening_DD: symmetric, of the recording.
    """

    network: nn.Module
    whitening_DD: np.ndarray

    def encode(self, x_NCT: np.ndarray, amplitude_N: np.ndarray) -> np.ndarray:
        """Return ``(N, 8)`` features of unit length."""
        flat = torch.from_numpy(_in_noise(x_NCT, amplitude_N, self.whitening_DD))
        with torch.no_grad():
            z: np.ndarray = nn.functional.normalize(self.network(flat), dim=1).numpy()
        return z


def train_contrastive(
    unlabelled: Sequence[Waveforms], labelled: Sequence[LabelledWaveforms], seed: int, settings: ClusterSettings
) -> nn.Module:
    """Return a network that was trained on all recordings.

    Args:
        unlabelled: recordings whose units are not known.
        labelled: recordings whose units are.
        seed: of weights, batches and views.
        settings: epochs, batch, learning rate; an epoch has as many steps as the labelled spikes have batches.
    """
    x, class_t = _prepared([(r.waveforms, r.label_N) for r in labelled])
    free = torch.zeros((0, x.shape[1]))
    if unlabelled:
        free, _ = _prepared([(w, np.arange(len(w))) for w in unlabelled])
    order_t, count_t = class_t.argsort(stable=True), class_t.bincount()
    first_t = count_t.cumsum(0) - count_t
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(x.shape[1], HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN), nn.GELU())
        network.append(nn.Linear(HIDDEN, FEATURES))
    optimizer = torch.optim.Adam(network.parameters(), settings.learning_rate)
    draw = torch.Generator().manual_seed(seed)
    half = settings.batch // 2
    for _ in range(settings.epochs * max(1, min(len(x), settings.max_epoch) // settings.batch)):
        index = torch.randint(len(x), (half,), generator=draw)
        other = order_t[first_t[class_t[index]] + (torch.rand(half, generator=draw) * count_t[class_t[index]]).long()]
        own = torch.randint(len(free), (half,), generator=draw) if len(free) else index[:0]
        a = torch.cat([x[index], _view(free[own], draw)])
        b = torch.cat([x[other], _view(free[own], draw)])
        name = torch.cat([class_t[index], -1 - torch.arange(len(own))])
        loss = infonce_terms(network(a), network(b), TEMPERATURE, name[:, None] == name)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def recording_whitening(waveforms: Waveforms) -> np.ndarray:
    """Return the symmetric whitening of a recording's noise, which keeps samples samples."""
    covariance_DD = noise_covariance(waveforms.x_NCT, waveforms.amplitude_N, waveforms.background_SCT)
    value_D, vector_DD = np.linalg.eigh(covariance_DD)
    whitening: np.ndarray = (vector_DD / np.sqrt(value_D)) @ vector_DD.T
    return whitening


def _prepared(recordings: Sequence[tuple[Waveforms, np.ndarray]]) -> tuple[torch.Tensor, torch.Tensor]:
    parts, classes, first = [], [], 0
    for waveforms, label_N in recordings:
        real_N = label_N >= 0
        flat_ND = _in_noise(waveforms.x_NCT, waveforms.amplitude_N, recording_whitening(waveforms))
        unit, class_N = np.unique(label_N[real_N], return_inverse=True)
        parts.append(flat_ND[real_N])
        classes.append(class_N + first)
        first += len(unit)
    return torch.from_numpy(np.concatenate(parts)), torch.from_numpy(np.concatenate(classes))


def _in_noise(x_NCT: np.ndarray, amplitude_N: np.ndarray, whitening_DD: np.ndarray) -> np.ndarray:
    flat: np.ndarray = (x_NCT * amplitude_N[:, None, None]).reshape(len(x_NCT), -1) @ whitening_DD
    return flat.astype(np.float32)


def _view(x_BD: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """Return spikes shifted by up to half a sample, scaled, and with background (white in these units) superposed."""
    shift_B1 = SHIFT * (2 * torch.rand((len(x_BD), 1), generator=draw) - 1)
    neighbour_BD = torch.where(shift_B1 > 0, torch.roll(x_BD, 1, dims=1), torch.roll(x_BD, -1, dims=1))
    moved_BD = x_BD + shift_B1.abs() * (neighbour_BD - x_BD)
    scale_B1 = 1 + SCALE * torch.randn((len(x_BD), 1), generator=draw)
    return moved_BD * scale_B1 + BACKGROUND * torch.randn(x_BD.shape, generator=draw)
