"""Windows as padded tensors."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch

from foundation.data.plan import Window
from foundation.data.reader import ActivityReader, ReaderCache


@dataclass
class WindowBatch:
    """B windows of activity, padded to N units and T bins.

    Args:
        x_BNT: float32, events (or mean value) of each unit in each bin; 0 where padded.
        mask_BN: bool, which units are there.
        mask_BT: bool, which bins are there.
        dt_B: float32 seconds, the width of a bin.
        modality_B: int64, 0 counts, 1 values.
        start_B: float64 seconds from the session's start; for the reader of results, not for the model.
    """

    x_BNT: torch.Tensor
    mask_BN: torch.Tensor
    mask_BT: torch.Tensor
    dt_B: torch.Tensor
    modality_B: torch.Tensor
    start_B: torch.Tensor

    def model_inputs(self) -> dict[str, torch.Tensor]:
        """The arguments of a model's forward."""
        names = ("x_BNT", "mask_BN", "mask_BT", "dt_B", "modality_B")
        return {name: getattr(self, name) for name in names}

    def to(self, device: torch.device | str) -> WindowBatch:
        """The same batch on a device."""
        return WindowBatch(**{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)})

    def __len__(self) -> int:
        return len(self.x_BNT)

    def buckets(self, waste: float = 0.3) -> list[tuple[torch.Tensor, WindowBatch]]:
        """The batch in parts of windows of like size, so that little of what a model computes is padding.

        Args:
            waste: padding at most, as a share of what is there, before another part is begun.

        Returns:
            ``(rows, part)``: indices into this batch, and those windows with padding cut off. Every row is in one part.

        Example:
            >>> batch = pad_windows([np.ones((9, 8)), np.ones((1, 8)), np.ones((8, 8))], bin_widths=[0.1] * 3,
            ...                     starts=[0.0] * 3, modalities=[0] * 3, bins_per_token=4)
            >>> [(rows.tolist(), tuple(part.x_BNT.shape)) for rows, part in batch.buckets()]
            [([0, 2], (2, 9, 8)), ([1], (1, 1, 8))]
        """
        units, bins = (_extent(mask).tolist() for mask in (self.mask_BN, self.mask_BT))
        order = sorted(range(len(self)), key=lambda b: (-units[b], -bins[b], b))
        groups: list[list[int]] = []
        for b in order:
            if groups:
                rows = [*groups[-1], b]
                padded = len(rows) * max(units[r] for r in rows) * max(bins[r] for r in rows)
                if padded <= (1 + waste) * sum(units[r] * bins[r] for r in rows):
                    groups[-1].append(b)
                    continue
            groups.append([b])
        return [(torch.tensor(rows), self._part(rows, units, bins)) for rows in groups]

    def _part(self, rows: list[int], units: list[int], bins: list[int]) -> WindowBatch:
        n, t = max(units[r] for r in rows), max(bins[r] for r in rows)
        return WindowBatch(
            x_BNT=self.x_BNT[rows, :n, :t],
            mask_BN=self.mask_BN[rows, :n],
            mask_BT=self.mask_BT[rows, :t],
            dt_B=self.dt_B[rows],
            modality_B=self.modality_B[rows],
            start_B=self.start_B[rows],
        )


def _extent(mask_BL: torch.Tensor) -> torch.Tensor:
    """``(B,)`` up to where something is there: what is masked inside a window does not cut its end off."""
    places = torch.arange(1, mask_BL.shape[1] + 1, device=mask_BL.device)
    return (mask_BL * places).amax(1)


def pad_windows(
    x_NT: list[np.ndarray], *, bin_widths: list[float], starts: list[float], modalities: list[int], bins_per_token: int
) -> WindowBatch:
    """Windows of any shape as one batch; time is padded to whole tokens.

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


def read_views(windows: list[Window], readers: ReaderCache, bins_per_token: int) -> list[WindowBatch]:
    """One batch per view; row b of every batch shows the same units of the same window."""
    open_readers: list[ActivityReader] = [readers(w.recording) for w in windows]
    batches = []
    for k in range(len(windows[0].views)):
        x = [
            reader.window(w.views[k].start, w.views[k].n_bins, w.bin_width, w.units)
            for w, reader in zip(windows, open_readers, strict=True)
        ]
        batches.append(
            pad_windows(
                x,
                bin_widths=[w.bin_width for w in windows],
                starts=[w.views[k].start for w in windows],
                modalities=[reader.modality for reader in open_readers],
                bins_per_token=bins_per_token,
            )
        )
    return batches
