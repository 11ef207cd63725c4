"""What tensors a model's forward takes."""

from __future__ import annotations

import math
from typing import Any

import torch


def check_windows(
    x_BNT: torch.Tensor, mask_BN: torch.Tensor | None, patch_length: int, dt_B: torch.Tensor, modality_B: torch.Tensor
) -> None:
    """Refuse windows that no EIT can embed. What tensors hold is looked at on the CPU alone: a GPU would be waited for.

    Raises:
        ValueError: if the bins do not make whole tokens, there is no bin, or no unit and no ``mask_BN`` that says so (a
            recording may have none), or a width or modality is impossible.
    """
    if x_BNT.ndim != 3 or not x_BNT.shape[2] or (mask_BN is None and not x_BNT.shape[1]):
        raise ValueError(
            f"x_BNT has shape {tuple(x_BNT.shape)}: expected (B, N, bins) with at least one unit and one bin"
        )
    if x_BNT.shape[-1] % patch_length:
        raise ValueError(f"x_BNT has {x_BNT.shape[-1]} bins: expected a multiple of patch_length, {patch_length}")
    wrong = [seconds for seconds in seen(dt_B) if not 0 < seconds < math.inf]
    if wrong:
        raise ValueError(f"dt_B holds {wrong[0]}: expected seconds, above 0 and finite")
    check_ids("modality_B", modality_B, 2, "0 for counts, 1 for values")


def check_events(modality_B: torch.Tensor) -> None:
    """Raise, on the CPU, if a window holds sampled values, which have no intervals.

    Raises:
        ValueError: if one does.
    """
    if 1 in seen(modality_B):
        raise ValueError(
            "modality_B holds 1, sampled values, and config.tokens is 'intervals': expected counts (0) alone; a model "
            "with tokens 'bins' reads both"
        )


def check_ids(name: str, ids: torch.Tensor, number: int, allowed: str) -> None:
    """Refuse, on the CPU, ids that are not from 0 to below ``number``.

    Raises:
        ValueError: with the first of them.
    """
    wrong = [value for value in seen(ids) if not 0 <= value < number]
    if wrong:
        raise ValueError(f"{name} holds {wrong[0]}: expected {allowed}")


def seen(tensor: torch.Tensor) -> list[Any]:
    """Its values, where looking costs next to nothing and breaks no compiled graph; elsewhere none."""
    return tensor.flatten().tolist() if tensor.device.type == "cpu" and not torch.compiler.is_compiling() else []
