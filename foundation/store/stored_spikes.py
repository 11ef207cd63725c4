"""The spikes of a stored recording, a block at a time."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import zarr

from foundation.errors import StoreError
from foundation.store.ticks import from_ticks


class StoredSpikes:
    """Blocks of spikes that are read when they are asked for; see `SpikeBlocks` for what a block is.

    Args:
        group: the recording's Zarr group.

    Raises:
        StoreError: if the group's arrays are not those of spikes, or a block cannot be read.
    """

    def __init__(self, group: zarr.Group) -> None:
        self.group = group
        name = "spikes/ticks" if "spikes/ticks" in group else "spikes/times"
        stored = group[name]
        assert isinstance(stored, zarr.Array)
        self._stored = stored
        self._rate = float(np.asarray(stored.attrs["rate"])) if name == "spikes/ticks" else None

    @cached_property
    def edges(self) -> np.ndarray:
        """``(K + 1,)`` seconds; the spikes of block ``k`` lie in ``[edges[k], edges[k + 1]]``."""
        return np.asarray(self.group["spikes/edges"][...], dtype=np.float64)  # type: ignore[index]

    @cached_property
    def offsets(self) -> np.ndarray:
        """``(K, N + 1)`` int64: where each unit's spikes lie in each block."""
        return np.asarray(self.group["spikes/offsets"][...], dtype=np.int64)  # type: ignore[index]

    @property
    def n_blocks(self) -> int:
        return len(self.edges) - 1

    def block(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """One block.

        Returns:
            ``times`` ``(S,)`` float64 seconds, unit after unit, and ``counts`` ``(N,)`` spikes of each unit.
        """
        offsets = self.offsets[k]
        try:
            values = np.asarray(self._stored[int(offsets[0]) : int(offsets[-1])])
        except Exception as error:  # damaged bytes fail to decode in many ways
            raise StoreError(
                f"block {k} of the spikes in {self.group.store_path} cannot be read ({error}): "
                "`foundation catalog --verify` names what is damaged"
            ) from error
        times = values.astype(np.float64, copy=False) if self._rate is None else from_ticks(values, self._rate)
        return times, np.diff(offsets)
