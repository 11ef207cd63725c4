"""NDT's masked modelling: predict the number of events in hidden bins.

Ye and Pandarinath 2021 (arXiv 2108.01210): a share of the input is set to 0, and the Poisson likelihood of the hidden
counts is maximised. Sampled values are not counts and are predicted by their mean squared error.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from foundation.common.work import Work, total
from foundation.data.batch import WindowBatch
from foundation.data.steps.step import StepContext
from foundation.data.steps.views import ViewSpec
from foundation.objectives.base import Objective
from foundation.objectives.masked_settings import NDTSettings
from foundation.objectives.parts.gather import gather_rows
from foundation.objectives.parts.objective_cost import (
    FULL,
    ObjectiveCost,
    StepRows,
    collapse_work,
    level_rows,
    perceptron_work,
    singular_values,
)
from foundation.objectives.parts.projector import wide
from foundation.objectives.parts.rows import parts_for_all


def poisson_nll(log_rate: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Return ``exp(log_rate) - count * log_rate``: the negative log-likelihood up to a constant.

    Example:
        >>> float(poisson_nll(torch.tensor(0.0), torch.tensor(3.0)))
        1.0
    """
    return log_rate.exp() - count * log_rate


class NDT(Objective):
    """Masked modelling with its read-out.

    Args:
        settings: see `NDTSettings`.
        dim: features of the model's tokens.
        model: sets the number of bins of a token (``config.patch_length``; 1 if it has none).
    """

    def __init__(self, settings: NDTSettings, dim: int, model: nn.Module | None = None) -> None:
        super().__init__()
        self.settings = settings
        self.bins = int(getattr(getattr(model, "config", None), "patch_length", 1))
        self.readout = nn.Linear(dim, self.bins * max(settings.units, 1))

    @classmethod
    def cost(cls, settings: NDTSettings, dim: int, patch: int, rows: StepRows) -> ObjectiveCost:
        """Return the cost of a step; see `Objective.cost`."""
        everyone = level_rows(rows, "population")[1]
        out = patch * max(settings.units, 1)
        read = rows.neuron_tokens if not settings.units else rows.neuron_tokens // settings.units
        work, held, count = perceptron_work([dim, out], read)
        bins = rows.neuron_tokens * patch * FULL
        return ObjectiveCost(
            trained=(0,),
            parameters=count,
            work=total([work, Work(0.0, bins * 40, 120), collapse_work(everyone, dim)]),
            singular=singular_values(everyone, dim),
            gathered=float(everyone - rows.windows) * dim * FULL,
            held=held + bins * 4,
            collectives=6,
        )

    @property
    def view_spec(self) -> ViewSpec:
        """One window."""
        return ViewSpec(1, self.settings.min_tokens, self.settings.max_tokens)

    def hidden(self, view: WindowBatch, context: StepContext) -> torch.Tensor:
        """Return ``(B, N, T)``, which bins are hidden: only valid bins, and at least one in every window."""
        share, hide = self.settings.share, self.settings.hide
        n_units, n_tokens = view.mask_BN.shape[1], view.mask_BT.shape[1] // self.bins
        draws = context.draws("hidden")
        tokens_BT = view.mask_BT.unflatten(1, (n_tokens, -1)).all(-1)
        there_BNT = view.mask_BN[:, :, None] & tokens_BT[:, None, :]
        if hide == "tokens":
            u_BNT = draws.uniform(n_units, n_tokens)
        elif hide == "time":
            u_BNT = draws.uniform(n_tokens)[:, None, :].expand(there_BNT.shape)
        else:
            u_BNT = draws.uniform(n_units)[:, :, None].expand(there_BNT.shape)
        # If nothing is drawn in a window, the entry with the smallest draw is hidden.
        least_B = u_BNT.masked_fill(~there_BNT, 2.0).amin((1, 2))
        hidden_BNT = there_BNT & (u_BNT <= torch.maximum(least_B, least_B.new_tensor(share))[:, None, None])
        return hidden_BNT.repeat_interleave(self.bins, dim=2)

    def losses(
        self, model: nn.Module, views: list[WindowBatch], context: StepContext
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Return the mean loss over the hidden bins of the global batch; ``hidden`` is their share.

        Raises:
            ValueError: if the population's read-out has another number of units.
        """
        view = views[0]
        hidden_BNT = self.hidden(view, context)
        masked = replace(view, x_BNT=view.x_BNT * ~hidden_BNT)
        losses_B = view.x_BNT.new_zeros(len(view))
        embeddings: list[tuple[torch.Tensor, torch.Tensor]] = []
        parts, idle = parts_for_all(masked)
        for bucket in parts:
            rows, part = bucket.rows_B, bucket.windows
            out = model(**bucket.model_inputs())
            n_units, n_bins = part.x_BNT.shape[1:]
            guess_BNT = wide(self._read(out, n_units))
            true_BNT = view.x_BNT[rows, :n_units, :n_bins].to(guess_BNT.dtype)
            values_B11 = (part.modality_B == 1)[:, None, None]
            each = torch.where(values_B11, (guess_BNT - true_BNT) ** 2, poisson_nll(guess_BNT, true_BNT))
            losses_B = losses_B.to(each.dtype).index_put(
                (rows.to(each.device),), (each * hidden_BNT[rows, :n_units, :n_bins]).sum((1, 2))
            )
            tokens_BT = part.mask_BT.unflatten(1, (out.p_BTD.shape[1], -1)).all(-1)[..., None]
            mean_BD = (out.p_BTD * tokens_BT).sum(1) / tokens_BT.sum(1).clamp(min=1)
            embeddings.append((rows, mean_BD.detach()))
        for _ in range(idle):
            one = parts[-1].first()
            losses_B = losses_B + 0.0 * self._read(model(**one.model_inputs()), one.windows.x_BNT.shape[1]).sum()
        total = gather_rows(torch.stack([losses_B, hidden_BNT.sum((1, 2)).to(losses_B.dtype)], dim=1)).sum(0)
        bins = gather_rows((view.mask_BN.sum(1) * view.mask_BT.sum(1)).to(losses_B.dtype)).sum()
        y_BD = torch.cat([y for _, y in embeddings])[torch.cat([r for r, _ in embeddings]).argsort()]
        return {"loss": total[0] / total[1], "hidden": (total[1] / bins).detach()}, gather_rows(y_BD)

    def _read(self, out: object, n_units: int) -> torch.Tensor:
        """Return ``(B, N, T)`` log rates (or values) of every bin."""
        if not self.settings.units:
            return self.readout(out.h_BNTD).flatten(2)  # type: ignore[attr-defined]
        if n_units != self.settings.units:
            raise ValueError(
                f"a window has {n_units} units: expected {self.settings.units}, the units of the readout (ndt.units)"
            )
        p_BTX = self.readout(out.p_BTD)  # type: ignore[attr-defined]
        return p_BTX.unflatten(-1, (n_units, self.bins)).transpose(1, 2).flatten(2)
