"""Augmentations of time: windows shifted, cropped, or played faster or slower."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from foundation.data.batch import WindowBatch
from foundation.data.keyed_random import Draws

if TYPE_CHECKING:
    from foundation.data.augmentations import Augmentation


def _whole_tokens(view: WindowBatch, tokens: int) -> torch.Tensor:
    """Return ``(B, T / tokens)``, True for tokens whose bins are all valid."""
    return view.mask_BT.unflatten(1, (-1, tokens)).all(-1)


def _longest_run(view: WindowBatch, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``(B,)`` the first bin of the longest unbroken stretch of tokens, and its number of bins."""
    length = view.mask_BT.shape[1]
    bins = torch.arange(length, device=view.mask_BT.device)
    gap_BT = torch.where(view.mask_BT, length, bins).flip(1).cummin(1).values.flip(1)  # the next gap
    run_BK = (gap_BT - bins)[:, ::tokens]
    return run_BK.argmax(1) * tokens, run_BK.amax(1)


def temporal_jitter(view: WindowBatch, draws: Draws, settings: Augmentation, tokens: int) -> WindowBatch:
    """Shift each window by a whole number of bins, up to ``size`` either way; bins without data are masked.

    At least one token of each window stays whole, if one was whole before: a window moves by less than its longest run
    of whole tokens, so a window without two neighbouring whole tokens stays in place. To compare windows at different
    times, use the objective's ``max_distance`` instead.
    """
    most_B = (_longest_run(view, tokens)[1] // tokens - 1).clamp(min=0) * tokens
    length = view.x_BNT.shape[-1]
    most_B = most_B.clamp(max=min(int(settings.size or 0), length))
    shift_B = (draws.uniform() * (2 * most_B + 1)).long() - most_B
    source_BT = torch.arange(length, device=shift_B.device) + shift_B[:, None]
    inside_BT = (source_BT >= 0) & (source_BT < length)
    source_BT = source_BT.clamp(0, length - 1)
    mask_BT = inside_BT & view.mask_BT.gather(1, source_BT) & view.mask_BT
    x_BNT = view.x_BNT.gather(2, source_BT[:, None, :].expand_as(view.x_BNT))
    return replace(view, x_BNT=x_BNT * mask_BT[:, None, :], mask_BT=mask_BT)


def segment_length(view: WindowBatch, draws: Draws, settings: Augmentation, tokens: int) -> WindowBatch:
    """Crop each window to a random stretch of ``share`` to all of its tokens; the rest is masked."""
    least = float(settings.share or 0.0)
    there_BK = _whole_tokens(view, tokens)
    count_B = there_BK.sum(1)
    low_B = (least * count_B - 1e-6).ceil().clamp(min=1)
    kept_B = (low_B + draws.child("length").uniform() * (count_B - low_B + 1)).long()
    start_B = (draws.child("start").uniform() * (count_B - kept_B + 1)).long()
    rank_BK = there_BK.cumsum(1) - 1
    kept_BK = there_BK & (rank_BK >= start_B[:, None]) & (rank_BK < (start_B + kept_B)[:, None])
    mask_BT = kept_BK.repeat_interleave(tokens, dim=1)
    return replace(view, x_BNT=view.x_BNT * mask_BT[:, None, :], mask_BT=mask_BT)


def time_scaling(view: WindowBatch, draws: Draws, settings: Augmentation, tokens: int) -> WindowBatch:
    """Speed time up by ``s``, with log s uniform in +-log(size); a bin sums the activity of the time that it spans.

    Counts are spread evenly over their bin and summed; values are averaged. Time runs from the first bin, or if bins
    are masked from the first token of the longest run of valid bins; the speed is limited so that this token stays
    whole, if it was. If ``s`` is above 1, the window ends early, and the bins after its end are masked.
    """
    most = torch.tensor(float(settings.size or 1.0), device=view.x_BNT.device).log()
    speed_B = ((2 * draws.uniform() - 1) * most).exp()
    first_B, run_B = _longest_run(view, tokens)
    speed_B = torch.minimum(speed_B, (run_B / tokens).clamp(min=1.0))
    length = view.x_BNT.shape[-1]
    from_first_BT = torch.arange(length + 1, device=speed_B.device) - first_B[:, None]
    edges_BT = (first_B[:, None] + from_first_BT * speed_B[:, None]).clamp(min=0.0, max=float(length))
    x_BNT = _between(view.x_BNT, edges_BT)
    # A bin is valid if all of the time that it spans was observed.
    seen_BT = _between(view.mask_BT[:, None].to(x_BNT.dtype), edges_BT)[:, 0]
    mask_BT = (seen_BT >= speed_B[:, None] * (1 - 1e-3)) & view.mask_BT
    values_B = view.modality_B == 1
    x_BNT = torch.where(values_B[:, None, None], x_BNT / speed_B[:, None, None].to(x_BNT.dtype), x_BNT)
    return replace(view, x_BNT=x_BNT * mask_BT[:, None, :], mask_BT=mask_BT)


def _between(x_BNT: torch.Tensor, edges_BT: torch.Tensor) -> torch.Tensor:
    """Return sums of ``x_BNT`` between consecutive edges, in bins; activity is spread evenly over its bin."""
    length = x_BNT.shape[-1]
    total_BNT = F.pad(x_BNT.cumsum(-1), (1, 0))
    whole_BT = edges_BT.long().clamp(max=length - 1)
    shape = (*x_BNT.shape[:2], edges_BT.shape[1])
    low = total_BNT.gather(2, whole_BT[:, None].expand(shape))
    high = total_BNT.gather(2, (whole_BT + 1)[:, None].expand(shape))
    at_edges = low + (high - low) * (edges_BT - whole_BT).to(x_BNT.dtype)[:, None]
    return at_edges.diff(dim=-1)
