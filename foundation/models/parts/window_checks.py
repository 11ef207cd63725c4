"""Checks of the tensors that a model's forward receives."""

from __future__ import annotations

import math
from typing import Any

import torch


def check_windows(
    x_BNT: torch.Tensor, mask_BN: torch.Tensor | None, patch_length: int, dt_B: torch.Tensor, modality_B: torch.Tensor
) -> None:
    """Raise if no EIT can embed the windows. Values are checked only on the CPU, to avoid waiting for a GPU.

    Raises:
        ValueError: if there are partial tokens, no bins, no units without ``mask_BN`` (a recording may have none), or a
            width or modality is invalid.
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
        ValueError: if a window holds sampled values.
    """
    if 1 in seen(modality_B):
        raise ValueError(
            "modality_B holds 1, sampled values, and config.tokens is 'intervals': expected counts (0) alone; a model "
            "with tokens 'bins' reads both"
        )


def check_ids(name: str, ids: torch.Tensor, number: int, allowed: str) -> None:
    """Raise, on the CPU, if ids are outside 0 to ``number - 1``.

    Raises:
        ValueError: names the first wrong id.
    """
    wrong = [value for value in seen(ids) if not 0 <= value < number]
    if wrong:
        raise ValueError(f"{name} holds {wrong[0]}: expected {allowed}")


def seen(tensor: torch.Tensor) -> list[Any]:
    """Return the tensor's values if reading them is cheap and breaks no compiled graph; otherwise an empty list."""
    return tensor.flatten().tolist() if tensor.device.type == "cpu" and not torch.compiler.is_compiling() else []
