"""MYOW, mine your own view: predict another view of a window, and another window with a similar representation.

Azabou et al. 2021 (arXiv 2102.10106), on top of BYOL (Grill et al. 2020, arXiv 2006.07733). With ``mined_weight`` 0 the
same code is BYOL.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

from foundation.common.work import Work, total
from foundation.data.augmentations import augment
from foundation.data.batch import WindowBatch
from foundation.data.steps.step import StepContext
from foundation.data.steps.views import ViewSpec
from foundation.objectives.base import Objective, two_views
from foundation.objectives.method_settings import MYOWSettings
from foundation.objectives.parts.ema import frozen_copy, momentum_at, move_towards
from foundation.objectives.parts.mining import Pool, mine
from foundation.objectives.parts.objective_cost import (
    FULL,
    ObjectiveCost,
    StepRows,
    collapse_work,
    level_rows,
    perceptron_work,
    singular_values,
)
from foundation.objectives.parts.projector import perceptron, wide
from foundation.objectives.parts.rows import Rows, check_rows, counted_units, embed_rows


def distance(a_MD: torch.Tensor, b_MD: torch.Tensor) -> torch.Tensor:
    """Return the mean squared distance between the normalised rows, ``2 - 2 cos`` (BYOL, eq. 2).

    Example:
        >>> float(distance(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0]])))
        2.0
    """
    return (2 - 2 * F.cosine_similarity(a_MD, b_MD, dim=1)).mean()


class MYOW(Objective):
    """MYOW with its projectors, predictors and target networks.

    Args:
        settings: see `MYOWSettings`.
        dim: features of the model's embeddings.
        model: the encoder; the target network starts as its copy.
    """

    mines = True

    def __init__(self, settings: MYOWSettings, dim: int, model: nn.Module) -> None:
        super().__init__()
        s = self.settings = settings
        out = [dim, *s.projector][-1]
        self.projector = perceptron(dim, s.projector, batch_norm=s.batch_norm)
        self.predictor = perceptron(out, [s.predictor, out], batch_norm=s.batch_norm)
        self.target_model = frozen_copy(model)
        self.target_projector = frozen_copy(self.projector)
        if s.mined_weight > 0:
            last = s.mined_projector[-1]
            self.mined_projector = perceptron(out, s.mined_projector, batch_norm=s.batch_norm)
            self.mined_predictor = perceptron(last, [s.mined_predictor, last], batch_norm=s.batch_norm)
            self.target_mined_projector = frozen_copy(self.mined_projector)

    @classmethod
    def cost(cls, settings: MYOWSettings, dim: int, patch: int, rows: StepRows) -> ObjectiveCost:
        """Return the cost of a step; see `Objective.cost`."""
        own, everyone = level_rows(rows, settings.level)
        out = [dim, *settings.projector][-1]
        mined = settings.mined_weight > 0 and cls.mines
        heads = [[dim, *settings.projector], [out, settings.predictor, out]]
        counts = [perceptron_work(sizes, 2 * everyone, settings.batch_norm) for sizes in heads]
        target = perceptron_work(heads[0], 2 * everyone, settings.batch_norm)
        frozen, works = target[2], [counts[0][0], counts[1][0], target[0] * (1 / 3)]
        if mined:
            last = settings.mined_projector[-1]
            sizes = [[out, *settings.mined_projector], [last, settings.mined_predictor, last]]
            more = [perceptron_work(s, everyone, settings.batch_norm) for s in sizes]
            counts += more
            pool = float(everyone) * everyone * settings.candidates
            works += [
                more[0][0],
                more[1][0],
                more[0][0] * (1 / 3),
                target[0] * (1 / 6),
                Work(2.0 * pool * dim, pool * FULL * 8, 60),
            ]
            frozen += more[0][2]
        seen = 2 + (settings.candidates if mined else 0)
        return ObjectiveCost(
            trained=(0, 1),
            targets=tuple(range(seen)),
            parameters=sum(count[2] for count in counts),
            frozen=frozen,
            work=total([*works, collapse_work(everyone, dim)]),
            singular=singular_values(everyone, dim),
            gathered=(2.0 + seen) * (everyone - own) * dim * FULL,
            held=sum(count[1] for count in counts),
            collectives=4 * (2 + seen),
        )

    @property
    def view_spec(self) -> ViewSpec:
        """Two views near each other, and candidates from anywhere."""
        s = self.settings
        return ViewSpec(2, s.min_tokens, s.max_tokens, s.max_distance, s.candidates if s.mined_weight > 0 else 0)

    def losses(
        self, model: nn.Module, views: list[WindowBatch], context: StepContext
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Return ``augmented`` and ``mined`` losses and their sum, with metrics of mining.

        Raises:
            TooFewRowsError: if the global batch has fewer than two rows.
        """
        s = self.settings
        pair = two_views(views, self.view_spec, s.augmentations, context)
        counted_BN = counted_units(views[:2], s.min_events) & pair[0].mask_BN & pair[1].mask_BN
        rows = embed_rows(model, pair, context, s.level, counted_BN)
        check_rows(len(rows.item_M), s.level)
        with torch.no_grad():
            aims = embed_rows(self.target_model, pair, context, s.level, counted_BN)
            z_aims = [wide(self.target_projector(y)) for y in aims.z_VMD]
        z_online = [self.projector(y) for y in rows.z_VMD]
        guess = [wide(self.predictor(z)) for z in z_online]
        augmented = (distance(guess[0], z_aims[1]) + distance(guess[1], z_aims[0])) / 2
        terms = {"loss": augmented, "augmented": augmented}
        if s.mined_weight > 0:
            weight = s.weight_at(context.progress)
            anchors = Pool(
                rows.z_VMD[0].detach(), rows.of_windows(context.recording_B), rows.of_windows(views[0].start_B)
            )
            mined, figures = self._mined(rows, anchors, z_online[0], views[2:], context)
            terms["loss"] = augmented / (1 + weight) + mined * (weight / (1 + weight))
            terms |= {"mined": mined, "mined_weight": torch.tensor(weight), **figures}
        terms["momentum"] = torch.tensor(momentum_at(context.progress, s.momentum, s.momentum_schedule))
        return terms, rows.z_VMD[0]

    def _mined(
        self, rows: Rows, anchors: Pool, z_MD: torch.Tensor, candidates: list[WindowBatch], context: StepContext
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the loss of predicting a mined candidate from the first view."""
        s = self.settings
        with torch.no_grad():
            pool = Pool.joined([self._candidate(view, context, k) for k, view in enumerate(candidates)])
            u = context.draws("mined neighbour").uniform(*([candidates[0].mask_BN.shape[1]] * (s.level == "units")))
            u_M = rows.of_units(u) if s.level == "units" else rows.of_windows(u)
            chosen_M = mine(
                anchors, pool, u_M,
                neighbours=s.neighbours, exclusion=s.exclusion, across_recordings=s.across_recordings,
            )  # fmt: skip
        found_M = chosen_M >= 0
        if int(found_M.sum()) < 2:  # batch norm needs two rows
            return 0.0 * z_MD.sum(), {"mined_found": found_M.float().mean()}
        taken_M = chosen_M[found_M]
        with torch.no_grad():
            aim = wide(self.target_mined_projector(self.target_projector(pool.y_PD[taken_M])))
        loss = distance(wide(self.mined_predictor(self.mined_projector(z_MD[found_M]))), aim)
        similar = F.cosine_similarity(anchors.y_PD[found_M], pool.y_PD[taken_M], dim=1).mean()
        return loss, {"mined_found": found_M.float().mean(), "mined_similarity": similar}

    def _candidate(self, view: WindowBatch, context: StepContext, number: int) -> Pool:
        """Return the target network's representations of a view's windows, of all processes."""
        s = self.settings
        changed = augment(view, s.candidate_augmentations, context, 2 + number, context.bins_per_token)
        counted_BN = counted_units([view], s.min_events) & changed.mask_BN
        rows = embed_rows(self.target_model, [changed], context, s.level, counted_BN)
        return Pool(rows.z_VMD[0], rows.of_windows(context.recording_B), rows.of_windows(view.start_B))

    def after_step(self, model: nn.Module, progress: float) -> None:
        """Move the target networks towards the online ones."""
        s = self.settings
        momentum = momentum_at(progress, s.momentum, s.momentum_schedule)
        move_towards(self.target_model, model, momentum)
        move_towards(self.target_projector, self.projector, momentum)
        if s.mined_weight > 0:
            move_towards(self.target_mined_projector, self.mined_projector, momentum)


class BYOL(MYOW):
    """MYOW without mined views."""

    mines = False

    def __init__(self, settings: MYOWSettings, dim: int, model: nn.Module) -> None:
        super().__init__(replace(settings, mined_weight=0.0), dim, model)
