"""Published deep clustering of our own writing, small: IDEC and VaDE on fully connected autoencoders.

IDEC: Guo, Gao, Liu and Yin 2017; soft assignments by a Student t kernel are sharpened while spikes are reconstructed.
VaDE: Jiang, Zheng, Tan, Tang and Zhou 2017 (arXiv 1611.05148); a variational autoencoder with a mixture prior.
Both start from an autoencoder trained on the same spikes. Where the number of units is not given, it is chosen by BIC
on that autoencoder's latents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ingest.sorting.clustering.autoencoders import Autoencoder, batches
from ingest.sorting.clustering.cluster_settings import ClusterSettings
from ingest.sorting.clustering.mixtures import GaussianUnits, choose_mixture

DEPTH = 3
LATENT = 5
KL_WEIGHT = 0.1  # of IDEC's clustering loss beside reconstruction, as published
SAMPLE_STD = 0.1  # of what VaDE expects a sample of a spike of amplitude 1 to differ from its reconstruction


@dataclass(frozen=True)
class LatentEncoder:
    """Latents of one network."""

    member: Autoencoder

    def encode(self, x_NCT: np.ndarray, amplitude_N: np.ndarray) -> np.ndarray:
        """Return ``(N, latent)``; the amplitude is not used."""
        with torch.no_grad():
            z: np.ndarray = self.member.encode(_tensor(x_NCT)).numpy()
        return z


@dataclass(frozen=True)
class NearestCentres:
    """Labels latents by the nearest centre under a Student t kernel."""

    mean_KF: np.ndarray

    @property
    def n_units(self) -> int:
        """Number of centres."""
        return len(self.mean_KF)

    def assign(self, z_NF: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the nearest centre of each spike and its share of the kernel."""
        q_NK = 1 / (1 + ((z_NF[:, None] - self.mean_KF) ** 2).sum(axis=2))
        q_NK /= q_NK.sum(axis=1, keepdims=True)
        return q_NK.argmax(axis=1), q_NK.max(axis=1).astype(np.float32)


def train_idec(
    x_NCT: np.ndarray, n_units: int | None, seed: int, settings: ClusterSettings
) -> tuple[LatentEncoder, NearestCentres]:
    """Return IDEC's encoder and centres."""
    member, units = _pretrained(x_NCT, n_units, seed, settings)
    x = _tensor(x_NCT)
    centre_KF = nn.Parameter(torch.from_numpy(units.mean_KF.astype(np.float32)))
    optimizer = torch.optim.Adam([*member.parameters(), centre_KF], settings.learning_rate)
    rng = np.random.default_rng([seed, 1])
    for _ in range(settings.epochs):
        with torch.no_grad():
            target_NK = _sharpened(_soft(member.encode(x), centre_KF))
        for index in batches(len(x), settings.batch, rng, settings.max_epoch):
            z, error = member(x[index])
            divergence = F.kl_div(_soft(z, centre_KF).log(), target_NK[index], reduction="batchmean")
            _descend(optimizer, error + KL_WEIGHT * divergence)
    return LatentEncoder(member.eval()), NearestCentres(centre_KF.detach().numpy())


def _soft(z_BF: torch.Tensor, centre_KF: torch.Tensor) -> torch.Tensor:
    q_BK = 1 / (1 + (z_BF[:, None] - centre_KF).pow(2).sum(dim=2))
    return q_BK / q_BK.sum(dim=1, keepdim=True)


def _sharpened(q_NK: torch.Tensor) -> torch.Tensor:
    p_NK = q_NK**2 / q_NK.sum(dim=0)
    return p_NK / p_NK.sum(dim=1, keepdim=True)


def train_vade(
    x_NCT: np.ndarray, n_units: int | None, seed: int, settings: ClusterSettings
) -> tuple[LatentEncoder, GaussianUnits]:
    """Return VaDE's encoder (of the mean) and its prior mixture (diagonal covariances)."""
    member, units = _pretrained(x_NCT, n_units, seed, settings)
    x = _tensor(x_NCT)
    spread = nn.Linear(x_NCT.shape[1] * x_NCT.shape[2], LATENT)
    nn.init.zeros_(spread.weight)
    nn.init.constant_(spread.bias, -3.0)
    variance_KF = np.stack([1 / (f**2).sum(axis=1) for f in units.factor_KFF])
    logit_K, mean_KF, log_var_KF = (
        nn.Parameter(torch.from_numpy(a.astype(np.float32)))
        for a in (np.log(units.weight_K), units.mean_KF, np.log(np.maximum(variance_KF, 1e-4)))
    )
    optimizer = torch.optim.Adam(
        [*member.parameters(), *spread.parameters(), logit_K, mean_KF, log_var_KF], settings.learning_rate
    )
    rng, generator = np.random.default_rng([seed, 1]), torch.Generator().manual_seed(seed)
    for _ in range(settings.epochs):
        for index in batches(len(x), settings.batch, rng, settings.max_epoch):
            flat = x[index].flatten(1)
            mu, log_s = member.encode(x[index]), spread(flat)
            z = mu + torch.exp(0.5 * log_s) * torch.randn(mu.shape, generator=generator)
            error = ((member.decoder(z) - flat) ** 2).sum(dim=1).mean() / (2 * SAMPLE_STD**2)
            log_pi = F.log_softmax(logit_K, dim=0)
            variance = log_var_KF.exp()
            density = -0.5 * (log_var_KF + (z[:, None] - mean_KF) ** 2 / variance).sum(dim=2) + log_pi
            share = density.softmax(dim=1)
            prior = log_var_KF + log_s.exp()[:, None] / variance + (mu[:, None] - mean_KF) ** 2 / variance
            divergence = 0.5 * (share * prior.sum(dim=2)).sum(dim=1)
            divergence = divergence + (share * (share.clamp(min=1e-9).log() - log_pi)).sum(dim=1)
            _descend(optimizer, error + (divergence - 0.5 * (1 + log_s).sum(dim=1)).mean())
    with torch.no_grad():
        factor_KFF = torch.diag_embed(torch.exp(-0.5 * log_var_KF)).double().numpy()
        found = GaussianUnits(logit_K.softmax(dim=0).double().numpy(), mean_KF.double().numpy(), factor_KFF)
    return LatentEncoder(member.eval()), found


def _pretrained(
    x_NCT: np.ndarray, n_units: int | None, seed: int, settings: ClusterSettings
) -> tuple[Autoencoder, GaussianUnits]:
    """Return an autoencoder of the spikes, and a mixture of its latents."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        member = Autoencoder(x_NCT.shape[1], x_NCT.shape[2], LATENT, DEPTH, convolution=False)
    x = _tensor(x_NCT)
    optimizer = torch.optim.Adam(member.parameters(), settings.learning_rate)
    rng = np.random.default_rng(seed)
    for _ in range(settings.epochs):
        for index in batches(len(x), settings.batch, rng, settings.max_epoch):
            _descend(optimizer, member(x[index])[1])
    z_NF = LatentEncoder(member).encode(x_NCT, np.zeros(0))
    return member, choose_mixture(z_NF, n_units, seed, settings).units


def _tensor(x_NCT: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(x_NCT, dtype=np.float32))


def _descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
