"""Committed recordings, read part by part on access."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import zarr

from foundation.common.errors import StoreError
from foundation.store.catalog_row import CatalogRow
from foundation.store.format.encode import (
    Encoded,
    EncodedArray,
    decode,
    decode_blocks,
    decode_column,
    decode_interval,
    decode_series,
)
from foundation.store.format.finite import missing_as_nan
from foundation.store.format.spike_blocks import SpikeBlocks
from foundation.store.format.zarr_arrays import read_array
from foundation.store.interval import Interval
from foundation.store.recording import COUNTS, Recording, Subject, Units
from foundation.store.series import RegularTimeSeries, TimeSeries
from foundation.store.storage import Store


class StoredRecording:
    """A committed recording; each part is read on first access.

    Behaviour, intervals, columns of units and sampled activity have NaN in place of numbers that are infinite or too
    large for float32, which stores of earlier releases may hold; `load` returns the stored values unchanged.

    Args:
        store: the store.
        record: its row of the catalog, or its id.

    Raises:
        StoreError: if the store has no such recording.
    """

    def __init__(self, store: Store, record: CatalogRow | str) -> None:
        if isinstance(record, str):
            found = store.commit(record)
            if found is None:
                raise StoreError(f"no recording {record!r} in {store.name!r}: `foundation catalog` lists them")
            record = CatalogRow.of(found)
        self.store, self.record = store, record
        self.id = record.id

    @cached_property
    def group(self) -> zarr.Group:
        return self.store.open_group(self.record.digest)

    @cached_property
    def attributes(self) -> dict[str, Any]:
        return dict(self.group.attrs)

    def _arrays(self, prefix: str) -> dict[str, EncodedArray]:
        paths = [path for path in self._paths if path.startswith(prefix)]
        return {path: read_array(self.group, path) for path in paths}

    def _finite(self, prefix: str) -> dict[str, EncodedArray]:
        """Return arrays with NaN in place of values that are not finite."""
        arrays = self._arrays(prefix)
        return {path: EncodedArray(missing_as_nan(a.data)[0], a.attributes) for path, a in arrays.items()}

    @cached_property
    def _paths(self) -> list[str]:
        return sorted(path for path, item in self.group.members(max_depth=None) if isinstance(item, zarr.Array))

    @property
    def n_units(self) -> int:
        return self.record.n_units

    @property
    def resolution(self) -> float:
        """Temporal resolution of the activity, in seconds."""
        return self.record.resolution

    @property
    def kind(self) -> str:
        """``spikes``, ``counts`` or ``values``."""
        return self.record.kind

    @cached_property
    def subject(self) -> Subject:
        return Subject(**self.attributes["subject"])

    @property
    def session(self) -> str:
        return str(self.attributes["session"])

    @cached_property
    def units(self) -> Units:
        arrays = self._finite("units/")
        return Units(self.n_units, {p.removeprefix("units/"): decode_column(a) for p, a in arrays.items()})

    @cached_property
    def domain(self) -> Interval:
        return decode_interval("domain", self._arrays("domain/"))

    @cached_property
    def observed(self) -> Interval:
        """The domain as disjoint intervals; usually taken from the catalog, without opening the recording."""
        found = self.record.observed_time()
        return self.domain.union() if found is None else found

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        arrays = self._finite("intervals/")
        return {name: decode_interval(f"intervals/{name}", arrays) for name in self.attributes["intervals"]}

    @cached_property
    def behavior(self) -> dict[str, TimeSeries]:
        arrays = self._finite("behavior/")
        return {name: decode_series(f"behavior/{name}", arrays) for name in self.attributes["behavior"]}

    @cached_property
    def spike_blocks(self) -> SpikeBlocks | None:
        """All spikes, in blocks of time; None for sampled activity."""
        arrays = self._arrays("spikes/")
        return decode_blocks(arrays) if arrays else None

    @cached_property
    def activity(self) -> RegularTimeSeries | None:
        """Sampled activity ``(T, N)``; None for spikes."""
        if "activity/data" not in self._paths:
            return None
        array = read_array(self.group, "activity/data")
        a = array.attributes
        return RegularTimeSeries(missing_as_nan(array.data)[0], rate=a["rate"], start=a["start"], unit=a["unit"])

    @property
    def is_counts(self) -> bool:
        return self.kind != "values"

    def load(self) -> Recording:
        """Return the whole recording in memory, equal to what was written."""
        attributes = {k: v for k, v in self.attributes.items() if k != "recipe"}
        return decode(Encoded(self._arrays(""), attributes))

    def verify(self) -> list[str]:
        """Return the names of arrays whose bytes do not match their digest; empty if all match."""
        damaged = []
        for path in self._paths:
            stored = self.group[path]
            try:
                intact = read_array(self.group, path).digest == stored.attrs.get("sha256")
            except Exception:  # damaged bytes can raise anything; report the array
                intact = False
            if not intact:
                damaged.append(path)
        return damaged

    def firing_rates(self) -> np.ndarray:
        """Return ``(N,)`` events per second over the observed time (mean value for sampled values)."""
        if self.activity is not None:
            mean = np.nanmean(self.activity.data, axis=0)
            return mean * self.activity.rate if self.record.kind == COUNTS else mean
        counts = read_array(self.group, "spikes/counts").data
        return counts / max(self.domain.duration, 1e-9)
