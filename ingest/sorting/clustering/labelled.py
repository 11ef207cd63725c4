"""Labelled spikes: simulated recordings whose units are known, which v1 and the contrastive encoder learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ingest.sorting.spikes.waveforms import Waveforms


@dataclass(frozen=True)
class LabelledWaveforms:
    """Spikes of one recording and their units.

    Args:
        waveforms: N spikes.
        label_N: unit of each, or -1 for none. Unit 3 of one recording is not unit 3 of another.
    """

    waveforms: Waveforms
    label_N: np.ndarray


def joined_classes(recordings: Sequence[LabelledWaveforms]) -> tuple[np.ndarray, np.ndarray]:
    """Return the spikes of all units of all recordings, and a class of its own for each unit of each recording.

    Args:
        recordings: spikes without a unit are left out.

    Returns:
        x_MCT: each spike divided by its amplitude. class_M: from 0 on.
    """
    parts, classes, first = [], [], 0
    for recording in recordings:
        real_N = recording.label_N >= 0
        unit, label_N = np.unique(recording.label_N[real_N], return_inverse=True)
        parts.append(recording.waveforms.x_NCT[real_N])
        classes.append(label_N + first)
        first += len(unit)
    return np.concatenate(parts), np.concatenate(classes)
