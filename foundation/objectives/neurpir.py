"""NeurPIR: segments of one unit at different times are to have one representation.

Wu et al. 2025 (arXiv 2502.10425): a unit's intrinsic properties do not change between two segments of its activity, so
the two are a positive pair, brought together by VICReg. Segment length is the augmentation. Written from the paper; its
own settings for the projector and the weights are the defaults.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import distributed, nn

from foundation.data.batch import WindowBatch
from foundation.data.views import ViewSpec
from foundation.errors import ConfigError
from foundation.objectives.collapse import rank_me, similarity_gap
from foundation.objectives.gather import gather_rows
from foundation.objectives.vicreg import VICRegSettings, vicreg_terms


@dataclass(frozen=True)
class NeurPIRSettings:
    """Settings of NeurPIR.

    Args:
        shortest, longest: tokens of a segment; each draws its own length between the two.
        max_distance: seconds between two segments of a unit at most; null: anywhere in its recording.
        projector: widths of the projector's layers (ReLU between them).
        batch_norm: normalise the projector's inner layers over the global batch, as VICReg's expander does; NeurPIR's
            released code has none.
        least_events: a unit counts in a step only if each of its segments has at least this much activity (events, or
            the sum of absolute values).
        statistics: ``across``: variance and covariance of all units of the batch; ``within``: of what is left when each
            window's mean is taken out, so that telling recordings apart earns nothing.
        vicreg: weights of the terms.

    Raises:
        ConfigError: if a value is impossible.
    """

    shortest: int = 8
    longest: int = 32
    max_distance: float | None = None
    projector: list[int] = field(default_factory=lambda: [256, 256, 256])
    batch_norm: bool = True
    least_events: float = 1.0
    statistics: str = "across"
    vicreg: VICRegSettings = field(default_factory=VICRegSettings)

    def __post_init__(self) -> None:
        ViewSpec(2, self.shortest, self.longest, self.max_distance)
        if not self.projector or any(width < 1 for width in self.projector):
            raise ConfigError(f"projector is {self.projector}: one width or more, each at least 1")
        if self.statistics not in ("across", "within"):
            raise ConfigError(f"statistics is {self.statistics!r}: one of across, within")
        if self.least_events < 0:
            raise ConfigError(f"least_events is {self.least_events}: 0 or more")


def _window_numbers(counted_BN: torch.Tensor) -> torch.Tensor:
    """``(M,)`` a number per counted unit that is the same for units of one window, and differs between processes."""
    rank = distributed.get_rank() if distributed.is_initialized() else 0
    rows, _ = counted_BN.nonzero(as_tuple=True)
    return rows + rank * 1_000_000


def unit_embeddings(model: nn.Module, view: WindowBatch) -> torch.Tensor:
    """``(B, N, D)`` embeddings of a batch's units, computed in parts of like size; 0 where padded."""
    parts = [(rows, model(**part.model_inputs()).z_BND) for rows, part in view.buckets()]
    batch, n_units = view.mask_BN.shape
    z_BND = parts[0][1].new_zeros(batch, n_units, parts[0][1].shape[-1])
    for rows, z in parts:
        z_BND[rows, : z.shape[1]] = z
    return z_BND


class NeurPIR(nn.Module):
    """The objective, with its projector.

    Args:
        settings: see `NeurPIRSettings`.
        dim: features of the model's unit embeddings.

    Example:
        >>> objective = NeurPIR(NeurPIRSettings(projector=[8]), dim=4)
        >>> objective.view_spec.views
        2
    """

    def __init__(self, settings: NeurPIRSettings, dim: int) -> None:
        super().__init__()
        self.settings = settings
        widths = [dim, *settings.projector]
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise(widths)):
            layers.append(nn.Linear(before, after))
            if i < len(widths) - 2:
                # The projector sees the rows of all processes, so a plain batch norm is one over the global batch.
                layers += [nn.BatchNorm1d(after, track_running_stats=False)] if settings.batch_norm else []
                layers.append(nn.ReLU())
        self.projector = nn.Sequential(*layers)

    @property
    def view_spec(self) -> ViewSpec:
        """Two segments of the same units."""
        s = self.settings
        return ViewSpec(2, s.shortest, s.longest, s.max_distance)

    def forward(self, model: nn.Module, views: list[WindowBatch]) -> dict[str, torch.Tensor]:
        """Loss and diagnostics over the units of all windows of all processes.

        Args:
            model: gives ``z_BND`` for a view's inputs.
            views: two batches that show the same units row by row.

        Returns:
            ``loss`` and VICReg's terms; without gradient ``similarity_within``, ``similarity_between``, ``rankme``,
            ``std`` (mean over features of the embeddings' standard deviation) and ``units`` that counted.

        Raises:
            ValueError: if fewer than two units of the global batch were active in both segments.
        """
        counted_BN = views[0].mask_BN.clone()
        for view in views:
            counted_BN &= view.x_BNT.abs().sum(-1) >= self.settings.least_events
        z_MD = [gather_rows(unit_embeddings(model, view)[counted_BN]) for view in views]
        if len(z_MD[0]) < 2:
            raise ValueError(
                f"only {len(z_MD[0])} units were active in both segments of a step: raise tokens_per_step, "
                "or lower least_events"
            )
        # The projector runs on the rows of all processes: its gradient is then whole on each of them.
        a_MD, b_MD = (self.projector(z).float() if z.dtype == torch.bfloat16 else self.projector(z) for z in z_MD)
        window_M = gather_rows(_window_numbers(counted_BN)) if self.settings.statistics == "within" else None
        terms = vicreg_terms(a_MD, b_MD, self.settings.vicreg, window_M)
        with torch.no_grad():
            terms |= similarity_gap(*z_MD)
            terms["rankme"] = rank_me(z_MD[0])
            terms["std"] = z_MD[0].float().std(dim=0).mean()
            terms["units"] = torch.tensor(float(len(z_MD[0])))
        return terms
