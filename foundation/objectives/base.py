"""The interface of an objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from foundation.common.errors import ConfigError
from foundation.data.augmentations import Augmentation, augment
from foundation.data.batch import WindowBatch
from foundation.data.steps.step import StepContext
from foundation.data.steps.views import ViewSpec
from foundation.objectives.method_settings import MethodSettings
from foundation.objectives.parts.collapse import collapse_figures
from foundation.objectives.parts.objective_cost import ObjectiveCost, StepRows


@dataclass(frozen=True)
class NoSettings(MethodSettings):
    """Settings of your own objective that needs none."""


class Objective(nn.Module):
    """A pretraining objective: a module that owns its projectors, predictors and target networks.

    It is wrapped in one module with the encoder, so that DeepSpeed sees every parameter. Statistics are over the global
    batch: on N processes, the loss and the gradients (averaged over processes) equal those of one process with the same
    windows (`foundation.objectives.embed_rows` returns the embeddings of all processes).

    Your own objective is a subclass with a constructor ``Class(settings, dim, model)`` that defines `view_spec` and
    `losses`; `after_step` and `cost` are optional. ``--objective.name mylab.losses:Class`` trains it. The attribute
    ``settings_class`` is a dataclass with the allowed fields of ``objective.settings``.

    Attributes:
        stream: ``units`` or ``population``: the stream whose tokens the lengths of views are counted in.

    Example:
        >>> import numpy as np
        >>> from foundation.data import pad_windows
        >>> from foundation.models import EIT, EITConfig
        >>> class Alike(Objective):
        ...     # two segments of a unit have one embedding, which collapses: an example and no more
        ...     def __init__(self, settings, dim, model=None):
        ...         super().__init__()
        ...     view_spec = ViewSpec(views=2, min_tokens=2, max_tokens=4)
        ...     def losses(self, model, views, context):
        ...         a_BND, b_BND = (model(**view.model_inputs()).z_BND for view in views)
        ...         return {"loss": (a_BND - b_BND).square().mean()}, a_BND.flatten(0, 1)
        >>> view = pad_windows([np.ones((3, 8))], bin_widths=[0.1], starts=[0.0], modalities=[0], bins_per_token=4)
        >>> sorted(Alike(NoSettings(), dim=16)(EIT(EITConfig(dim=16, heads=2)), [view, view]))
        ['loss', 'rankme', 'rows', 'similarity', 'std']
    """

    stream = "units"
    settings_class: type = NoSettings

    @classmethod
    def cost(cls, settings: Any, dim: int, patch: int, rows: StepRows) -> ObjectiveCost:
        """Return the cost of one step without the encoder's passes, for `foundation plan`.

        Args:
            settings: of the objective.
            dim: features D of an embedding.
            patch: bins of a token.
            rows: number of embeddings in a step.

        Raises:
            ConfigError: unless the objective has a cost model.
        """
        raise ConfigError(f"objective {cls.__name__} has no cost model: expected a `cost` method beside its `losses`")

    @property
    def view_spec(self) -> ViewSpec:
        """The views that the objective needs; a property, or an attribute of the class."""
        raise NotImplementedError

    @property
    def sharing(self) -> list[tuple[str, Objective]]:
        """The parts that read the same windows, each with the name of its windows; for most objectives, one part."""
        return [("", self)]

    def losses(
        self, model: nn.Module, views: list[WindowBatch], context: StepContext
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Return named terms, and ``(M, D)`` embeddings of the global batch, in which collapse is monitored.

        Args:
            model: the encoder.
            views: one batch per view of `view_spec`, then one per candidate; row b of each shows the same units.
            context: position of the windows in the run, and random numbers for them (``context.draws``).

        Returns:
            Scalars by name, among them ``loss`` with a gradient; the others are logged.
        """
        raise NotImplementedError

    def after_step(self, model: nn.Module, progress: float) -> None:
        """Update moving averages after a step of the optimiser; ``progress`` is the completed share of the run."""

    def forward(
        self, model: nn.Module, views: list[WindowBatch], context: StepContext | None = None
    ) -> dict[str, torch.Tensor]:
        """Return the loss, its terms, and collapse metrics.

        Args:
            model: the encoder.
            views: one batch per view, then one per candidate; row b of each shows the same units.
            context: position of the windows in the run; by default they are the whole batch, from one recording.

        Returns:
            ``loss`` with a gradient; the terms and ``rankme``, ``std`` and ``similarity`` without.
        """
        if context is None:
            context = StepContext.alone(views[0])
        # Counts arrive as small integers; augmentations and sums need floats.
        views = [view if view.x_BNT.is_floating_point() else view.cast() for view in views]
        terms, z_MD = self.losses(model, views, context)
        if "loss" not in terms:
            raise ConfigError(f"losses of {type(self).__name__} gave {', '.join(terms) or 'nothing'}: expected 'loss'")
        return terms | collapse_figures(z_MD)


def two_views(
    views: list[WindowBatch], spec: ViewSpec, augmentations: list[Augmentation], context: StepContext
) -> list[WindowBatch]:
    """Return two augmented views: of two segments, or of one segment if the spec has only one."""
    pair = [views[0], views[min(1, spec.views - 1)]]
    return [augment(view, augmentations, context, k, context.bins_per_token) for k, view in enumerate(pair)]
