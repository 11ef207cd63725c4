"""How surrounding information is made; what makes it is `foundation.data.covariates`."""

from __future__ import annotations

from dataclasses import dataclass

from foundation.common.errors import ConfigError

KINDS = ("raw", "cebra")


@dataclass(frozen=True)
class SurroundSettings:
    """How surrounding information is made.

    Args:
        kind: ``cebra``: the channels through CEBRA-Time; ``raw``: their first principal components.
        dim: features of either.
        bin_width: seconds of the grid.
        pool: bins of a segment's pooled information.
        architecture: of CEBRA's encoder; ``offset10-model`` sees 10 bins.
        iterations: steps of CEBRA's training.
        time_offset: bins between the two of CEBRA's positive pairs.
        batch_size: of CEBRA's training.
        seed: of CEBRA's training.

    Raises:
        ConfigError: if a value is impossible.
    """

    kind: str = "cebra"
    dim: int = 8
    bin_width: float = 0.1
    pool: int = 4
    architecture: str = "offset10-model"
    iterations: int = 500
    time_offset: int = 10
    batch_size: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"kind is {self.kind!r}: one of {', '.join(KINDS)}")
        for name in ("dim", "pool", "iterations", "time_offset", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: at least 1")
        if self.kind == "cebra" and self.dim < 2:
            raise ConfigError("dim is 1: CEBRA's embeddings lie on a sphere, 2 or more")
        if not 0.001 <= self.bin_width <= 60:
            raise ConfigError(f"bin_width is {self.bin_width}: from 0.001 to 60 seconds")

    @property
    def features(self) -> int:
        """Numbers that describe one segment: pooled features, and whether there are any."""
        return self.dim * self.pool + 1
