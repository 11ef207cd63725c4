"""Batches of windows as tensors: padded or packed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import torch


@dataclass
class WindowBatch:
    """B windows of activity, padded to N units and T bins.

    Args:
        x_BNT: events (or mean value) of each unit in each bin; 0 where padded. Counts are small integers (uint8, or
            int32 if a bin holds more than 255) until `cast` or `model_inputs`, so that little data moves to the device.
        mask_BN: bool, valid units.
        mask_BT: bool, valid bins.
        dt_B: float32 seconds, the width of a bin.
        modality_B: int64, 0 counts, 1 values.
        start_B: float64 seconds from the session's start; for evaluation, not for the model.
        recording_B: int64, index of the plan's recording; None if windows were assembled by hand.
        label_B: int64, the sampler's label of a window (row of the trial, code of the label), or -1; None likewise.
        unit_BN: int32, the index of each unit in its recording, -1 where padded; None likewise.
        population_row_BN: int64, places of units among the rows of a model's population stream, -1 for units without a
            row; None if the population stream should not run.
        session_B: int64, index of the run's labelled recording, -1 for others; None, like the next three, without
            labels (see `foundation.data.labels`).
        value_BTK: float32, z-scored values of K label columns at each of T tokens, NaN where missing.
        class_BTC: int64, classes of C label columns at each token, -1 where missing.
        weight_BT: float32, weights of tokens in a loss of labels.
    """

    x_BNT: torch.Tensor
    mask_BN: torch.Tensor
    mask_BT: torch.Tensor
    dt_B: torch.Tensor
    modality_B: torch.Tensor
    start_B: torch.Tensor
    recording_B: torch.Tensor | None = None
    label_B: torch.Tensor | None = None
    unit_BN: torch.Tensor | None = None
    population_row_BN: torch.Tensor | None = None
    session_B: torch.Tensor | None = None
    value_BTK: torch.Tensor | None = None
    class_BTC: torch.Tensor | None = None
    weight_BT: torch.Tensor | None = None

    def model_inputs(self) -> dict[str, torch.Tensor]:
        """Return the arguments of a model's forward; counts become float32 on their device."""
        names = ("mask_BN", "mask_BT", "dt_B", "modality_B")
        x_BNT = self.x_BNT if self.x_BNT.is_floating_point() else self.x_BNT.float()
        inputs = {"x_BNT": x_BNT, **{name: getattr(self, name) for name in names}}
        return inputs if self.population_row_BN is None else {**inputs, "population_row_BN": self.population_row_BN}

    def cast(self, dtype: torch.dtype = torch.float32) -> WindowBatch:
        """Return the batch with activity of another dtype, for objectives and augmentations."""
        return replace(self, x_BNT=self.x_BNT.to(dtype))

    def to(self, device: torch.device | str) -> WindowBatch:
        """Return the batch on a device."""
        return _each(self, lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> WindowBatch:
        """Return the batch in pinned memory, for asynchronous copies to a GPU."""
        return _each(self, torch.Tensor.pin_memory)

    def __len__(self) -> int:
        return len(self.x_BNT)


@dataclass
class PackedBatch:
    """B windows of activity whose units are concatenated: M units in total, without padding.

    Args:
        x_MT: as in `WindowBatch`; ``x_MT[offsets[b]:offsets[b + 1]]`` are the units of window b.
        offsets: ``(B + 1,)`` int64.
        window_M: int64, the window of each unit.
        mask_BT, dt_B, modality_B, start_B, recording_B, label_B: as in `WindowBatch`.
    """

    x_MT: torch.Tensor
    offsets: torch.Tensor
    window_M: torch.Tensor
    mask_BT: torch.Tensor
    dt_B: torch.Tensor
    modality_B: torch.Tensor
    start_B: torch.Tensor
    recording_B: torch.Tensor
    label_B: torch.Tensor

    def to(self, device: torch.device | str) -> PackedBatch:
        """Return the batch on a device."""
        return _each(self, lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> PackedBatch:
        """Return the batch in pinned memory, for asynchronous copies to a GPU."""
        return _each(self, torch.Tensor.pin_memory)

    def __len__(self) -> int:
        return len(self.dt_B)


Batch = TypeVar("Batch", WindowBatch, PackedBatch)


def _each(batch: Batch, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
    values: dict[str, Any] = {f.name: getattr(batch, f.name) for f in fields(batch)}
    changed: Any = {name: None if v is None else change(v) for name, v in values.items()}
    return type(batch)(**changed)


def pad_windows(
    x_NT: list[np.ndarray], *, bin_widths: list[float], starts: list[float], modalities: list[int], bins_per_token: int
) -> WindowBatch:
    """Return windows of any shape as one batch, with time padded to whole tokens.

    Example:
        >>> batch = pad_windows([np.ones((2, 4)), np.ones((1, 8))], bin_widths=[0.1, 0.1], starts=[0.0, 0.0],
        ...                     modalities=[0, 0], bins_per_token=4)
        >>> tuple(batch.x_BNT.shape), batch.mask_BN.tolist()
        ((2, 2, 8), [[True, True], [True, False]])
    """
    n_windows = len(x_NT)
    n_units = max(x.shape[0] for x in x_NT)
    n_bins = -(-max(x.shape[1] for x in x_NT) // bins_per_token) * bins_per_token
    x_BNT = torch.zeros(n_windows, n_units, n_bins)
    mask_BN = torch.zeros(n_windows, n_units, dtype=torch.bool)
    mask_BT = torch.zeros(n_windows, n_bins, dtype=torch.bool)
    for b, x in enumerate(x_NT):
        x_BNT[b, : x.shape[0], : x.shape[1]] = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
        mask_BN[b, : x.shape[0]] = True
        mask_BT[b, : x.shape[1]] = True
    return WindowBatch(
        x_BNT=x_BNT,
        mask_BN=mask_BN,
        mask_BT=mask_BT,
        dt_B=torch.tensor(bin_widths, dtype=torch.float32),
        modality_B=torch.tensor(modalities, dtype=torch.int64),
        start_B=torch.tensor(starts, dtype=torch.float64),
    )
