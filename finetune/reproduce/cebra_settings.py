"""Settings of CEBRA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from foundation.common.settings.setting_limits import Count, Limited, one_of

ARCHITECTURES = tuple(f"offset{n}-model" for n in (1, 5, 10, 36))


@dataclass(frozen=True)
class CEBRASettings(Limited):
    """Settings of CEBRA.

    Args:
        architecture: ``offset1-model``, ``offset5-model``, ``offset10-model`` or ``offset36-model``: bins seen at once.
        dim: features of the embedding.
        hidden: hidden features.
        time_offsets: bins between samples that count as near in time.
        temperature: of InfoNCE.
        learning_rate: of Adam.
        batch_size: samples of a step.
        steps: training steps.
        seed: of weights and batches.

    Raises:
        ConfigError: if a value is invalid.
    """

    architecture: Annotated[str, one_of(*ARCHITECTURES)] = "offset10-model"
    dim: Count = 8
    hidden: Count = 32
    time_offsets: Count = 10
    temperature: float = 1.0
    learning_rate: float = 3e-4
    batch_size: Count = 512
    steps: Count = 1000
    seed: int = 0
