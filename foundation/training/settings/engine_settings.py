"""How a step is fitted into the memory of a device."""

from __future__ import annotations

from dataclasses import dataclass

from foundation.common.errors import ConfigError


@dataclass(frozen=True)
class EngineSettings:
    """What trades time for memory; none of it changes what is learned.

    Args:
        offload: ``none``, or ``cpu``: the optimiser's state is kept and updated in the CPU's memory (ZeRO 1 to 3).
        activation_checkpointing: each block of the encoder is computed again in the backward pass.
        accumulate: the encoder goes through a step's windows in so many parts. Losses couple the windows of a step, so
            embeddings of all parts are kept, the loss is taken over them at once, and each part is computed again in
            the backward pass: the gradient is that of the whole step. Not for encoders with a batch norm.

    Raises:
        ConfigError: if a value is impossible.
    """

    offload: str = "none"
    activation_checkpointing: bool = False
    accumulate: int = 1

    def __post_init__(self) -> None:
        if self.offload not in ("none", "cpu"):
            raise ConfigError(f"engine.offload is {self.offload!r}: one of none, cpu")
        if self.accumulate < 1:
            raise ConfigError(f"engine.accumulate is {self.accumulate}: at least 1")
