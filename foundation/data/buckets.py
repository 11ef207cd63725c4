"""Splits of a batch into windows of similar size, so that a model computes little padding."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch

from foundation.data.batch import WindowBatch


@dataclass(frozen=True)
class Bucket:
    """Some windows of a batch, with padding cut off.

    Args:
        rows_B: int64, indices of these windows in the batch.
        windows: the windows.
        all_units, all_bins: whether all are known to be valid, so that a model needs no mask.
    """

    rows_B: torch.Tensor
    windows: WindowBatch
    all_units: bool
    all_bins: bool

    def model_inputs(self) -> dict[str, torch.Tensor | None]:
        """Return `WindowBatch.model_inputs`, with None for masks that hide nothing: attention is faster without."""
        inputs: dict[str, torch.Tensor | None] = dict(self.windows.model_inputs())
        hides = {"mask_BN": not self.all_units, "mask_BT": not self.all_bins}
        return {name: value if hides.get(name, True) else None for name, value in inputs.items()}

    def first(self) -> Bucket:
        """Return only the first windows."""
        known = {f.name: getattr(self.windows, f.name) for f in fields(self.windows)}
        one = replace(self.windows, **{name: tensor[:1] for name, tensor in known.items() if tensor is not None})
        return replace(self, rows_B=self.rows_B[:1], windows=one)


def buckets(batch: WindowBatch, waste: float = 0.3) -> list[Bucket]:
    """Return the parts of the batch; each window is in exactly one.

    Args:
        batch: B windows.
        waste: largest padding relative to the real content; beyond it another part begins.

    Example:
        >>> import numpy as np
        >>> from foundation.data import pad_windows
        >>> batch = pad_windows([np.ones((9, 8)), np.ones((1, 8)), np.ones((8, 8))], bin_widths=[0.1] * 3,
        ...                     starts=[0.0] * 3, modalities=[0] * 3, bins_per_token=4)
        >>> [(b.rows_B.tolist(), tuple(b.windows.x_BNT.shape), b.all_units) for b in buckets(batch)]
        [([0, 2], (2, 9, 8), False), ([1], (1, 1, 8), True)]
    """
    sizes_4B = torch.stack([*_sizes(batch.mask_BN), *_sizes(batch.mask_BT)]).tolist()  # one read from the device
    units, _, bins, _ = sizes_4B
    if units and min(units) == max(units) and min(bins) == max(bins):
        return [_bucket(batch, list(range(len(batch))), sizes_4B)]
    order = sorted(range(len(batch)), key=lambda b: (-units[b], -bins[b], b))
    groups: list[list[int]] = []
    longest = there = 0
    for b in order:
        size = units[b] * bins[b]
        if groups:  # the first window of a part has the most units
            padded = (len(groups[-1]) + 1) * units[groups[-1][0]] * max(longest, bins[b])
            if padded <= (1 + waste) * (there + size):
                groups[-1].append(b)
                longest, there = max(longest, bins[b]), there + size
                continue
        groups.append([b])
        longest, there = bins[b], size
    return [_bucket(batch, rows, sizes_4B) for rows in groups]


def _bucket(batch: WindowBatch, rows: list[int], sizes_4B: list[list[int]]) -> Bucket:
    units, units_there, bins, bins_there = ([size[r] for r in rows] for size in sizes_4B)
    n, t = max(units), max(bins)
    some = slice(None) if rows == list(range(len(batch))) else rows  # all windows unchanged: nothing is copied
    recording_B, label_B = (None if v is None else v[some] for v in (batch.recording_B, batch.label_B))
    unit_BN, row_BN = (None if v is None else v[some, :n] for v in (batch.unit_BN, batch.population_row_BN))
    windows = WindowBatch(
        x_BNT=batch.x_BNT[some, :n, :t],
        mask_BN=batch.mask_BN[some, :n],
        mask_BT=batch.mask_BT[some, :t],
        dt_B=batch.dt_B[some],
        modality_B=batch.modality_B[some],
        start_B=batch.start_B[some],
        recording_B=recording_B,
        label_B=label_B,
        unit_BN=unit_BN,
        population_row_BN=row_BN,
    )
    return Bucket(torch.tensor(rows), windows, min(units_there) == n, min(bins_there) == t)


def _sizes(mask_BL: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``(B,)`` the end of the last unmasked entry, and the number of unmasked entries."""
    places = torch.arange(1, mask_BL.shape[1] + 1, device=mask_BL.device)
    return (mask_BL * places).amax(1), mask_BL.sum(1)
