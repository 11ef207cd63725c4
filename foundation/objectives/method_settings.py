"""Settings of each objective. Light to import: `foundation pretrain --help` shows them without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from foundation.common.errors import ConfigError
from foundation.common.settings.renamed_settings import renamed
from foundation.common.settings.setting_checks import check_widths
from foundation.common.settings.setting_limits import (
    Count,
    Limited,
    NonNegative,
    Share,
    check_limits,
    finite,
    one_of,
    whole,
)
from foundation.data.augmentation_settings import Augmentation
from foundation.data.covariate_settings import SurroundSettings
from foundation.data.steps.views import ViewSpec

Statistics = Annotated[str, one_of("across", "within")]
Level = Annotated[str, one_of("units", "population")]


class MethodSettings:
    """Base of an objective's settings, whose annotations hold the limits.

    Raises:
        ConfigError: if a value is outside its limits.
    """

    def __post_init__(self) -> None:
        check_limits(self)

    def own_config(self) -> Any:
        """Return the configuration of an encoder that replaces the run's model; None: any model fits."""
        return None

    def own_units(self) -> int | None:
        """Return the number of units of the single population that the objective needs; None: any population fits."""
        units: int | None = getattr(self.own_config(), "units", None)
        return units


@dataclass(frozen=True)
class VICRegWeights(Limited):
    """Weights of the three terms.

    Args:
        invariance: weight of the mean squared distance between views.
        variance: weight of the hinge loss on each feature's standard deviation.
        covariance: weight of the squared covariances between features.
        target: standard deviation below which the variance term is above 0.
        eps: added to variances before the root.

    Raises:
        ConfigError: if a weight is negative, a bound is not positive, or one is not finite.
    """

    invariance: NonNegative = 25.0
    variance: NonNegative = 25.0
    covariance: NonNegative = 1.0
    target: Annotated[float, finite(low_too=False)] = 1.0
    eps: Annotated[float, finite(low_too=False)] = 1e-4


@dataclass(frozen=True)
class NeurPIRSettings(MethodSettings):
    """Settings of NeurPIR.

    Args:
        min_tokens, max_tokens: range of a segment's length in tokens; each segment draws its own length.
        max_distance: largest distance in seconds between two segments of a unit; null: anywhere in its recording.
        apart: the two segments do not overlap in time, if the recording is long enough.
        condition: ``table.column`` of intervals, such as ``states.state``: the second segment has a different label
            from the first, if the recording has the table; null: no condition.
        projector: widths of the projector's layers (ReLU between them).
        batch_norm: normalise the projector's inner layers over the global batch, as VICReg's expander does; NeurPIR's
            released code does not.
        min_events: a unit counts in a step only if each of its segments has at least this much activity (events, or
            the sum of absolute values).
        loss: ``vicreg`` brings the two segments of a unit together and keeps features spread; ``infonce`` contrasts a
            unit's second segment with those of all other units.
        temperature: of InfoNCE's similarities.
        statistics: ``across``: variance and covariance of all units of the batch; ``within``: the same after each
            window's mean is subtracted, so that differences between recordings do not count. With InfoNCE: negatives
            are all other units of the batch, or of the window.
        vicreg: weights of VICReg's terms.
        surround: surrounding information; null: none.
        augmentations: of each segment, in order, in addition to its length.

    Raises:
        ConfigError: if a value is invalid.
    """

    min_tokens: int = renamed("shortest", 8)
    max_tokens: int = renamed("longest", 32)
    max_distance: float | None = None
    apart: bool = False
    condition: str | None = None
    projector: list[int] = field(default_factory=lambda: [256, 256, 256])
    batch_norm: bool = True
    min_events: NonNegative = renamed("least_events", 1.0)
    loss: Annotated[str, one_of("vicreg", "infonce")] = "vicreg"
    temperature: Annotated[float, finite(low_too=False)] = 0.1
    statistics: Statistics = "across"
    vicreg: VICRegWeights = field(default_factory=VICRegWeights)
    surround: SurroundSettings | None = None
    augmentations: list[Augmentation] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        ViewSpec(2, self.min_tokens, self.max_tokens, self.max_distance, condition=self.condition)
        check_widths("projector", self.projector)


@dataclass(frozen=True)
class VICRegSettings(MethodSettings):
    """Settings of VICReg.

    Args:
        level: ``units`` or ``population``: whose embeddings are compared.
        segments: 2: two segments of time; 1: one segment, augmented twice.
        min_tokens, max_tokens: tokens of a segment.
        max_distance: largest distance in seconds between two segments; null: anywhere in the recording.
        apart: the two segments do not overlap in time, if the recording is long enough.
        condition: ``table.column`` of intervals, such as ``states.state``: the second segment has a different label
            from the first, if the recording has the table; null: no condition.
        augmentations: of each view, in order.
        expander: widths of the expander's layers (batch norm and ReLU between them).
        batch_norm: normalise the expander's inner layers over the global batch.
        min_events: a unit counts only if each of its segments has at least this much activity; for ``units``.
        statistics: ``across``: variance and covariance of all rows of the batch; ``within``: the same after each
            window's mean is subtracted, so that differences between recordings do not count; only for ``units``.
        weights: of the terms.

    Raises:
        ConfigError: if a value is invalid.
    """

    level: Level = "units"
    segments: Annotated[int, one_of(1, 2)] = 2
    min_tokens: int = renamed("shortest", 8)
    max_tokens: int = renamed("longest", 32)
    max_distance: float | None = None
    apart: bool = False
    condition: str | None = None
    augmentations: list[Augmentation] = field(default_factory=list)
    expander: list[int] = field(default_factory=lambda: [256, 256, 256])
    batch_norm: bool = True
    min_events: NonNegative = renamed("least_events", 1.0)
    statistics: Statistics = "across"
    weights: VICRegWeights = field(default_factory=VICRegWeights)

    def __post_init__(self) -> None:
        super().__post_init__()
        ViewSpec(self.segments, self.min_tokens, self.max_tokens, self.max_distance, condition=self.condition)
        if self.statistics == "within" and self.level != "units":
            raise ConfigError(f"statistics is {self.statistics!r}: expected across, or within for level units")
        check_widths("expander", self.expander)
        if self.segments == 1 and not self.augmentations:
            raise ConfigError(
                "segments is 1 and augmentations is empty: the two views would be equal; give augmentations"
            )


@dataclass(frozen=True)
class MYOWSettings(MethodSettings):
    """Settings of MYOW and BYOL.

    Args:
        level: ``population`` or ``units``: whose embeddings are predicted.
        encoder: widths of a perceptron over the neurons of one population, which replaces the run's model as in the
            published MYOW; empty: the run's model.
        units: neurons of that population; the run uses the one recording with exactly this number.
        min_tokens, max_tokens: tokens of a view.
        max_distance: largest distance in seconds between the two views; null: anywhere in the recording.
        augmentations: of each view, in order.
        projector: widths of the projector's layers; empty: the identity.
        predictor: width of the predictor's hidden layer.
        mined_projector: widths of the second projector, applied to the first projector's output.
        mined_predictor: width of its predictor's hidden layer.
        batch_norm: normalise inner layers over the global batch.
        mined_weight: weight w of the mined loss: the losses count 1 / (1 + w) and w / (1 + w); 0: BYOL.
        mined_from, mined_until: shares of the run between which w rises from 0.
        candidates: candidate segments per window; the candidates of the global batch form the pool.
        candidate_augmentations: of candidates.
        neighbours: number of nearest candidates from which one is chosen at random.
        exclusion: smallest distance in seconds from the window to a candidate of the same recording.
        across_recordings: also mine candidates from other recordings.
        momentum: of the target network at the start.
        momentum_schedule: ``cosine``: rises to 1 along half a cosine; ``constant``.
        min_events: a unit counts only if each view has at least this much activity; for ``units``.

    Raises:
        ConfigError: if a value is invalid.
    """

    level: Level = "population"
    encoder: list[int] = field(default_factory=list)
    units: int = 1
    min_tokens: int = renamed("shortest", 1)
    max_tokens: int = renamed("longest", 1)
    max_distance: float | None = 0.4
    augmentations: list[Augmentation] = field(default_factory=list)
    projector: list[int] = field(default_factory=lambda: [256, 32])
    predictor: Count = 256
    mined_projector: list[int] = field(default_factory=lambda: [64, 16])
    mined_predictor: Count = 64
    batch_norm: bool = True
    mined_weight: NonNegative = 0.1
    mined_from: float = 0.01
    mined_until: float = 0.11
    candidates: int = 2
    candidate_augmentations: list[Augmentation] = field(default_factory=list)
    neighbours: int = 3
    exclusion: NonNegative = 1.0
    across_recordings: bool = False
    momentum: Share = 0.9
    momentum_schedule: Annotated[str, one_of("cosine", "constant")] = "cosine"
    min_events: NonNegative = renamed("least_events", 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        ViewSpec(2, self.min_tokens, self.max_tokens, self.max_distance, self.candidates)
        check_widths("projector", self.projector, least=0)
        check_widths("encoder", self.encoder, least=0)
        if self.encoder:
            self._check_encoder()
        check_widths("mined_projector", self.mined_projector)
        if self.mined_weight > 0 and (self.candidates < 1 or self.neighbours < 1):
            raise ConfigError(
                f"candidates is {self.candidates}, neighbours {self.neighbours}: expected at least 1 of each to mine"
            )
        if not 0 <= self.mined_from <= self.mined_until <= 1:
            raise ConfigError(
                f"mined_from is {self.mined_from}, mined_until {self.mined_until}: expected 0 <= from <= until <= 1"
            )

    def _check_encoder(self) -> None:
        if self.level != "population" or self.min_tokens != self.max_tokens or self.units < 1:
            raise ConfigError(
                f"level is {self.level!r}, min_tokens {self.min_tokens}, max_tokens {self.max_tokens}, units "
                f"{self.units}: expected level population, equal min_tokens and max_tokens, and units of at least 1, "
                "as the encoder is a perceptron"
            )
        cut = {"unit_subsampling", "temporal_jitter", "segment_length", "time_scaling"}
        names = [a.name for a in [*self.augmentations, *self.candidate_augmentations] if a.name in cut]
        if names:
            raise ConfigError(
                f"augmentations has {names[0]}: expected augmentations that keep the size, as the encoder is a "
                "perceptron"
            )

    def own_config(self) -> Any:
        """Return the perceptron's configuration, a `PopulationMLPConfig`; None where ``encoder`` is empty."""
        from foundation.models.population_mlp import PopulationMLPConfig

        return PopulationMLPConfig(units=self.units, widths=self.encoder) if self.encoder else None

    def weight_at(self, progress: float) -> float:
        """Return the mined weight at a share of the run."""
        if progress >= self.mined_until:
            return self.mined_weight
        if progress <= self.mined_from:
            return 0.0
        return self.mined_weight * (progress - self.mined_from) / (self.mined_until - self.mined_from)


@dataclass(frozen=True)
class NuCLRSettings(MethodSettings):
    """Settings of the contrastive loss.

    Args:
        min_tokens, max_tokens: tokens of a view.
        max_distance: largest distance in seconds between two views; null: anywhere in the recording.
        augmentations: of each view; the paper keeps 50 to 100 % of the units (``unit_subsampling``, share 0.5).
        hidden, out: widths of the projector (layer norm, linear, ReLU, linear).
        temperature: of the similarities.
        released_form: omit the temperature from similarities inside a view, as the released code does.
        min_events: a unit counts in a view only if it has at least this much activity there.

    Raises:
        ConfigError: if a value is invalid.
    """

    min_tokens: int = renamed("shortest", 10)
    max_tokens: int = renamed("longest", 10)
    max_distance: float | None = 30.0
    augmentations: list[Augmentation] = field(default_factory=list)
    hidden: Count = 256
    out: Count = 256
    temperature: Annotated[float, finite(low_too=False)] = 0.2
    released_form: bool = False
    min_events: NonNegative = renamed("least_events", 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        ViewSpec(2, self.min_tokens, self.max_tokens, self.max_distance)


@dataclass(frozen=True)
class SwapVAESettings(MethodSettings):
    """Settings of Swap-VAE.

    Args:
        units: neurons of the single population; the run uses the one recording with exactly this number.
        content, style: features of each.
        hidden: width of the inner layers.
        hertz: read rates in events a second instead of events, as the released code does.
        max_distance: largest distance in seconds between two views.
        augmentations: of each view; reconstructions are compared with the activity before augmentation.
        divergence: weight of the style's divergence from a standard normal.
        alignment: weight of the distance between the contents of two views.

    Raises:
        ConfigError: if a value is invalid.
    """

    units: Annotated[int, whole(1)] = 1
    content: Annotated[int, whole(1)] = 64
    style: Annotated[int, whole(1)] = 64
    hidden: Annotated[int, whole(1)] = 128
    hertz: bool = False
    max_distance: float | None = 0.5
    augmentations: list[Augmentation] = field(default_factory=list)
    divergence: NonNegative = 10.0
    alignment: NonNegative = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        ViewSpec(2, 1, 1, self.max_distance)

    def own_config(self) -> Any:
        """Return the network's configuration, a `SwapVAEConfig`."""
        from foundation.models.swap_vae_network import SwapVAEConfig

        return SwapVAEConfig(
            units=self.units, content=self.content, style=self.style, hidden=self.hidden, hertz=self.hertz
        )
