"""Batches of a worker as one piece of shared memory: each piece costs both processes a file and a mapping."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch

from foundation.data.batch import PackedBatch, WindowBatch

ALIGNED = 64


@dataclass(frozen=True)
class Parcel:
    """Steps with their tensors in one buffer.

    Args:
        buffer: uint8, all tensors one after another.
        steps: for each step its number and its views; a view is its class, and for each field where in the buffer it
            begins, its type and shape, or None.
    """

    buffer: torch.Tensor
    steps: list[tuple[int, list[tuple[type, dict[str, Any]]]]]


def pack(steps: list[tuple[int, list[WindowBatch] | list[PackedBatch]]]) -> Parcel:
    """Steps as one piece.

    Example:
        >>> from foundation.data import pad_windows
        >>> import numpy as np
        >>> batch = pad_windows([np.ones((2, 4))], bin_widths=[0.1], starts=[3.0], modalities=[0], bins_per_token=4)
        >>> [(step, views)] = unpack(pack([(7, [batch])]))
        >>> step, bool((views[0].x_BNT == batch.x_BNT).all()), float(views[0].start_B[0]), views[0].label_B
        (7, True, 3.0, None)
    """
    place, described, pieces = 0, [], []
    for step, views in steps:
        said: list[tuple[type, dict[str, Any]]] = []
        for view in views:
            found: dict[str, Any] = {}
            for f in fields(view):
                tensor = getattr(view, f.name)
                found[f.name] = None
                if tensor is not None:
                    found[f.name] = (place, tensor.dtype, tuple(tensor.shape))
                    pieces.append((place, tensor))
                    place += -(-tensor.numel() * tensor.element_size() // ALIGNED) * ALIGNED
            said.append((type(view), found))
        described.append((step, said))
    # Made in shared memory, as PyTorch's own collation in workers does, so that nothing is copied on its way there.
    storage = torch.UntypedStorage._new_shared(place)
    buffer = torch.empty(0, dtype=torch.uint8).set_(storage)
    for at, tensor in pieces:
        raw = tensor.contiguous().reshape(-1).view(torch.uint8)
        buffer[at : at + len(raw)] = raw
    return Parcel(buffer, described)


def unpack(parcel: Parcel) -> list[tuple[int, list[Any]]]:
    """The steps of `pack`; their tensors share its memory."""

    def tensor(place: int, dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
        size = dtype.itemsize * int(torch.Size(shape).numel())
        return parcel.buffer[place : place + size].view(dtype).view(shape)

    def view(kind: type, found: dict[str, Any]) -> Any:
        return kind(**{name: None if at is None else tensor(*at) for name, at in found.items()})

    return [(step, [view(*described) for described in views]) for step, views in parcel.steps]
