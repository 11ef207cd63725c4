"""An encoder that processes a batch in parts and keeps only the outputs.

Ordinary gradient accumulation adds the gradients of several losses. If a loss couples all windows of a step, that sum
differs from the gradient of the whole step. Here only the encoder runs in parts: their outputs are joined for one loss,
and the backward pass recomputes each part. The gradient is that of the whole step.

Under ZeRO 3 each run of the encoder gathers its weights from all processes, forward and again in the backward pass. All
processes must therefore run it equally often: a process with fewer windows than parts adds runs on a dummy window.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from foundation.common.private_names import is_cut


class InParts:
    """Replaces an encoder in an objective's forward pass.

    Args:
        model: the encoder; its outputs are tensors whose first axis is the window.
        parts: number of parts of a batch.

    Example:
        >>> from foundation.models import EIT, EITConfig
        >>> model = EIT(EITConfig(dim=16, heads=2))
        >>> whole = {"x_BNT": torch.ones(3, 2, 8), "mask_BN": torch.ones(3, 2, dtype=bool),
        ...          "mask_BT": torch.ones(3, 8, dtype=bool), "dt_B": torch.full((3,), 0.02),
        ...          "modality_B": torch.zeros(3, dtype=torch.int64)}
        >>> bool(torch.allclose(InParts(model, 2)(**whole).z_BND, model(**whole).z_BND, atol=1e-6))
        True
    """

    def __init__(self, model: nn.Module, parts: int) -> None:
        self._model, self._parts = model, parts
        self._spread = any(is_cut(parameter) for parameter in model.parameters())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, x_BNT: torch.Tensor, **others: Any) -> Any:
        windows, inputs = len(x_BNT), {"x_BNT": x_BNT, **others}
        rows = [r for r in torch.arange(windows).tensor_split(self._parts) if len(r)]
        found = [self._run(_some(inputs, slice(part[0], part[-1] + 1))) for part in rows]
        names = [name for name in found[0] if isinstance(found[0][name], torch.Tensor)]
        tensors = {name: torch.cat([part[name] for part in found]) for name in names}
        for _ in range(self._parts - len(rows) if self._spread else 0):
            idle = self._run(_some(inputs, slice(1)))
            tensors = {name: tensor + 0.0 * idle[name].sum() for name, tensor in tensors.items()}
        return type(found[0])(**tensors)

    def _run(self, inputs: dict[str, Any]) -> Any:
        if torch.is_grad_enabled():
            return checkpoint(self._model, use_reentrant=False, **inputs)
        return self._model(**inputs)


def _some(inputs: dict[str, Any], rows: slice) -> dict[str, Any]:
    return {name: value[rows] if isinstance(value, torch.Tensor) else value for name, value in inputs.items()}
