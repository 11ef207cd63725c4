"""Settings of clustering. Quick to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from foundation.common.errors import ConfigError
from foundation.common.settings.setting_limits import Count, Limited, NonNegative, Positive, above, one_of

RECIPES = ("v0", "v1", "v2", "v3", "pca", "pca_uv", "whitened", "isosplit", "spc", "idec", "vade", "contrastive")
CRITERIA = ("bic", "icl")


@dataclass(frozen=True)
class ClusterSettings(Limited):
    """Options of all recipes; each recipe reads the ones it uses.

    Args:
        latent: features of each autoencoder, and principal components of `pca`.
        epochs: of each autoencoder.
        batch: spikes of a training step.
        learning_rate: of Adam.
        min_units, max_units: range of numbers of units to try if none is given.
        criterion: of the number of units: ``bic`` or ``icl`` (integrated completed likelihood).
        max_fit: maximum spikes to fit a mixture to, drawn by seed; all spikes are labelled.
        max_epoch: maximum spikes per epoch, drawn by seed.
        atom_weight: weight of Atom loss beside the reconstruction error.
        start_units: units that v3 begins with, before they die out.
        unit_cost: cost of a unit of v3, relative to description length's half spike per feature.
        max_features: maximum features of v3.
        min_variance: minimum variance of a feature of v3 over spikes, in units of the noise's.

    Raises:
        ConfigError: if a value is invalid.
    """

    latent: Count = 3
    epochs: Count = 50
    batch: Count = 256
    learning_rate: Annotated[float, above(0)] = 1e-3
    min_units: Count = 1
    max_units: Count = 21
    criterion: Annotated[str, one_of(*CRITERIA)] = "bic"
    max_fit: Count = 5000
    max_epoch: Count = 10_000
    atom_weight: NonNegative = 1.0
    start_units: Count = 40
    unit_cost: Positive = 4.0
    max_features: Count = 10
    min_variance: Positive = 1.25

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_units < self.min_units:
            raise ConfigError(f"max_units is {self.max_units}: expected at least min_units, {self.min_units}")
