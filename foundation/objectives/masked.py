"""Masked modelling of the population: hide units and times, and predict the hidden activity.

Units hidden throughout a window are predicted from the others (co-smoothing, as in LFADS and the Neural Latents
Benchmark), hidden times from the time around them (NDT, arXiv 2108.01210; NDT3 and MtM, arXiv 2407.14668, mix both).
The loss is the negative log-likelihood of hidden bins: Poisson for counts, Gaussian of unit variance for sampled
values. A bin's information about a log rate grows with its events, so that long bins would dominate short ones: if a
unit usually has more than one event in a bin, its likelihood is divided by that number.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from foundation.common.errors import ConfigError
from foundation.common.work import Work
from foundation.data.batch import WindowBatch
from foundation.data.steps.step import StepContext
from foundation.data.steps.views import ViewSpec
from foundation.models import EITOutput
from foundation.models.parts.population_stream import token_sums
from foundation.models.parts.tokens import scaled
from foundation.objectives.base import Objective
from foundation.objectives.masked_settings import MaskedSettings
from foundation.objectives.ndt import poisson_nll
from foundation.objectives.parts.gather import gather_rows
from foundation.objectives.parts.objective_cost import (
    FULL,
    ObjectiveCost,
    StepRows,
    collapse_work,
    level_rows,
    singular_values,
)
from foundation.objectives.parts.projector import wide
from foundation.objectives.parts.rows import parts_for_all


class Masked(Objective):
    """Masked modelling; trains the model's population stream with its read-out.

    Args:
        settings: see `MaskedSettings`.
        dim: features of the model's tokens; unused.
        model: must have a population stream (``population_layers``).

    Raises:
        ConfigError: if the model has no population stream, or ``made_windows`` needs ``made_rows``.
    """

    stream = "population"
    title = "masked"
    sums = 7  # columns of `_sums`

    def __init__(self, settings: MaskedSettings, dim: int, model: nn.Module | None = None) -> None:
        super().__init__()
        self.settings = settings
        config: Any = getattr(model, "config", None)
        if not getattr(config, "population_layers", 0):
            raise ConfigError(
                f"objective {self.title} needs a population stream: set model.population_layers to at least 1, as "
                f"--config objective/{self.title} does"
            )
        if settings.made_windows and not config.made_rows:
            raise ConfigError(
                f"objective.{self.title}.made_windows is {settings.made_windows} and model.made_rows false: expected "
                "0, or a model that makes rows"
            )
        self.bins, self.value_transform = config.population_patch, config.value_transform

    @classmethod
    def cost(cls, settings: MaskedSettings, dim: int, patch: int, rows: StepRows) -> ObjectiveCost:
        """Return the cost of a step; see `Objective.cost`."""
        everyone = level_rows(rows, "population")[1]
        bins = float(rows.neuron_tokens) * FULL
        return ObjectiveCost(
            trained=(),
            population=(0,),
            work=Work(0.0, bins * 40, 120) + collapse_work(everyone, dim),
            singular=singular_values(everyone, dim),
            gathered=float(everyone - rows.windows) * dim * FULL,
            held=bins * 4,
            collectives=6,
        )

    @property
    def view_spec(self) -> ViewSpec:
        """One window; a whole trial if trials are short."""
        return ViewSpec(1, self.settings.min_tokens, self.settings.max_tokens, cut=True)

    def hidden(self, view: WindowBatch, context: StepContext) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw ``(B, N)`` units to hide throughout and ``(B, T)`` tokens; at least one of each stays visible."""
        tokens_BT = view.mask_BT.unflatten(1, (-1, self.bins)).all(-1)
        draws = context.draws("masked")
        unit_BN = _some(draws.child("units").uniform(view.mask_BN.shape[1]), view.mask_BN, self.settings.hide_units)
        time_BT = _some(draws.child("time").uniform(tokens_BT.shape[1]), tokens_BT, self.settings.hide_time)
        return unit_BN, time_BT

    def made(self, view: WindowBatch, context: StepContext) -> torch.Tensor | None:
        """Draw ``(B,)`` windows in which units have only their made rows; None if there are none."""
        if not self.settings.made_windows:
            return None
        drawn_B: torch.Tensor = context.draws("masked").child("made").uniform(1)[:, 0]
        return drawn_B < self.settings.made_windows

    def losses(
        self, model: nn.Module, views: list[WindowBatch], context: StepContext
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Return the mean loss over the hidden bins of the global batch.

        Returns:
            ``loss``; ``hidden``, the share of hidden bins; ``bits_units`` and ``bits_time``, the gain in bits per spike
            over each unit's measured rate, for hidden units and for hidden times; and ``(B, D)`` embeddings of the
            windows.

        Raises:
            ConfigError: if the batch has no ``population_row_BN``.
        """
        view = views[0]
        if view.population_row_BN is None:
            raise ConfigError(
                f"objective {self.title}: the batch has no population_row_BN; set it with `PopulationPlaces`"
            )
        unit_BN, time_BT = self.hidden(view, context)
        made_B = self.made(view, context)
        sums_BX = view.x_BNT.new_zeros(len(view), self.sums)
        heads = self._heads(view)
        embeddings: list[tuple[torch.Tensor, torch.Tensor]] = []
        parts, idle = parts_for_all(view)
        for bucket in parts:
            rows, part = bucket.rows_B, bucket.windows
            n_units, n_tokens = part.mask_BN.shape[1], part.mask_BT.shape[1] // self.bins
            units_BN, moments_BT = unit_BN[rows, :n_units], time_BT[rows, :n_tokens]
            made = {} if made_B is None else {"made_B": made_B[rows]}
            out = model(**bucket.model_inputs(), hidden_BN=units_BN, hidden_BT=moments_BT, **made, units=False)
            tokens_BT = part.mask_BT.unflatten(1, (n_tokens, -1)).all(-1)
            found_BX = torch.cat(
                [
                    self._sums(part, out, units_BN, moments_BT, tokens_BT),
                    *self._label_sums(view, rows, out, tokens_BT, heads),
                ],
                dim=1,
            )
            sums_BX = sums_BX.to(found_BX.dtype).index_put((rows.to(found_BX.device),), found_BX)
            mean_BD = (out.p_BTD * tokens_BT[..., None]).sum(1) / tokens_BT.sum(1).clamp(min=1)[:, None]
            embeddings.append((rows, mean_BD.detach()))
        for _ in range(idle):
            one = parts[-1].first()
            sums_BX = sums_BX + 0.0 * self._used(model(**one.model_inputs(), units=False))
        total_X = gather_rows(sums_BX).sum(0)
        y_BD = torch.cat([y for _, y in embeddings])[torch.cat([r for r, _ in embeddings]).argsort()]
        return self._terms(total_X), gather_rows(y_BD)

    def _used(self, out: EITOutput) -> torch.Tensor:
        """Return the sum of all outputs that the loss uses: ZeRO 3 needs the same backward pass in every process."""
        assert out.expected_BNT is not None
        return out.expected_BNT.sum()

    def _heads(self, view: WindowBatch) -> Any:
        """Return the data that label sums need for all windows together; every process calls this once per step."""

    def _label_sums(
        self, view: WindowBatch, rows: torch.Tensor, out: EITOutput, tokens_BT: torch.Tensor, heads: Any
    ) -> list[torch.Tensor]:
        """Return ``(B, X)`` further sums over a part of the windows, for objectives that have labels too."""
        return []

    def _terms(self, total_X: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the loss and the logged figures from the sums over the global batch."""
        sums_X = total_X.detach()
        return {
            "loss": total_X[0] / total_X[1].clamp(min=1),
            "hidden": sums_X[1] / sums_X[2].clamp(min=1),
            "bits_units": sums_X[4] / sums_X[3].clamp(min=1) / math.log(2),
            "bits_time": sums_X[6] / sums_X[5].clamp(min=1) / math.log(2),
        }

    def _sums(
        self, part: WindowBatch, out: EITOutput, unit_BN: torch.Tensor, time_BT: torch.Tensor, tokens_BT: torch.Tensor
    ) -> torch.Tensor:
        """Return ``(B, 7)`` sums over each window.

        Columns: loss over hidden bins, hidden bins, all bins; events of hidden units and nats gained on them; events of
        the other units at hidden times and nats gained on these.
        """
        assert out.expected_BNT is not None
        assert out.usual_BN is not None
        assert part.population_row_BN is not None
        predicted_BNT = wide(out.expected_BNT)
        there_BNT = (part.mask_BN & (part.population_row_BN >= 0))[:, :, None] & tokens_BT[:, None, :]
        true_BNT = token_sums(part.x_BNT.to(predicted_BNT.dtype), part.modality_B, self.bins).masked_fill(~there_BNT, 0)
        counts_B11 = (part.modality_B == 0)[:, None, None]
        values_BNT = scaled(true_BNT, torch.ones_like(part.modality_B), "none", self.value_transform)
        nll_BNT = torch.where(counts_B11, poisson_nll(predicted_BNT, true_BNT), 0.5 * (predicted_BNT - values_BNT) ** 2)
        by_unit_BNT = there_BNT & unit_BN[:, :, None]
        by_time_BNT = there_BNT & time_BT[:, None, :]
        hidden_BNT = by_unit_BNT | by_time_BNT
        with torch.no_grad():
            events_BN1 = out.usual_BN.exp().clamp(min=1)[:, :, None]
            gained_BNT = poisson_nll(out.usual_BN[:, :, None].to(predicted_BNT.dtype), true_BNT) - nll_BNT
            by_kind = []
            for those_BNT in (by_unit_BNT, by_time_BNT & ~by_unit_BNT):
                by_kind += [true_BNT * (those_BNT & counts_B11), gained_BNT * (those_BNT & counts_B11)]
        columns = [nll_BNT / events_BN1 * hidden_BNT, hidden_BNT, there_BNT, *by_kind]
        return torch.stack([column.to(predicted_BNT.dtype).sum((1, 2)) for column in columns], dim=1)


def _some(u_BL: torch.Tensor, there_BL: torch.Tensor, share: float) -> torch.Tensor:
    """Return ``(B, L)`` valid entries whose draw is below a share; at least one valid entry is always left out."""
    if not share:
        return torch.zeros_like(there_BL)
    drawn_BL = u_BL.masked_fill(~there_BL, -1.0)
    most_B1 = drawn_BL.amax(1, keepdim=True)  # the entry with the largest draw always stays visible
    return there_BL & (u_BL < share) & (drawn_BL < most_B1)
