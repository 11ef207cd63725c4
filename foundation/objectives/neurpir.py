"""NeurPIR: align the representations of one unit's segments at different times.

Wu et al. 2025 (arXiv 2502.10425): a unit's intrinsic properties are the same in two segments of its activity. The
segments are therefore a positive pair, aligned by VICReg, or by InfoNCE, which contrasts them with other units'.
Segment length is the augmentation. Surrounding information at the time of a segment (stimulus, behaviour, session) goes
to the projector with the segment's embedding, so that the embedding need not encode it. Written from the paper, with
the projector and weights of the released code as defaults; InfoNCE is our addition.
"""

from __future__ import annotations

import torch
from torch import nn

from foundation.data.batch import WindowBatch
from foundation.data.steps.step import StepContext
from foundation.data.steps.views import ViewSpec
from foundation.objectives.base import Objective, two_views
from foundation.objectives.method_settings import NeurPIRSettings
from foundation.objectives.parts.collapse import similarity_gap
from foundation.objectives.parts.infonce_terms import infonce_terms, no_negatives
from foundation.objectives.parts.objective_cost import ObjectiveCost, StepRows, two_view_cost
from foundation.objectives.parts.projector import perceptron, wide
from foundation.objectives.parts.rows import check_rows, counted_units, embed_rows
from foundation.objectives.parts.vicreg_terms import vicreg_terms


class NeurPIR(Objective):
    """NeurPIR with its projector.

    Args:
        settings: see `NeurPIRSettings`.
        dim: features of the model's unit embeddings.
        model: unused.

    Example:
        >>> objective = NeurPIR(NeurPIRSettings(projector=[8]), dim=4)
        >>> objective.view_spec.views
        2
    """

    def __init__(self, settings: NeurPIRSettings, dim: int, model: nn.Module | None = None) -> None:
        super().__init__()
        self.settings = settings
        beside = settings.surround.features if settings.surround else 0
        self.projector = perceptron(dim + beside, settings.projector, batch_norm=settings.batch_norm)

    @classmethod
    def cost(cls, settings: NeurPIRSettings, dim: int, patch: int, rows: StepRows) -> ObjectiveCost:
        """Return the cost of a step; see `Objective.cost`."""
        return two_view_cost(settings, dim, rows, settings.projector, settings.batch_norm, "units")

    @property
    def view_spec(self) -> ViewSpec:
        """Two segments of the same units, with surrounding information."""
        s = self.settings
        return ViewSpec(
            2, s.min_tokens, s.max_tokens, s.max_distance, surround=s.surround, apart=s.apart, condition=s.condition
        )

    def losses(
        self, model: nn.Module, views: list[WindowBatch], context: StepContext
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Return the terms of VICReg or InfoNCE over the units of all windows of all processes.

        Also ``similarity_within`` and ``similarity_between`` (the paper's first criterion) and the number of ``units``.

        Raises:
            TooFewRowsError: if fewer than two units of the global batch were active in both segments.
            ValueError: if surrounding information is missing although the settings require it.
        """
        s = self.settings
        counted_BN = counted_units(views[:2], s.min_events)
        pair = two_views(views, self.view_spec, s.augmentations, context)
        for view in pair:
            counted_BN &= view.mask_BN
        rows = embed_rows(model, pair, context, "units", counted_BN)
        check_rows(len(rows.item_M), "units")
        inputs = list(rows.z_VMD)
        if s.surround is not None:
            if context.surround_VBS is None:
                raise ValueError(
                    "surround_VBS is None: expected surrounding information, as the settings have surround"
                )
            inputs = [
                torch.cat([z, rows.of_windows(e_BS).to(z.dtype)], dim=1)
                for z, e_BS in zip(inputs, context.surround_VBS, strict=False)
            ]
        # The projector runs on the rows of all processes, so its gradient is complete on each of them.
        a_MD, b_MD = (wide(self.projector(z)) for z in inputs)
        within = s.statistics == "within"
        if s.loss == "infonce":
            unit_M = None if views[0].unit_BN is None else rows.of_units(views[0].unit_BN)
            same_MM = no_negatives(rows.item_M, rows.of_windows(context.recording_B), unit_M, within)
            terms = infonce_terms(a_MD, b_MD, s.temperature, same_MM)
        else:
            terms = vicreg_terms(a_MD, b_MD, s.vicreg, rows.item_M if within else None)
        terms |= similarity_gap(*(z.detach() for z in rows.z_VMD))
        terms["units"] = torch.tensor(float(len(rows.item_M)))
        return terms, rows.z_VMD[0]
