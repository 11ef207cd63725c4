"""The electrodes of units, and unit properties from electrode columns."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from hdmf.common import DynamicTableRegion, VectorIndex
from pynwb import NWBFile

from foundation.store.format.finite import is_finite
from ingest.nwb.nwb_arrays import load
from ingest.nwb.nwb_texts import plain_text
from ingest.nwb.table_columns import as_text, ragged_bounds, read_column
from ingest.recipe.name_patterns import matches


@dataclass(frozen=True)
class UnitElectrodes:
    """The electrodes of N units.

    Args:
        column: the column of the units table that refers to them.
        table: the table of E electrodes.
        rows: ``(R,)`` rows of that table, unit after unit.
        bounds: ``(N + 1,)`` offsets of each unit's rows.
    """

    column: str
    table: Any
    rows: np.ndarray
    bounds: np.ndarray

    def values(self, column: str) -> np.ndarray | None:
        """Return ``(N,)`` the mean number or most frequent text of each unit's electrodes; None if neither."""
        found = read_column(self.table[column], f"electrodes/{column}", array_size=1)
        if isinstance(found, str) or found.ndim != 1 or len(found) <= self.rows.max(initial=-1):
            return None
        if found.dtype.kind == "U":
            return self._votes(found)
        return self._means(found.astype(np.float64))

    def _votes(self, texts: np.ndarray) -> np.ndarray:
        chosen = [Counter(texts[self.rows[start:end]].tolist()) for start, end in self._spans()]
        return np.array([votes.most_common(1)[0][0] if votes else "" for votes in chosen], dtype=str)

    def _means(self, numbers: np.ndarray) -> np.ndarray:
        each = [numbers[self.rows[start:end]] for start, end in self._spans()]
        each = [one[is_finite(one)] for one in each]
        return np.array([one.mean() if len(one) else np.nan for one in each])

    def _spans(self) -> list[tuple[int, int]]:
        return list(zip(self.bounds[:-1].tolist(), self.bounds[1:].tolist(), strict=True))


def unit_electrodes(table: Any, columns: list[str], electrodes: Any) -> UnitElectrodes | None:
    """Return the electrodes of units, from the first column that refers to electrodes.

    Args:
        table: the units table.
        columns: names of columns that may hold them: rows of a table, or ids of electrodes.
        electrodes: the file's electrodes, or None.

    Raises:
        ValueError: if a row is outside the table of electrodes.
    """
    for pattern in columns:
        for name in table.colnames:
            if matches([pattern], name) and (found := _from_column(name, table, electrodes)) is not None:
                return found
    return None


def _from_column(name: str, table: Any, electrodes: Any) -> UnitElectrodes | None:
    region, bounds = table[name], np.arange(len(table) + 1)
    if isinstance(region, VectorIndex):
        bounds = ragged_bounds(load(region.data, f"units/{name}_index"), len(region.target.data))
        region = region.target
    if len(bounds) != len(table) + 1:
        raise ValueError(f"units/{name}_index has {len(bounds) - 1} rows for {len(table)} units")
    if isinstance(region, DynamicTableRegion):
        rows = np.asarray(load(region.data, f"units/{name}")).astype(np.int64)
        if region.table is None:
            return None
        if len(rows) and (rows.min() < 0 or rows.max() >= len(region.table)):
            raise ValueError(
                f"units name electrode {rows.max()}, but the table of electrodes has {len(region.table)} rows"
            )
        return UnitElectrodes(name, region.table, rows, bounds)
    ids = np.asarray(load(region.data, f"units/{name}"))
    if electrodes is None or ids.ndim != 1 or ids.dtype.kind not in "iu" or isinstance(table[name], VectorIndex):
        return None
    row_of = {int(one): row for row, one in enumerate(load(electrodes.id.data, "electrodes/id"))}
    found = [[row_of[int(one)]] if int(one) in row_of else [] for one in ids]
    if not any(found):
        return None
    bounds = np.concatenate([[0], np.cumsum([len(rows) for rows in found])]).astype(np.int64)
    return UnitElectrodes(name, electrodes, np.array([row for rows in found for row in rows], dtype=np.int64), bounds)


def group_names(table: Any, electrodes: UnitElectrodes | None) -> np.ndarray | None:
    """Return ``(N,)`` names of the units' electrode groups, from the units table itself or from their electrodes."""
    if "electrode_group" in table.colnames:
        return as_text(load(table["electrode_group"].data, "units/electrode_group"))
    if electrodes is None:
        return None
    if "group_name" in electrodes.table.colnames:
        return electrodes.values("group_name")
    return electrodes.values("group") if "group" in electrodes.table.colnames else None


def devices(groups: np.ndarray | None, nwb: NWBFile | None) -> dict[str, np.ndarray]:
    """Return the devices of electrode groups.

    Returns:
        ``probe``, the devices' names, and ``probe_description``, their maker, model and description: ``(N,)`` texts
        each; unknown columns are omitted.
    """
    if groups is None or nwb is None:
        return {}
    given = (nwb.electrode_groups or {}).items()
    known = {plain_text(name): group.device for name, group in given if group.device is not None}
    texts = {
        "probe": {name: plain_text(device.name) for name, device in known.items()},
        "probe_description": {name: _description(device) for name, device in known.items()},
    }
    columns = {
        column: np.array([of.get(group, "") for group in groups.tolist()], dtype=str) for column, of in texts.items()
    }
    return {column: values for column, values in columns.items() if (values != "").any()}


def _description(device: Any) -> str:
    parts = [
        getattr(device, "manufacturer", None),
        getattr(device, "model", None),
        getattr(device, "description", None),
    ]
    texts = [" ".join(str(getattr(part, "name", part)).split()) for part in parts if part]
    return "; ".join(dict.fromkeys(texts))
