"""The contract of an objective."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from foundation.common.errors import ConfigError
from foundation.data.augmentations import Augmentation, augment
from foundation.data.batch import WindowBatch
from foundation.data.steps.step import StepContext
from foundation.data.steps.views import ViewSpec
from foundation.objectives.parts.collapse import collapse_figures
from foundation.objectives.parts.objective_cost import ObjectiveCost, StepRows


class Objective(nn.Module):
    """What is learned: a module that owns its projectors, predictors and target networks.

    It is wrapped with the encoder in one module, so that DeepSpeed sees every parameter. Statistics are over the global
    batch: on N processes the loss is the one of the same windows on one process, and so are its gradients once they are
    averaged over processes.

    Attributes:
        stream: ``units`` or ``population``, whose tokens it counts the lengths of its views in.
    """

    stream = "units"

    @classmethod
    def cost(cls, settings: Any, dim: int, patch: int, rows: StepRows) -> ObjectiveCost:
        """Return the cost of one step beside the encoder's passes, for `foundation plan`.

        Args:
            settings: of the objective.
            dim: features D of an embedding.
            patch: bins of a token.
            rows: of a step.

        Raises:
            ConfigError: unless the objective has a cost model.
        """
        raise ConfigError(f"objective {cls.__name__} has no cost model: expected a `cost` method beside its `losses`")

    @property
    def view_spec(self) -> ViewSpec:
        """The views that it asks of the data."""
        raise NotImplementedError

    @property
    def sharing(self) -> list[tuple[str, Objective]]:
        """Its parts that read the same windows, each with the name of windows of its own; one, for most objectives."""
        return [("", self)]

    def losses(
        self, model: nn.Module, views: list[WindowBatch], context: StepContext
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Named terms, ``loss`` among them, and ``(M, D)`` embeddings of the global batch to watch for collapse."""
        raise NotImplementedError

    def after_step(self, model: nn.Module, progress: float) -> None:
        """Called after each step of the optimiser, for moving averages; ``progress`` is the share of the run done."""

    def forward(
        self, model: nn.Module, views: list[WindowBatch], context: StepContext | None = None
    ) -> dict[str, torch.Tensor]:
        """Loss, its terms, and figures of collapse.

        Args:
            model: the encoder.
            views: one batch per view, then one per candidate; row b of each shows the same units.
            context: whose windows these are; by default they are the whole batch of one recording.

        Returns:
            ``loss`` with a gradient; without one the terms and ``rankme``, ``std`` and ``similarity``.
        """
        if context is None:
            context = StepContext.alone(views[0])
        # Counts come as small integers; augmentations and sums over them need real numbers.
        views = [view if view.x_BNT.is_floating_point() else view.cast() for view in views]
        terms, z_MD = self.losses(model, views, context)
        return terms | collapse_figures(z_MD)


def two_views(
    views: list[WindowBatch], spec: ViewSpec, augmentations: list[Augmentation], context: StepContext
) -> list[WindowBatch]:
    """Two augmented views: of two segments, or of one segment where the spec asks for one."""
    pair = [views[0], views[min(1, spec.views - 1)]]
    return [augment(view, augmentations, context, k, context.bins_per_token) for k, view in enumerate(pair)]
