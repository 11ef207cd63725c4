"""Ensembles of autoencoders: fully connected (v0), and with a convolution and a classifier of labelled spikes (v1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ingest.sorting.clustering.cluster_settings import ClusterSettings

DEPTHS = (2, 3, 4)  # layers of the encoders of an ensemble
FILTERS, KERNEL = 8, 5
HIDDEN = 64  # of the classifier


class Autoencoder(nn.Module):
    """One member: an encoder of so many fully connected layers and its mirror, with a convolution before if asked for.

    Args:
        channels, samples: of a spike.
        latent: features.
        depth: fully connected layers of the encoder; widths fall geometrically.
        convolution: a convolution over time before the encoder.
    """

    def __init__(self, channels: int, samples: int, latent: int, depth: int, convolution: bool) -> None:
        super().__init__()
        width = channels * samples
        self.convolution = nn.Conv1d(channels, FILTERS, KERNEL, padding=KERNEL // 2) if convolution else None
        first = FILTERS * samples if convolution else width
        inner = [round(width * (latent / width) ** (k / depth)) for k in range(1, depth)]
        self.encoder = _dense([first, *inner, latent])
        self.decoder = _dense([latent, *reversed(inner), width])

    def encode(self, x_BCT: torch.Tensor) -> torch.Tensor:
        """Return ``(B, latent)``."""
        if self.convolution is not None:
            x_BCT = F.relu(self.convolution(x_BCT))
        return self.encoder(x_BCT.flatten(1))

    def forward(self, x_BCT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return latents, and the mean squared error of the reconstruction."""
        z_BF = self.encode(x_BCT)
        return z_BF, F.mse_loss(self.decoder(z_BF), x_BCT.flatten(1))


def _dense(widths: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for k, (a, b) in enumerate(pairwise(widths)):
        layers += [nn.Linear(a, b)] + ([nn.ReLU()] if k < len(widths) - 2 else [])
    return nn.Sequential(*layers)


def make_ensemble(channels: int, samples: int, latent: int, convolution: bool, seed: int) -> list[Autoencoder]:
    """Return autoencoders of 2, 3 and 4 layers; weights are drawn by the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return [Autoencoder(channels, samples, latent, depth, convolution) for depth in DEPTHS]


@dataclass(frozen=True)
class EnsembleEncoder:
    """Features of an ensemble: the latents of its members, joined."""

    members: list[Autoencoder]

    def encode(self, x_NCT: np.ndarray, amplitude_N: np.ndarray) -> np.ndarray:
        """Return ``(N, members x latent)``; the amplitude is not used."""
        with torch.no_grad():
            x = torch.from_numpy(np.ascontiguousarray(x_NCT, dtype=np.float32))
            parts = [member.encode(x) for member in self.members]
            return torch.cat(parts, dim=1).numpy()


def batches(count: int, size: int, rng: np.random.Generator, most: int) -> Iterator[torch.Tensor]:
    """Yield indices of the batches of one epoch, of at most ``most`` spikes; a last batch of one spike is left out."""
    order = rng.permutation(count)[:most]
    for start in range(0, len(order), size):
        if len(order) - start > 1 or len(order) == 1:
            yield torch.from_numpy(order[start : start + size])


def train_dense(x_NCT: np.ndarray, seed: int, settings: ClusterSettings) -> EnsembleEncoder:
    """Return v0: fully connected autoencoders trained on waveforms alone, all members in each step.

    Args:
        x_NCT: spikes, each divided by its amplitude.
        seed: of weights and batches.
        settings: epochs, batch, learning rate.
    """
    members = make_ensemble(x_NCT.shape[1], x_NCT.shape[2], settings.latent, convolution=False, seed=seed)
    x = torch.from_numpy(np.ascontiguousarray(x_NCT, dtype=np.float32))
    optimizer = torch.optim.Adam(nn.ModuleList(members).parameters(), settings.learning_rate)
    rng = np.random.default_rng(seed)
    for _ in range(settings.epochs):
        for index in batches(len(x), settings.batch, rng, settings.max_epoch):
            _step(optimizer, sum(member(x[index])[1] for member in members))
    return EnsembleEncoder([member.eval() for member in members])


def train_semi_supervised(
    x_NCT: np.ndarray, labelled_MCT: np.ndarray, class_M: np.ndarray, seed: int, settings: ClusterSettings
) -> EnsembleEncoder:
    """Return v1: convolutional autoencoders whose latents also classify labelled spikes.

    Batches alternate: spikes without labels are reconstructed; labelled ones are reconstructed and classified, each
    member by a perceptron of its own on its latents (cross-entropy).

    Args:
        x_NCT: spikes without labels, of a recording.
        labelled_MCT, class_M: spikes with labels, of other recordings; classes 0 to K - 1, one for each unit of each
            session.
        seed: of weights and batches.
        settings: epochs (over the labelled spikes), batch, learning rate.
    """
    channels, samples = labelled_MCT.shape[1:]
    members = make_ensemble(channels, samples, settings.latent, convolution=True, seed=seed)
    classes = int(class_M.max()) + 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        heads = nn.ModuleList([_dense([settings.latent, HIDDEN, classes]) for _ in members])
    x, labelled = (torch.from_numpy(np.ascontiguousarray(a, dtype=np.float32)) for a in (x_NCT, labelled_MCT))
    class_t = torch.from_numpy(class_M.astype(np.int64))
    optimizer = torch.optim.Adam([*nn.ModuleList(members).parameters(), *heads.parameters()], settings.learning_rate)
    rng = np.random.default_rng(seed)
    for _ in range(settings.epochs):
        for index in batches(len(labelled), settings.batch, rng, settings.max_epoch):
            if len(x):
                drawn = torch.from_numpy(rng.integers(len(x), size=len(index)))
                _step(optimizer, sum(member(x[drawn])[1] for member in members))
            terms = [(*member(labelled[index]), head) for member, head in zip(members, heads, strict=True)]
            _step(optimizer, sum(error + F.cross_entropy(head(z), class_t[index]) for z, error, head in terms))
    return EnsembleEncoder([member.eval() for member in members])


def _step(optimizer: torch.optim.Optimizer, loss: torch.Tensor | int) -> None:
    assert isinstance(loss, torch.Tensor)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
