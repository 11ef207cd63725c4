"""NeurPIR: segments of one unit at different times are to have one representation.

Wu et al. 2025 (arXiv 2502.10425): a unit's intrinsic properties do not change between two segments of its activity, so
the two are a positive pair, brought together by VICReg. Segment length is the augmentation. What surrounds the unit at
the time of a segment (stimulus, behaviour, session) goes to the projector beside the segment's embedding, so that the
embedding need not hold it. Written from the paper; the released code's settings for the projector and the weights are
the defaults.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from foundation.data.augmentations import Augmentation
from foundation.data.batch import WindowBatch
from foundation.data.context import StepContext
from foundation.data.surround import SurroundSettings
from foundation.data.views import ViewSpec
from foundation.errors import ConfigError
from foundation.objectives.base import Objective, two_views
from foundation.objectives.collapse import similarity_gap
from foundation.objectives.projector import check_widths, perceptron, wide
from foundation.objectives.rows import check_rows, counted_units, embed_rows
from foundation.objectives.vicreg_terms import VICRegWeights, vicreg_terms
from foundation.setting_checks import check_range


@dataclass(frozen=True)
class NeurPIRSettings:
    """Settings of NeurPIR.

    Args:
        shortest, longest: tokens of a segment; each draws its own length between the two.
        max_distance: seconds between two segments of a unit at most; null: anywhere in its recording.
        apart: the two segments do not overlap in time, where the recording has room for that.
        condition: ``table.column`` of intervals, such as ``states.state``: the second segment has another label than
            the first, where the recording has such a table; null: whatever holds.
        projector: widths of the projector's layers (ReLU between them).
        batch_norm: normalise the projector's inner layers over the global batch, as VICReg's expander does; NeurPIR's
            released code has none.
        least_events: a unit counts in a step only if each of its segments has at least this much activity (events, or
            the sum of absolute values).
        statistics: ``across``: variance and covariance of all units of the batch; ``within``: of what is left when each
            window's mean is taken out, so that telling recordings apart earns nothing.
        vicreg: weights of the terms.
        surround: surrounding information; null: none.
        augmentations: of each segment, in order, beside its length.

    Raises:
        ConfigError: if a value is impossible.
    """

    shortest: int = 8
    longest: int = 32
    max_distance: float | None = None
    apart: bool = False
    condition: str | None = None
    projector: list[int] = field(default_factory=lambda: [256, 256, 256])
    batch_norm: bool = True
    least_events: float = 1.0
    statistics: str = "across"
    vicreg: VICRegWeights = field(default_factory=VICRegWeights)
    surround: SurroundSettings | None = None
    augmentations: list[Augmentation] = field(default_factory=list)

    def __post_init__(self) -> None:
        ViewSpec(2, self.shortest, self.longest, self.max_distance, condition=self.condition)
        check_widths("projector", self.projector)
        if self.statistics not in ("across", "within"):
            raise ConfigError(f"statistics is {self.statistics!r}: one of across, within")
        check_range(least_events=self.least_events)


class NeurPIR(Objective):
    """The objective, with its projector.

    Args:
        settings: see `NeurPIRSettings`.
        dim: features of the model's unit embeddings.
        model: not needed.

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

    @property
    def view_spec(self) -> ViewSpec:
        """Two segments of the same units, and what surrounds them."""
        s = self.settings
        return ViewSpec(
            2, s.shortest, s.longest, s.max_distance, surround=s.surround, apart=s.apart, condition=s.condition
        )

    def losses(
        self, model: nn.Module, views: list[WindowBatch], context: StepContext
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """VICReg's terms over the units of all windows of all processes.

        With ``similarity_within`` and ``similarity_between`` (the paper's first criterion) and ``units`` that counted.

        Raises:
            TooFewRowsError: if fewer than two units of the global batch were active in both segments.
            ValueError: if there is no surrounding information where the settings ask for it.
        """
        s = self.settings
        counted_BN = counted_units(views[:2], s.least_events)
        pair = two_views(views, self.view_spec, s.augmentations, context)
        for view in pair:
            counted_BN &= view.mask_BN
        rows = embed_rows(model, pair, context, "units", counted_BN)
        check_rows(len(rows.item_M), "units")
        inputs = list(rows.z_VMD)
        if s.surround is not None:
            if context.surround_VBS is None:
                raise ValueError("there is no surrounding information in the step's context, and settings ask for it")
            inputs = [
                torch.cat([z, rows.of_windows(e_BS).to(z.dtype)], dim=1)
                for z, e_BS in zip(inputs, context.surround_VBS, strict=False)
            ]
        # The projector runs on the rows of all processes: its gradient is then whole on each of them.
        a_MD, b_MD = (wide(self.projector(z)) for z in inputs)
        terms = vicreg_terms(a_MD, b_MD, s.vicreg, rows.item_M if s.statistics == "within" else None)
        terms |= similarity_gap(*(z.detach() for z in rows.z_VMD))
        terms["units"] = torch.tensor(float(len(rows.item_M)))
        return terms, rows.z_VMD[0]
