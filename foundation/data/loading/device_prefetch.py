"""The next batch on its way to the device while this one is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, Self, TypeVar

import torch


class Movable(Protocol):
    """What can be pinned and moved: a batch."""

    def to(self, device: torch.device) -> Self:
        """The same on a device."""

    def pin_memory(self) -> Self:
        """The same in pinned memory."""


Item = TypeVar("Item", bound=Movable)


def ahead_on(items: Iterator[Item], device: torch.device) -> Iterator[Item]:
    """Items on a device, in order.

    For a GPU, each is copied from pinned memory on a stream of its own, one item ahead of the one that is used; the
    current stream waits for the copy of what it is given. Elsewhere items are just moved.
    """
    if device.type != "cuda":
        for item in items:
            yield item.to(device)
        return
    stream = torch.cuda.Stream(device)
    before: tuple[Item, Item] | None = None
    for item in items:
        with torch.cuda.stream(stream):
            pinned = item.pin_memory()
            # The pinned memory is held until its copy has been waited for.
            coming = (pinned, pinned.to(device))
        if before is not None:
            torch.cuda.current_stream(device).wait_stream(stream)
            yield before[1]
        before = coming
    if before is not None:
        torch.cuda.current_stream(device).wait_stream(stream)
        yield before[1]
