"""v2: convolutional autoencoders trained to reconstruct spikes and to gather them around the centroids of a mixture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ingest.sorting.clustering.atom_loss import atom_loss
from ingest.sorting.clustering.autoencoders import Autoencoder, batches, make_ensemble
from ingest.sorting.clustering.cluster_settings import ClusterSettings
from ingest.sorting.clustering.mixtures import GaussianUnits, choose_mixture, fit_mixture

CENTROID_SPIKES = 2000  # that the mixture of an epoch is fitted to
CHOOSE_EVERY = 25  # epochs after which the number of centroids is chosen anew, where it is not given
LARGEST_STEP = 1.0  # norm of the gradient


@dataclass(frozen=True)
class MemberEncoder:
    """Latents of one autoencoder, each divided by its standard deviation over the spikes it was trained on."""

    member: Autoencoder
    scale_F: np.ndarray

    def encode(self, x_NCT: np.ndarray, amplitude_N: np.ndarray) -> np.ndarray:
        """Return ``(N, latent)``; the amplitude is not used."""
        x = torch.from_numpy(np.ascontiguousarray(x_NCT, dtype=np.float32))
        return _latents(self.member, x) / self.scale_F


def train_deep_clustering(
    x_NCT: np.ndarray, n_units: int | None, seed: int, settings: ClusterSettings
) -> tuple[MemberEncoder, GaussianUnits]:
    """Return the member of which the mixture has the lowest BIC, and that mixture.

    At the start of each epoch a mixture of Gaussians is fitted to each member's latents. Its means are the centroids of
    Atom loss in that epoch. Without a number of units, theirs is chosen by BIC every 25 epochs. BIC depends on the
    scale of the latents, so each is divided by its standard deviation before members are compared.

    Args:
        x_NCT: spikes, each divided by its amplitude.
        n_units: number of units, or None.
        seed: of weights, batches and mixtures.
        settings: epochs, batch, learning rate, weight of Atom loss.
    """
    members = make_ensemble(x_NCT.shape[1], x_NCT.shape[2], settings.latent, convolution=True, seed=seed)
    x = torch.from_numpy(np.ascontiguousarray(x_NCT, dtype=np.float32))
    parameters = [p for member in members for p in member.parameters()]
    optimizer = torch.optim.Adam(parameters, settings.learning_rate)
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    centroids: list[np.ndarray | None] = [None for _ in members]
    for epoch in range(settings.epochs):
        for k, member in enumerate(members):
            z_NF = _latents(member, x[torch.from_numpy(_some(len(x), rng))])
            if n_units is None and epoch % CHOOSE_EVERY == 0:
                centroids[k] = choose_mixture(z_NF, None, seed, settings).units.mean_KF
            else:
                before = centroids[k]
                count = len(before) if before is not None else n_units or 1
                means = before if before is not None and len(before) <= len(z_NF) // 2 else None
                centroids[k] = fit_mixture(z_NF, count, seed, means).means_
        fixed = [torch.from_numpy(np.asarray(c, dtype=np.float32)) for c in centroids]
        for index in batches(len(x), settings.batch, rng, settings.max_epoch):
            loss = torch.zeros(())
            for member, centroid_KF in zip(members, fixed, strict=True):
                z, error = member(x[index])
                loss = loss + error + settings.atom_weight * atom_loss(z, centroid_KF, generator=generator)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, LARGEST_STEP)
            optimizer.step()
    for member in members:
        member.eval()
    found = [_clustered(member, x, n_units, seed, settings) for member in members]
    return min(found, key=lambda member: member[2])[:2]


def _clustered(
    member: Autoencoder, x: torch.Tensor, n_units: int | None, seed: int, settings: ClusterSettings
) -> tuple[MemberEncoder, GaussianUnits, float]:
    z_NF = _latents(member, x)
    scale_F = np.maximum(z_NF.std(axis=0), 1e-6)
    z_NF = z_NF / scale_F
    chosen = choose_mixture(z_NF, n_units, seed, settings)
    return MemberEncoder(member, scale_F), chosen.units, chosen.bic


def _latents(member: Autoencoder, x: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        z_NF: np.ndarray = member.encode(x).numpy()
    return z_NF


def _some(count: int, rng: np.random.Generator) -> np.ndarray:
    return np.sort(rng.permutation(count)[:CENTROID_SPIKES])
