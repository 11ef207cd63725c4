"""Features of an unchanged checkpoint, computed once for each recording and its windows."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from foundation.models import EIT
from foundation.store.result_cache import ResultCache
from foundation.store.stored import StoredRecording


@dataclass(frozen=True)
class FeatureCache:
    """Features of one checkpoint, kept in the store of the recordings.

    Features of any other model, such as a finetuned copy or one with rows for new units, are neither read nor kept.

    Args:
        model: the checkpoint's model; it must not be changed in place.
        checkpoint: digest of the checkpoint.
        results: cache for the features.
    """

    model: EIT
    checkpoint: str
    results: ResultCache

    def get(
        self,
        model: EIT,
        kind: str,
        settings: Mapping[str, Any],
        recording: StoredRecording,
        compute: Callable[[], np.ndarray],
    ) -> np.ndarray:
        """Return features of a recording, from the cache if the model is the checkpoint's.

        Args:
            model: the model that computes the features.
            kind: kind of features, with a version of the code that computes them.
            settings: all other settings that decide the features, as JSON values.
            recording: the recording.
            compute: returns the features.
        """
        if model is not self.model:
            return compute()
        about = {**settings, "checkpoint": self.checkpoint, **_machine(model)}
        return self.results.get(kind, about, [recording.record.digest], compute)


def _machine(model: EIT) -> dict[str, Any]:
    """Return the properties of the machine that decide the last bits of a result."""
    return {
        "torch": torch.__version__,
        "device": model.device.type,
        "machine": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "threads": torch.get_num_threads(),
    }
