"""Surrounding information of NeurPIR: the stimulus, behaviour and session during a unit's activity.

Behaviour and intervals of a recording become channels on a regular grid; CEBRA (arXiv 2204.00673) embeds them, once per
recording, and the embedding is kept under the store's ``derived/``. A segment's surrounding information is the
embedding over its time, pooled to a few bins of equal length, for segments of any length.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from foundation.common.errors import FoundationError, StoreError
from foundation.data.covariate_settings import SurroundSettings
from foundation.data.steps.step import StepWindows
from foundation.store.catalog_row import CatalogRow, CatalogRows
from foundation.store.derived import Derived
from foundation.store.format.finite import is_finite
from foundation.store.series import RegularTimeSeries
from foundation.store.storage import Store
from foundation.store.stored import StoredRecording

log = logging.getLogger(__name__)
VERSION = 2  # increased whenever a recording's information changes
SHORTEST = 20  # bins; CEBRA cannot be fitted to fewer than its receptive field


def channels(recording: StoredRecording, bin_width: float) -> tuple[np.ndarray, float]:
    """Return the surrounding information of a recording as channels on a grid over its observed time.

    Behaviour: the value of every series at the middle of each bin. Stimulus: for every table of intervals, whether an
    interval is in progress, and its numeric columns during that time; text columns become one channel per value (12
    at most). Session: its elapsed share. Each channel has mean 0 and standard deviation 1; constant ones are left out.

    Returns:
        ``(T, C)`` float32, and the time of the first bin's start.
    """
    domain = recording.domain.union()
    start, end = float(domain.start[0]), float(domain.end[-1])
    times_T = start + (np.arange(max(int((end - start) / bin_width), 1)) + 0.5) * bin_width
    found = [(times_T - start) / max(end - start, bin_width)]
    for _, series in sorted(recording.behavior.items()):
        found += _series_channels(series, times_T)
    for _, table in sorted(recording.intervals.items()):
        found += _interval_channels(table, times_T)
    x_TC = _finite_or_zero(np.stack(found, axis=1).astype(np.float64))
    spread_C = x_TC.std(axis=0)
    varying_C = spread_C > 1e-9 * (1 + np.abs(x_TC).max(axis=0))
    x_TC = (x_TC[:, varying_C] - x_TC[:, varying_C].mean(axis=0)) / spread_C[varying_C]
    return x_TC.astype(np.float32), start


def _series_channels(series: Any, times_T: np.ndarray) -> list[np.ndarray]:
    data = np.asarray(series.data, dtype=np.float64)
    data = data.reshape(len(data), -1)
    if not len(data):
        return []
    if isinstance(series, RegularTimeSeries):
        stamps = series.start + np.arange(len(data)) / series.rate
    else:
        stamps = np.asarray(series.timestamps, dtype=np.float64)
    return [np.interp(times_T, stamps, _finite_or_zero(column)) for column in data.T]


def _finite_or_zero(values: np.ndarray) -> np.ndarray:
    """Return values with 0 in place of missing, infinite or too large ones (float32)."""
    return np.where(is_finite(values), values, 0.0)


def _interval_channels(table: Any, times_T: np.ndarray) -> list[np.ndarray]:
    starts, ends = np.asarray(table.start), np.asarray(table.end)
    if not len(starts):
        return []
    row_T = _innermost(starts, ends, times_T)
    on_T = row_T >= 0
    found = [on_T.astype(np.float64)]
    for _, values in sorted(table.columns.items()):
        values = np.asarray(values)
        if values.ndim == 1 and values.dtype.kind in "biuf":
            found.append(np.where(on_T, values[row_T].astype(np.float64), 0.0))
        elif values.ndim == 1:
            names = np.unique(values.astype(str))
            if len(names) <= 12:
                found += [on_T & (values.astype(str)[row_T] == name) for name in names]
    return found


def _innermost(starts: np.ndarray, ends: np.ndarray, times_T: np.ndarray) -> np.ndarray:
    """Return ``(T,)`` the interval at each time, -1 for none; of several, the one that starts last, then the shortest.

    Args:
        starts, ends: of the rows, in any order; rows may overlap and contain each other.
        times_T: sorted times.
    """
    row_T = np.full(len(times_T), -1, dtype=np.int64)
    first, last = np.searchsorted(times_T, starts), np.searchsorted(times_T, ends)
    for row in np.lexsort((-ends, starts)):  # later intervals over earlier ones
        row_T[first[row] : last[row]] = row
    return row_T


def principal_components(x_TC: np.ndarray, dim: int) -> np.ndarray:
    """Return ``(T, dim)`` first principal components of standard deviation 1, with zeros for missing components."""
    out = np.zeros((len(x_TC), dim), np.float32)
    if x_TC.shape[1]:
        u, s, vt = np.linalg.svd(x_TC.astype(np.float64), full_matrices=False)
        k = min(dim, int((s > 1e-6 * s[0]).sum()))
        sign = np.sign(vt[np.arange(k), np.abs(vt[:k]).argmax(axis=1)])
        out[:, :k] = u[:, :k] * sign * np.sqrt(len(x_TC))
    return out


def cebra_embedding(x_TC: np.ndarray, settings: SurroundSettings) -> np.ndarray:
    """Return the ``(T, dim)`` CEBRA-Time embedding of channels; equal settings give equal numbers on one machine.

    The result is 0 if there is nothing to embed, or too little.

    Raises:
        FoundationError: if the package ``cebra`` is not installed.
    """
    try:
        import cebra
    except ImportError as error:
        raise FoundationError(
            f"surrounding information by CEBRA needs its package ({error}): pip install 'neural-foundation[cebra]', "
            "or set surround.kind=raw"
        ) from error
    import torch

    if not x_TC.shape[1] or len(x_TC) <= SHORTEST + settings.time_offset:
        return np.zeros((len(x_TC), settings.dim), np.float32)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        x = torch.from_numpy(x_TC)
        dataset = cebra.data.TensorDataset(x, continuous=x)
        model = cebra.models.init(settings.architecture, x.shape[1], 32, settings.dim, True)
        dataset.configure_for(model)
        loader = cebra.data.ContinuousDataLoader(
            dataset=dataset,
            conditional="time",
            time_offset=settings.time_offset,
            num_steps=settings.iterations,
            batch_size=min(settings.batch_size, len(x)),
        )
        # The package always seeds its sampler from the machine's entropy.
        loader.distribution.generator.manual_seed(settings.seed)
        criterion = cebra.models.criterions.FixedCosineInfoNCE(temperature=1.0)
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
        solver = cebra.solver.init(
            "single-session", model=model, criterion=criterion, optimizer=optimizer, tqdm_on=False
        )
        solver.fit(loader)
        return np.ascontiguousarray(solver.transform(x).numpy(), dtype=np.float32)


class Surroundings:
    """Surrounding information of the recordings of a store.

    Args:
        store: the store; fitted information is kept in its ``derived/``.
        records: rows of the recordings.
        settings: of the surrounding information.
    """

    def __init__(self, store: Store, records: Sequence[CatalogRow], settings: SurroundSettings) -> None:
        self.store, self.settings = store, settings
        self.records = CatalogRows.of(records)
        self._held: dict[str, tuple[np.ndarray, float]] = {}

    def _derived(self, record: CatalogRow) -> Derived:
        made_by = {k: v for k, v in asdict(self.settings).items() if k != "pool"}
        if self.settings.kind == "raw":
            made_by = {k: made_by[k] for k in ("kind", "dim", "bin_width")}
        return Derived(self.store, f"surround-{VERSION}", made_by, [record.digest])

    def _record(self, name: str) -> CatalogRow:
        place = self.records.find(name)
        if place is None:
            raise KeyError(name)
        return self.records[place]

    def missing(self) -> list[str]:
        """Return the ids of recordings that have not been fitted."""
        return [record.id for record in self.records if not self._derived(record).exists()]

    def fit(self, name: str) -> None:
        """Compute and keep the surrounding information of one recording, unless it is already there."""
        record = self._record(name)
        derived = self._derived(record)
        if derived.exists():
            return
        x_TC, start = channels(StoredRecording(self.store, record), self.settings.bin_width)
        if self.settings.kind == "cebra":
            e_TK = cebra_embedding(x_TC, self.settings)
        else:
            e_TK = principal_components(x_TC, self.settings.dim)
        derived.write({"e": e_TK}, {"start": start, "channels": int(x_TC.shape[1])})

    def __call__(self, name: str, start: float, seconds: float) -> np.ndarray:
        """Return ``(features,)`` pooled information of a segment; zeros if the recording has none.

        Raises:
            StoreError: if the fitted information is damaged, or holds values that are not finite.
        """
        if name not in self._held:
            self.fit(name)
            derived = self._derived(self._record(name))
            e_TK = derived.read("e")
            if not is_finite(e_TK).all():
                raise StoreError(
                    f"{derived.folder}/e has values that are not finite: remove the folder, and fit it again"
                )
            self._held[name] = e_TK, float(derived.attributes["start"])
        e_TK, first = self._held[name]
        if not e_TK.any():
            return np.zeros(self.settings.features, np.float32)
        low = int((start - first) / self.settings.bin_width)
        high = int(np.ceil((start + seconds - first) / self.settings.bin_width - 1e-9))
        low = min(max(low, 0), len(e_TK) - 1)
        return np.append(pooled(e_TK[low : max(high, low + 1)], self.settings.pool).ravel(), 1.0).astype(np.float32)

    def of_step(self, recordings: Sequence[str], windows: StepWindows) -> np.ndarray:
        """Return ``(V, B, features)`` pooled information of each view of each window.

        Args:
            recordings: ids of the recordings that the windows refer to.
            windows: one process's share of a step.
        """
        names = [recordings[r] for r in windows.recordings.tolist()]
        times = zip(windows.start_VB.tolist(), windows.seconds_VB.tolist(), strict=True)
        return np.stack([[self(*segment) for segment in zip(names, *view, strict=True)] for view in times])


def pooled(e_TK: np.ndarray, bins: int) -> np.ndarray:
    """Pool averages over time: bin ``b`` is the mean of samples ``floor(bT/bins)`` to ``ceil((b+1)T/bins)``.

    Example:
        >>> pooled(np.array([[0.0], [1.0], [2.0], [3.0]]), 2).tolist()
        [[0.5], [2.5]]
        >>> pooled(np.array([[5.0]]), 3).tolist()
        [[5.0], [5.0], [5.0]]
    """
    length = len(e_TK)
    edges = [(b * length // bins, -(-(b + 1) * length // bins)) for b in range(bins)]
    return np.stack([e_TK[low:high].mean(axis=0) for low, high in edges])
