"""Sums of several objectives: over the same views, or each over separate windows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from foundation.common.errors import ConfigError
from foundation.data.batch import WindowBatch
from foundation.data.steps.step import StepContext
from foundation.data.steps.views import ViewSpec
from foundation.objectives.base import Objective


class WeightedSum(Objective):
    """The weighted sum of objectives that ask for segments of the same lengths and distance.

    Args:
        parts: name -> objective.
        weights: name -> weight.

    Raises:
        ConfigError: if the parts ask for segments that differ.
    """

    def __init__(self, parts: dict[str, Objective], weights: dict[str, float]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)
        self.weights = dict(weights)
        streams = {part.stream for part in parts.values()}
        self.stream = "units" if "units" in streams else "population"
        self.view_spec  # noqa: B018  (raise for incompatible parts before any work)

    @property
    def view_spec(self) -> ViewSpec:
        """Views that suit all parts."""
        specs = {name: part.view_spec for name, part in self._objectives()}
        for what in ("min_tokens", "max_tokens", "max_distance", "apart", "condition"):
            length = what in ("min_tokens", "max_tokens")
            asked = {name: getattr(spec, what) for name, spec in specs.items() if spec.views > 1 or length}
            if len(set(asked.values())) > 1:
                given = ", ".join(f"{name}.{what}={value}" for name, value in asked.items())
                raise ConfigError(f"{given}: summed objectives share their views: give them one value")
        surround = {spec.surround for spec in specs.values() if spec.surround is not None}
        if len(surround) > 1:
            raise ConfigError("surround differs between summed objectives: expected the same value for all")
        first = max(specs.values(), key=lambda spec: spec.views)
        return ViewSpec(
            views=first.views,
            min_tokens=first.min_tokens,
            max_tokens=first.max_tokens,
            max_distance=first.max_distance,
            candidates=max(spec.candidates for spec in specs.values()),
            surround=next(iter(surround), None),
            apart=first.apart,
            condition=first.condition,
            cut=any(spec.cut for spec in specs.values()),
        )

    def _objectives(self) -> list[tuple[str, Objective]]:
        return [(name, part) for name, part in self.parts.items() if isinstance(part, Objective)]

    def losses(
        self, model: nn.Module, views: list[WindowBatch], context: StepContext
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Return ``loss``, and every part's terms under its name; embeddings are those of the first part."""
        shared = self.view_spec.views
        terms: dict[str, torch.Tensor] = {}
        watched: list[torch.Tensor] = []
        total: torch.Tensor | None = None
        for name, part in self._objectives():
            spec = part.view_spec
            mine = views[: spec.views] + views[shared : shared + spec.candidates]
            found, z_MD = part.losses(model, mine, context)
            watched.append(z_MD)
            terms |= {f"{name}/{key}": value for key, value in found.items()}
            share = self.weights[name] * found["loss"]
            total = share if total is None else total + share
        assert total is not None
        return {"loss": total, **terms}, watched[0]

    def after_step(self, model: nn.Module, progress: float) -> None:
        """Call ``after_step`` of each part."""
        for _, part in self._objectives():
            part.after_step(model, progress)


Share = tuple[list[WindowBatch], StepContext]  # windows of each view, and their position in the run


class OwnWindowsSum(Objective):
    """The sum of weighted sums of objectives, each over separate windows.

    Args:
        sums: name of the windows -> the sum that reads them; the first reads the run's own windows, for all objectives
            without windows of their own.
    """

    def __init__(self, sums: dict[str, WeightedSum]) -> None:
        super().__init__()
        self.sums = nn.ModuleList(sums.values())
        self.names = list(sums)

    @property
    def sharing(self) -> list[tuple[str, Objective]]:
        """The sums, each with the name of its windows."""
        return [(name, part) for name, part in zip(self.names, self.sums, strict=True) if isinstance(part, WeightedSum)]

    @property
    def view_spec(self) -> ViewSpec:
        """The views of the first windows."""
        return self.sharing[0][1].view_spec

    def over(self, model: nn.Module, shares: Sequence[Share]) -> dict[str, torch.Tensor]:
        """Return ``loss`` and the terms of each objective under its name; collapse metrics are those of the first sum.

        Args:
            model: the encoder.
            shares: the windows of each sum, in order.
        """
        found = [part(model, *share) for (_, part), share in zip(self.sharing, shares, strict=True)]
        terms = {key: value for sum_of_one in reversed(found) for key, value in sum_of_one.items()}
        return {**terms, "loss": torch.stack([sum_of_one["loss"] for sum_of_one in found]).sum()}

    def after_step(self, model: nn.Module, progress: float) -> None:
        """Call ``after_step`` of each sum."""
        for _, part in self.sharing:
            part.after_step(model, progress)
