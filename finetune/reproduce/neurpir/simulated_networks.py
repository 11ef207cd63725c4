"""Simulated networks of a store by difficulty, split by network: one never stands on both sides."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import numpy as np

from finetune.reproduce.common.find_recording import source_digest
from foundation.common.errors import ConfigError
from foundation.evaluation.metrics import CLASSES, Predictions, score, sums
from foundation.store.catalog import Catalog
from foundation.store.stored import StoredRecording

# Izhikevich 2003, in the order of the simulation.
MODES = ("RS", "IB", "CH", "FS", "LTS")


@dataclass(frozen=True)
class Networks:
    """Some networks of one difficulty, and their S units.

    Args:
        recordings: one a network.
        y_S: ``(S,)`` firing mode, an index into `MODES`.
        network_S: ``(S,)`` which of the recordings.
    """

    recordings: list[StoredRecording]
    y_S: np.ndarray
    network_S: np.ndarray

    @classmethod
    def of(cls, recordings: list[StoredRecording]) -> Networks:
        """Units of some recordings.

        Raises:
            ConfigError: if a unit's ``cell_type`` is no firing mode.
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
        """Some of the networks."""
        return Networks.of(self.recordings[rows])

    @property
    def catalog(self) -> Catalog:
        """The catalog of these alone."""
        return Catalog(self.recordings[0].store, [r.record for r in self.recordings], whole=False)

    @property
    def digest(self) -> str:
        """Of the files that they were read from."""
        return hashlib.sha256("".join(source_digest(r) for r in self.recordings).encode()).hexdigest()


def find_networks(catalog: Catalog, name: str, least: int) -> Networks:
    """The networks whose subjects are ``name`` and a number, in order.

    Raises:
        ConfigError: if there are fewer than ``least``.
    """
    found = [r for r in catalog if re.fullmatch(re.escape(name) + r"\d+", r.subject.id)]
    if len(found) < least:
        raise ConfigError(f"the store has {len(found)} networks named {name!r} and a number: {least} are needed")
    return Networks.of(sorted(found, key=lambda r: r.subject.id))


def right_by_network(said_S: np.ndarray, networks: Networks) -> np.ndarray:
    """Return ``(G,)`` the balanced accuracy in each network."""
    predictions = Predictions.of_classes(networks.y_S, said_S, len(MODES), networks.network_S)
    return score(sums(predictions), CLASSES)["balanced_accuracy"]
