"""NuCLR: distinguish each unit from the others of its population, in two views of the whole population.

Arora et al. 2025 (arXiv 2512.01199): a sample-wise decoupled contrastive loss (DCL, arXiv 2110.06848). Negatives are
the other units of the same window, in both views; the positive pair is not in the denominator.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from foundation.common.work import Work, total
from foundation.data.batch import WindowBatch
from foundation.data.steps.step import StepContext
from foundation.data.steps.views import ViewSpec
from foundation.objectives.base import Objective, two_views
from foundation.objectives.method_settings import NuCLRSettings
from foundation.objectives.parts.collapse import similarity_gap
from foundation.objectives.parts.gather import gather_rows
from foundation.objectives.parts.objective_cost import (
    FULL,
    ObjectiveCost,
    StepRows,
    collapse_work,
    perceptron_work,
    singular_values,
)
from foundation.objectives.parts.projector import wide
from foundation.objectives.parts.rows import TooFewRowsError, unit_embeddings


def decoupled_terms(
    a_BND: torch.Tensor,
    b_BND: torch.Tensor,
    in_a_BN: torch.Tensor,
    in_b_BN: torch.Tensor,
    *,
    temperature: float,
    released_form: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss summed over the matched units of each window, both views as anchors, and the number of terms.

    For unit i of view a: ``-a_i.b_i / tau + log sum_{j != i} (exp(a_i.b_j / tau) + exp(a_i.a_j / tau))``, with j over
    the units of each view; a unit without negatives does not count.

    Args:
        a_BND, b_BND: projections; row n of both is the same unit.
        in_a_BN, in_b_BN: which units each view has.
        temperature: tau.
        released_form: omit tau from similarities inside a view.

    Returns:
        ``(B,)`` sums and ``(B,)`` counts of (unit, anchor view).
    """
    a, b = F.normalize(a_BND, dim=-1), F.normalize(b_BND, dim=-1)
    n_units = a.shape[1]
    other_NN = ~torch.eye(n_units, dtype=torch.bool, device=a.device)
    matched_BN = in_a_BN & in_b_BN
    losses_B, counts_B = a.new_zeros(len(a)), a.new_zeros(len(a))
    for x, y, in_x_BN, in_y_BN in ((a, b, in_a_BN, in_b_BN), (b, a, in_b_BN, in_a_BN)):
        cross_BNN = x @ y.transpose(1, 2) / temperature
        inside_BNN = x @ x.transpose(1, 2) / (1.0 if released_form else temperature)
        negatives = torch.cat([other_NN & in_y_BN[:, None, :], other_NN & in_x_BN[:, None, :]], dim=-1)
        logits = torch.cat([cross_BNN, inside_BNN], dim=-1).masked_fill(~negatives, -torch.inf)
        counted_BN = matched_BN & negatives.any(-1)
        # Avoid a NaN gradient: a row without negatives gets one before the logarithm.
        log_sum_BN = logits.masked_fill(~counted_BN[..., None], 0.0).logsumexp(-1)
        each_BN = log_sum_BN - cross_BNN.diagonal(dim1=1, dim2=2)
        losses_B = losses_B + (each_BN * counted_BN).sum(1)
        counts_B = counts_B + counted_BN.sum(1)
    return losses_B, counts_B


class NuCLR(Objective):
    """NuCLR with its projector.

    Args:
        settings: see `NuCLRSettings`.
        dim: features of the model's unit embeddings.
        model: unused.
    """

    def __init__(self, settings: NuCLRSettings, dim: int, model: nn.Module | None = None) -> None:
        super().__init__()
        s = self.settings = settings
        self.projector = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, s.hidden), nn.ReLU(), nn.Linear(s.hidden, s.out)
        )

    @classmethod
    def cost(cls, settings: NuCLRSettings, dim: int, patch: int, rows: StepRows) -> ObjectiveCost:
        """Return the cost of a step; see `Objective.cost`."""
        # The projector sees only this process's rows; similarities are between units of one window.
        work, held, count = perceptron_work([dim, settings.hidden, settings.out], rows.own)
        pairs = float(rows.own) * rows.units
        alike = Work(4 * 6.0 * pairs * settings.out, pairs * FULL * 60, 160)
        return ObjectiveCost(
            trained=(0, 1),
            parameters=count + 2 * dim,
            work=total([work * 2, alike, collapse_work(rows.everyone, dim)]),
            singular=singular_values(rows.everyone, dim),
            gathered=2.0 * (rows.everyone - rows.own) * dim * FULL,
            held=2 * held + pairs * FULL * 10,
            collectives=8,
        )

    @property
    def view_spec(self) -> ViewSpec:
        """Two views of the population."""
        s = self.settings
        return ViewSpec(2, s.min_tokens, s.max_tokens, s.max_distance)

    def losses(
        self, model: nn.Module, views: list[WindowBatch], context: StepContext
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Return the mean over all matched units of the global batch, each an anchor in both views.

        Raises:
            TooFewRowsError: if no window has a matched unit with negatives.
        """
        s = self.settings
        pair = two_views(views, self.view_spec, s.augmentations, context)
        there = [
            changed.mask_BN & (view.x_BNT.abs().sum(-1) >= s.min_events)
            for changed, view in zip(pair, views, strict=False)
        ]
        z_VBND = [unit_embeddings(model, view) for view in pair]
        a_BND, b_BND = (wide(self.projector(z)) for z in z_VBND)
        sums_B, counts_B = decoupled_terms(
            a_BND, b_BND, *there, temperature=s.temperature, released_form=s.released_form
        )
        total = gather_rows(torch.stack([sums_B, counts_B], dim=1)).sum(0)
        if total[1].detach() < 1:
            raise TooFewRowsError(
                "no unit was active in both views of a step beside another one: raise tokens_per_step or max_units, "
                "or lower min_events"
            )
        matched_BN = there[0] & there[1]
        rows = [gather_rows(z[matched_BN].detach()) for z in z_VBND]
        return {"loss": total[0] / total[1], "pairs": total[1].detach(), **similarity_gap(*rows)}, rows[0]
