"""How CEBRA is fitted."""

from __future__ import annotations

from dataclasses import dataclass

from foundation.common.errors import ConfigError


@dataclass(frozen=True)
class CEBRASettings:
    """How CEBRA is fitted.

    Args:
        architecture: ``offset1-model``, ``offset5-model``, ``offset10-model`` or ``offset36-model``: bins seen at once.
        dim: features of the embedding.
        hidden: hidden features.
        time_offsets: bins between what counts as near in time.
        temperature: of InfoNCE.
        learning_rate: of Adam.
        batch_size: samples of a step.
        steps: training steps.
        seed: of weights and batches.

    Raises:
        ConfigError: if a value is impossible.
    """

    architecture: str = "offset10-model"
    dim: int = 8
    hidden: int = 32
    time_offsets: int = 10
    temperature: float = 1.0
    learning_rate: float = 3e-4
    batch_size: int = 512
    steps: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        allowed = tuple(f"offset{n}-model" for n in (1, 5, 10, 36))
        if self.architecture not in allowed:
            raise ConfigError(f"architecture is {self.architecture!r}: one of {', '.join(allowed)}")
        for name in ("dim", "hidden", "time_offsets", "batch_size", "steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: at least 1")
