"""Settings of surrounding information, which `foundation.data.covariates` computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from foundation.common.errors import ConfigError
from foundation.common.settings.setting_limits import Count, Limited, between, one_of

KINDS = ("raw", "cebra")


@dataclass(frozen=True)
class SurroundSettings(Limited):
    """Settings of surrounding information.

    Args:
        kind: ``cebra``: the channels through CEBRA-Time; ``raw``: their first principal components.
        dim: features of either.
        bin_width: seconds of the grid.
        pool: bins of a segment's pooled information.
        architecture: of CEBRA's encoder; ``offset10-model`` sees 10 bins.
        iterations: steps of CEBRA's training.
        time_offset: bins between the two samples of CEBRA's positive pairs.
        batch_size: of CEBRA's training.
        seed: of CEBRA's training.

    Raises:
        ConfigError: if a value is invalid.
    """

    kind: Annotated[str, one_of(*KINDS)] = "cebra"
    dim: Count = 8
    bin_width: Annotated[float, between(0.001, 60, "seconds")] = 0.1
    pool: Count = 4
    architecture: str = "offset10-model"
    iterations: Count = 500
    time_offset: Count = 10
    batch_size: Count = 512
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind == "cebra" and self.dim < 2:
            raise ConfigError("dim is 1: expected at least 2, because CEBRA's embeddings lie on a sphere")

    @property
    def features(self) -> int:
        """Return the number of values per segment: pooled features, and a flag for their presence."""
        return self.dim * self.pool + 1
