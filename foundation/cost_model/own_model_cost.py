"""Cost of your own model, as far as its class defines it; unknown parts are NaN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from foundation.common.extensions.named_classes import plain_failure
from foundation.common.work import Work
from foundation.cost_model.step_shapes import Part
from foundation.models.encoder import ModelCost

NAN = float("nan")


@dataclass(frozen=True)
class OwnModelCost:
    """Cost of your own model; see `foundation.models.Encoder.cost`.

    Args:
        kind: its class.
        config: its configuration.
        parameters: number of weights.
        tensors: number of tensors that hold them.
        checkpointing: everything is recomputed in the backward pass.
    """

    kind: Any
    config: Any
    parameters: int
    tensors: int
    checkpointing: bool = False

    @classmethod
    def of(cls, model: nn.Module, checkpointing: bool) -> OwnModelCost:
        """Return the cost of a model; its weights may be on the meta device."""
        sizes = [parameter.numel() for parameter in model.parameters()]
        return cls(type(model), model.config, sum(sizes), len(sizes), checkpointing)

    @property
    def is_known(self) -> bool:
        """Return whether the class has a cost model."""
        return self._cost((1, 1, 1)) is not None

    def forward(self, part: Part) -> Work:
        """Return the cost of one forward pass."""
        cost = self._cost(part)
        return Work(NAN, NAN, NAN) if cost is None else cost.forward

    def backward(self, part: Part) -> Work:
        """Return the cost of the backward pass: two products (input, weights) per product of the forward pass."""
        return self.forward(part) * 2

    def recomputed(self, part: Part) -> Work:
        """Return the cost of recomputation by checkpointing."""
        return self.forward(part) if self.checkpointing else Work()

    def held(self, part: Part) -> float:
        """Return the bytes kept from forward to backward pass."""
        cost = self._cost(part)
        return NAN if cost is None else cost.held

    def held_again(self, part: Part) -> float:
        """Return the bytes of recomputation at a time; its unknown parts are in `held`."""
        return 0.0

    def _cost(self, part: Part) -> ModelCost | None:
        tell = getattr(self.kind, "cost", None)
        if tell is None:
            return None
        with plain_failure(f"{self.kind.__name__}.cost fails"):
            found: ModelCost | None = tell(self.config, *part)
        return found
