"""Simulated networks of a store by difficulty, and features of their spike trains without learning.

Networks are split as wholes. Features are intervals, principal components, and the
parameters of the simulation themselves.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.decomposition import PCA

from finetune.reproduce.common.run_results import source_digest
from finetune.tasks.problems.spike_statistics import unit_statistics
from foundation.common.errors import ConfigError
from foundation.data.reading.reader import ActivityReader
from foundation.evaluation.metrics import CLASSES, Predictions, score, sums
from foundation.store.catalog import Catalog
from foundation.store.stored import StoredRecording

# Izhikevich 2003, in the order of the simulation.
MODES = ("RS", "IB", "CH", "FS", "LTS")


@dataclass(frozen=True)
class Networks:
    """Networks of one difficulty and their S units.

    Args:
        recordings: one a network.
        y_S: ``(S,)`` firing mode, an index into `MODES`.
        network_S: ``(S,)`` index of the recording.
    """

    recordings: list[StoredRecording]
    y_S: np.ndarray
    network_S: np.ndarray

    @classmethod
    def of(cls, recordings: list[StoredRecording]) -> Networks:
        """Return the units of some recordings.

        Raises:
            ConfigError: if a unit's ``cell_type`` is not a firing mode.
        """
        types = [np.asarray(recording.units["cell_type"]).astype(str) for recording in recordings]
        unknown = sorted(set(np.concatenate(types).tolist()) - set(MODES))
        if unknown:
            raise ConfigError(f"cell_type is {unknown[0]!r}: one of {', '.join(MODES)}")
        network_S = np.repeat(np.arange(len(recordings)), [len(t) for t in types])
        return cls(recordings, np.array([MODES.index(t) for t in np.concatenate(types)]), network_S)

    def __len__(self) -> int:
        return len(self.recordings)

    def part(self, rows: slice) -> Networks:
        """Return a subset of the networks."""
        return Networks.of(self.recordings[rows])

    @property
    def catalog(self) -> Catalog:
        """Return the catalog of these recordings only."""
        return Catalog(self.recordings[0].store, [r.record for r in self.recordings], whole=False)

    @property
    def digest(self) -> str:
        """Digest of their source files."""
        return hashlib.sha256("".join(source_digest(r) for r in self.recordings).encode()).hexdigest()


def find_networks(catalog: Catalog, name: str, least: int) -> Networks:
    """Return the networks whose subjects are ``name`` and a number, in order.

    Raises:
        ConfigError: if the store has fewer than ``least``.
    """
    found = [r for r in catalog if re.fullmatch(re.escape(name) + r"\d+", r.subject.id)]
    if len(found) < least:
        raise ConfigError(f"the store has {len(found)} networks named {name!r} and a number: expected at least {least}")
    return Networks.of(sorted(found, key=lambda r: r.subject.id))


def right_by_network(predicted_S: np.ndarray, networks: Networks) -> np.ndarray:
    """Return ``(G,)`` the balanced accuracy in each network."""
    predictions = Predictions.of_classes(networks.y_S, predicted_S, len(MODES), networks.network_S)
    return score(sums(predictions), CLASSES)["balanced_accuracy"]


# Edges in seconds: 13 bins of equal width in the logarithm, from one simulation step to a pause.
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
    scores, and the logarithm of their mean square, which does not depend on timing within a patch.
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
    """``(S, 4)`` the parameters a, b, c, d of the simulation of each neuron, unknown in real recordings."""
    rows = [np.stack([r.units[name] for name in "abcd"], axis=1) for r in networks.recordings]
    return np.concatenate(rows).astype(np.float32)
