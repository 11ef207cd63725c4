"""VICReg: align two augmented views of a unit or of a population.

Bardes, Ponce and LeCun 2022 (arXiv 2105.04906). The terms are in `foundation.objectives.parts.vicreg_terms`.
"""

from __future__ import annotations

import torch
from torch import nn

from foundation.data.batch import WindowBatch
from foundation.data.steps.step import StepContext
from foundation.data.steps.views import ViewSpec
from foundation.objectives.base import Objective, two_views
from foundation.objectives.method_settings import VICRegSettings
from foundation.objectives.parts.collapse import similarity_gap
from foundation.objectives.parts.objective_cost import ObjectiveCost, StepRows, two_view_cost
from foundation.objectives.parts.projector import perceptron, wide
from foundation.objectives.parts.rows import check_rows, counted_units, embed_rows
from foundation.objectives.parts.vicreg_terms import vicreg_terms


class VICReg(Objective):
    """VICReg with its expander.

    Args:
        settings: see `VICRegSettings`.
        dim: features of the model's embeddings.
        model: unused.

    Example:
        >>> VICReg(VICRegSettings(expander=[8]), dim=4).view_spec.views
        2
    """

    def __init__(self, settings: VICRegSettings, dim: int, model: nn.Module | None = None) -> None:
        super().__init__()
        self.settings = settings
        self.expander = perceptron(dim, settings.expander, batch_norm=settings.batch_norm)

    @classmethod
    def cost(cls, settings: VICRegSettings, dim: int, patch: int, rows: StepRows) -> ObjectiveCost:
        """Return the cost of a step; see `Objective.cost`."""
        cost = two_view_cost(settings, dim, rows, settings.expander, settings.batch_norm, settings.level)
        return cost if settings.segments == 2 else ObjectiveCost(**(vars(cost) | {"trained": (0, 0)}))

    @property
    def view_spec(self) -> ViewSpec:
        """One or two segments of the same units."""
        s = self.settings
        return ViewSpec(s.segments, s.min_tokens, s.max_tokens, s.max_distance, apart=s.apart, condition=s.condition)

    def losses(
        self, model: nn.Module, views: list[WindowBatch], context: StepContext
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Return VICReg's terms over the global batch, with ``similarity_within`` and ``similarity_between``.

        Raises:
            TooFewRowsError: if the global batch has fewer than two units (or windows) to compare.
        """
        s = self.settings
        counted_BN = counted_units(views[: s.segments], s.min_events)
        pair = two_views(views, self.view_spec, s.augmentations, context)
        for view in pair:
            counted_BN &= view.mask_BN
        rows = embed_rows(model, pair, context, s.level, counted_BN)
        check_rows(len(rows.item_M), s.level)
        a_MD, b_MD = (wide(self.expander(z)) for z in rows.z_VMD)
        terms = vicreg_terms(a_MD, b_MD, s.weights, rows.item_M if s.statistics == "within" else None)
        return terms | similarity_gap(*(z.detach() for z in rows.z_VMD)), rows.z_VMD[0]
