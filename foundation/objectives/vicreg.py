"""VICReg: two augmented views of a unit, or of a population, are to have one representation.

Bardes, Ponce and LeCun 2022 (arXiv 2105.04906). The terms are in `foundation.objectives.vicreg_terms`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from foundation.data.augmentations import Augmentation
from foundation.data.batch import WindowBatch
from foundation.data.context import StepContext
from foundation.data.views import ViewSpec
from foundation.errors import ConfigError
from foundation.objectives.base import Objective, two_views
from foundation.objectives.collapse import similarity_gap
from foundation.objectives.projector import check_widths, perceptron, wide
from foundation.objectives.rows import check_level, check_rows, counted_units, embed_rows
from foundation.objectives.vicreg_terms import VICRegWeights, vicreg_terms
from foundation.setting_checks import check_range


@dataclass(frozen=True)
class VICRegSettings:
    """Settings of VICReg.

    Args:
        level: ``units`` or ``population``: what has two views.
        segments: 2: two segments of time; 1: one segment, augmented twice.
        shortest, longest: tokens of a segment.
        max_distance: seconds between two segments at most; null: anywhere in the recording.
        apart: the two segments do not overlap in time, where the recording has room for that.
        condition: ``table.column`` of intervals, such as ``states.state``: the second segment has another label than
            the first, where the recording has such a table; null: whatever holds.
        augmentations: of each view, in order.
        expander: widths of the expander's layers (batch norm and ReLU between them).
        batch_norm: normalise the expander's inner layers over the global batch.
        least_events: a unit counts only if each of its segments has at least this much activity; for ``units``.
        statistics: ``across``: variance and covariance of all rows of the batch; ``within``: of what is left when each
            window's mean is taken out, so that telling recordings apart earns nothing; ``within`` is for ``units``.
        weights: of the terms.

    Raises:
        ConfigError: if a value is impossible.
    """

    level: str = "units"
    segments: int = 2
    shortest: int = 8
    longest: int = 32
    max_distance: float | None = None
    apart: bool = False
    condition: str | None = None
    augmentations: list[Augmentation] = field(default_factory=list)
    expander: list[int] = field(default_factory=lambda: [256, 256, 256])
    batch_norm: bool = True
    least_events: float = 1.0
    statistics: str = "across"
    weights: VICRegWeights = field(default_factory=VICRegWeights)

    def __post_init__(self) -> None:
        ViewSpec(self.segments, self.shortest, self.longest, self.max_distance, condition=self.condition)
        check_level(self.level)
        if self.statistics not in ("across", "within") or (self.statistics == "within" and self.level != "units"):
            raise ConfigError(f"statistics is {self.statistics!r}: across, or for level units within")
        check_widths("expander", self.expander)
        check_range(least_events=self.least_events)
        if self.segments not in (1, 2):
            raise ConfigError(f"segments is {self.segments}: 1 or 2")
        if self.segments == 1 and not self.augmentations:
            raise ConfigError("segments is 1 and augmentations is empty: two views would be one, give augmentations")


class VICReg(Objective):
    """The objective, with its expander.

    Args:
        settings: see `VICRegSettings`.
        dim: features of the model's embeddings.
        model: not needed.

    Example:
        >>> VICReg(VICRegSettings(expander=[8]), dim=4).view_spec.views
        2
    """

    def __init__(self, settings: VICRegSettings, dim: int, model: nn.Module | None = None) -> None:
        super().__init__()
        self.settings = settings
        self.expander = perceptron(dim, settings.expander, batch_norm=settings.batch_norm)

    @property
    def view_spec(self) -> ViewSpec:
        """One or two segments of the same units."""
        s = self.settings
        return ViewSpec(s.segments, s.shortest, s.longest, s.max_distance, apart=s.apart, condition=s.condition)

    def losses(
        self, model: nn.Module, views: list[WindowBatch], context: StepContext
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """VICReg's terms over the global batch, with ``similarity_within`` and ``similarity_between``.

        Raises:
            TooFewRowsError: if the global batch has fewer than two units (or windows) to compare.
        """
        s = self.settings
        counted_BN = counted_units(views[: s.segments], s.least_events)
        pair = two_views(views, self.view_spec, s.augmentations, context)
        for view in pair:
            counted_BN &= view.mask_BN
        rows = embed_rows(model, pair, context, s.level, counted_BN)
        check_rows(len(rows.item_M), s.level)
        a_MD, b_MD = (wide(self.expander(z)) for z in rows.z_VMD)
        terms = vicreg_terms(a_MD, b_MD, s.weights, rows.item_M if s.statistics == "within" else None)
        return terms | similarity_gap(*(z.detach() for z in rows.z_VMD)), rows.z_VMD[0]
