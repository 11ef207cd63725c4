"""What is read from spike trains without learning: intervals, principal components, and the parameters themselves."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.decomposition import PCA

from finetune.reproduce.neurpir.simulated_networks import Networks
from finetune.tasks.spike_statistics import unit_statistics
from foundation.data.reading.reader import ActivityReader

# Edges in seconds: 13 bins of equal width in the logarithm, from one step of the simulation to what is a pause.
EDGES = np.geomspace(0.001, 10.0, 14)


def interval_features(networks: Networks) -> np.ndarray:
    """``(S, 26)``: 13 statistics of rate, intervals and irregularity, and shares of 13 lengths of interval."""
    rows = []
    for recording in networks.recordings:
        units = np.arange(recording.n_units)
        rows.append(np.concatenate([unit_statistics(recording, units), interval_shares(recording)], axis=1))
    return np.concatenate(rows).astype(np.float32)


def interval_shares(recording: object) -> np.ndarray:
    """``(N, 13)`` share of each unit's intervals between `EDGES`; 0 for a unit without any."""
    spikes = recording.spike_blocks.to_spikes()  # type: ignore[attr-defined]
    shares = []
    for unit in range(recording.n_units):  # type: ignore[attr-defined]
        counts = np.histogram(np.clip(np.diff(spikes.train(unit)), EDGES[0], EDGES[-1]), EDGES)[0]
        shares.append(counts / max(counts.sum(), 1))
    return np.array(shares)


def component_features(
    train: Networks, test: Networks, *, bin_width: float, patch_length: int, components: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Features ``(S, 2 * components)`` by principal components of patches of binned activity.

    The components are those of the training networks' patches. A unit's features are the mean of each component's
    scores, and the logarithm of their mean square, which does not depend on when in a patch something happened.
    """
    patches = [_patches(networks, bin_width, patch_length) for networks in (train, test)]
    learned = np.concatenate(patches[0]).reshape(-1, patch_length)
    rng = np.random.default_rng(seed)
    some = learned[np.sort(rng.permutation(len(learned))[:50_000])]
    pca = PCA(min(components, patch_length), svd_solver="full").fit(some)
    features = []
    for part in patches:
        rows = []
        for x_NPT in part:
            scores_NPC = pca.transform(x_NPT.reshape(-1, patch_length)).reshape(*x_NPT.shape[:2], -1)
            rows.append(np.concatenate([scores_NPC.mean(1), np.log((scores_NPC**2).mean(1) + 1e-6)], axis=1))
        features.append(np.concatenate(rows).astype(np.float32))
    return features[0], features[1]


def _patches(networks: Networks, bin_width: float, patch_length: int) -> list[np.ndarray]:
    """``(N, P, T)`` log1p counts of each network, all of its observed time in whole patches."""
    found = []
    for recording in networks.recordings:
        reader = ActivityReader(recording)
        start, end = float(reader.domain.start[0]), float(reader.domain.end[0])
        n_patches = int((end - start) / (bin_width * patch_length) + 1e-6)
        table = reader.table([start], n_patches * patch_length, bin_width)
        x_NT = reader.read(table, dtype=torch.float32).x_BNT[0].numpy()
        found.append(np.log1p(x_NT.reshape(len(x_NT), n_patches, patch_length)))
    return found


def parameter_features(networks: Networks) -> np.ndarray:
    """``(S, 4)`` the parameters a, b, c, d that each neuron was simulated with: what no recording tells."""
    rows = [np.stack([r.units[name] for name in "abcd"], axis=1) for r in networks.recordings]
    return np.concatenate(rows).astype(np.float32)
