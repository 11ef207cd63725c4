"""Labels of a run's recordings at the tokens of any window: sampled behaviour, and classes of trials.

Labels are read separately from activity: a batch names its recordings and times, and `RunLabels.placed` adds what was
measured at these times. Each series is z-scored over the recording's training time. Samples and trials of held-out time
are removed before anything is computed from them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from foundation.common.errors import ConfigError
from foundation.data.batch import WindowBatch
from foundation.data.steps.held_out_time import Spans, as_interval
from foundation.store.catalog import Catalog
from foundation.store.interval import Interval
from foundation.store.series import IrregularTimeSeries
from foundation.store.stored import StoredRecording

KEPT = 64  # sessions whose labels are held in memory
MOST_CLASSES = 32


@dataclass(frozen=True)
class LabelNames:
    """Names of the labels to read.

    Args:
        series: names of behaviour, such as ``velocity``.
        classes: columns of tables of intervals, such as ``trials.direction``.
        interval_weights: table of intervals -> weight in a loss of the tokens inside one of its intervals; all other
            tokens have weight 1; if tables overlap, the last named one decides.
    """

    series: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    interval_weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelShape:
    """Sizes of the labels of a run.

    Args:
        sessions: S recordings with labels.
        values: K columns of values, all series together.
        classes: for each of C columns of classes, the largest number of classes in a session.
    """

    sessions: int
    values: int
    classes: tuple[int, ...]


class SessionLabels:
    """Labels of one recording.

    Args:
        recording: of a store.
        names: which labels.
        held_out: ``[start, end]`` seconds of intervals whose labels must not be read.

    Attributes:
        values: for each series its z-scored samples; None if there are none, or they are constant.
        tables: for each column of classes the intervals, and the class of each; None without classes.
    """

    def __init__(self, recording: StoredRecording, names: LabelNames, held_out: Spans = ()) -> None:
        self._names = names
        kept = as_interval(held_out)
        time = recording.observed.without(kept)
        self.values = [_scaled(recording, name, time, kept) for name in names.series]
        self.tables = [_classes(recording, name, kept) for name in names.classes]
        self._weighted = [
            (_outside(table, kept), weight)
            for name, weight in names.interval_weights.items()
            if (table := recording.intervals.get(name)) is not None
        ]

    @property
    def widths(self) -> list[int]:
        """Number of columns of each series."""
        return [0 if series is None else series.data.shape[1] for series in self.values]

    @property
    def counts(self) -> list[int]:
        """Number of classes of each column of classes."""
        return [0 if found is None else int(found[1].max()) + 1 for found in self.tables]

    def at(self, times_T: np.ndarray, widths: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return labels at given times.

        Args:
            times_T: seconds, rising.
            widths: number of columns for each series.

        Returns:
            ``(T, K)`` z-scored values, NaN where missing; ``(T, C)`` classes, -1 where missing; and the
            ``(T,)`` weights.
        """
        value_TK = np.full((len(times_T), sum(widths)), np.nan, dtype=np.float32)
        for first, series in zip(np.cumsum([0, *widths]), self.values, strict=False):
            if series is not None:
                value_TK[:, first : first + series.data.shape[1]] = series.at(times_T)
        class_TC = np.full((len(times_T), len(self.tables)), -1, dtype=np.int64)
        for column, found in enumerate(self.tables):
            if found is not None:
                row_T = _row_at(found[0], times_T)
                class_TC[:, column] = np.where(row_T >= 0, found[1][row_T], -1)
        weight_T = np.ones(len(times_T), dtype=np.float32)
        for table, weight in self._weighted:
            weight_T[_row_at(table, times_T) >= 0] = weight
        return value_TK, class_TC, weight_T


class RunLabels:
    """Labels of the recordings of a run.

    Args:
        catalog: the recordings.
        names: which labels.
        held_out: recording id -> intervals whose labels must not be read.

    Attributes:
        shape: sizes of the labels.

    Raises:
        ConfigError: if no recording has any of the labels.
    """

    def __init__(self, catalog: Catalog, names: LabelNames, held_out: Mapping[str, Spans] | None = None) -> None:
        self._catalog, self._names, self._held_out = catalog, names, dict(held_out or {})
        self._held: OrderedDict[str, SessionLabels] = OrderedDict()
        widths, counts, self._sessions = [0] * len(names.series), [0] * len(names.classes), dict[str, int]()
        for name in sorted(catalog.ids):
            session = self.of(name)
            if any(session.widths) or any(session.counts):
                self._sessions[name] = len(self._sessions)
                widths = [max(pair) for pair in zip(widths, session.widths, strict=True)]
                counts = [max(pair) for pair in zip(counts, session.counts, strict=True)]
        if not self._sessions:
            raise ConfigError(
                f"none of {len(catalog)} recordings has labels {', '.join([*names.series, *names.classes])}: expected "
                "names of behaviour and of columns of intervals that a recording has (`foundation catalog` lists them)"
            )
        self._widths = widths
        self.shape = LabelShape(len(self._sessions), sum(widths), tuple(counts))

    def of(self, name: str) -> SessionLabels:
        """Return the labels of a recording."""
        if name not in self._held:
            place = self._catalog.records.find(name)
            assert place is not None
            recording = StoredRecording(self._catalog.store, self._catalog.records[place])
            self._held[name] = SessionLabels(recording, self._names, self._held_out.get(name, ()))
            if len(self._held) > KEPT:
                self._held.popitem(last=False)
        self._held.move_to_end(name)
        return self._held[name]

    def placed(self, batch: WindowBatch, recordings: Sequence[str], bins_per_token: int) -> WindowBatch:
        """Return a batch with the labels at the middle of each token.

        Args:
            batch: B windows on any device.
            recordings: ids of the recordings that the batch refers to.
            bins_per_token: bins of a token.

        Raises:
            ValueError: if the batch does not identify its recordings.
        """
        if batch.recording_B is None:
            raise ValueError("recording_B is None: expected a batch that identifies its recordings")
        n_tokens, shape = batch.mask_BT.shape[1] // bins_per_token, self.shape
        value_BTK = np.full((len(batch), n_tokens, shape.values), np.nan, dtype=np.float32)
        class_BTC = np.full((len(batch), n_tokens, len(shape.classes)), -1, dtype=np.int64)
        weight_BT = np.ones((len(batch), n_tokens), dtype=np.float32)
        session_B = np.full(len(batch), -1, dtype=np.int64)
        start_B, token_B = batch.start_B.tolist(), (batch.dt_B.double() * bins_per_token).tolist()
        for b, place in enumerate(batch.recording_B.tolist()):
            name = recordings[place]
            if name in self._sessions:
                session_B[b] = self._sessions[name]
                times_T = start_B[b] + (np.arange(n_tokens) + 0.5) * token_B[b]
                value_BTK[b], class_BTC[b], weight_BT[b] = self.of(name).at(times_T, self._widths)
        found = (torch.from_numpy(x).to(batch.x_BNT.device) for x in (session_B, value_BTK, class_BTC, weight_BT))
        session, values, classes, weights = found
        return replace(batch, session_B=session, value_BTK=values, class_BTC=classes, weight_BT=weights)


def _scaled(recording: StoredRecording, name: str, time: Interval, held_out: Interval) -> IrregularTimeSeries | None:
    """Return a series z-scored over a given time, NaN in held-out time; None if it is constant or empty there."""
    series = recording.behavior.get(name)
    if series is None or not len(series):
        return None
    stamps = np.asarray(series.timestamps, dtype=np.float64)
    data_TK = np.array(series.data, dtype=np.float64).reshape(len(stamps), -1)
    data_TK[held_out.contains(stamps)] = np.nan
    data_TK[~np.isfinite(data_TK)] = np.nan
    inside_TK = data_TK[time.contains(stamps)]
    if not np.isfinite(inside_TK).any(axis=0).all():
        return None
    spread_K = np.nanstd(inside_TK, axis=0)
    moves_K = spread_K > 1e-9 * (1 + np.nanmean(np.abs(inside_TK), axis=0))
    if not moves_K.any():
        return None
    scaled_TK = (data_TK - np.nanmean(inside_TK, axis=0)) / np.where(moves_K, spread_K, np.nan)
    return IrregularTimeSeries(stamps, scaled_TK)


def _classes(recording: StoredRecording, name: str, held_out: Interval) -> tuple[Interval, np.ndarray] | None:
    """Return intervals with the class of each; None if a recording has fewer than two classes, or far too many."""
    table, _, column = name.partition(".")
    found = recording.intervals.get(table)
    if found is None or column not in found.columns or np.asarray(found.columns[column]).ndim != 1:
        return None
    found = _outside(found, held_out)
    values = np.asarray(found.columns[column])
    if values.dtype.kind in "fc":
        values = np.round(values, 4)
        there = np.isfinite(values)
    else:
        there = values.astype(str) != ""
    classes, class_K = np.unique(values[there], return_inverse=True)
    if not 2 <= len(classes) <= MOST_CLASSES:
        return None
    kept = found.where(there)
    order = np.argsort(kept.start, kind="stable")
    return Interval(kept.start[order], kept.end[order]), class_K[order]


def _outside(table: Interval, held_out: Interval) -> Interval:
    """Return the intervals that touch no held-out time, in order of their starts."""
    touches = np.zeros(len(table), dtype=bool)
    for start, end in zip(held_out.start, held_out.end, strict=True):
        touches |= (table.start < end) & (table.end > start)
    kept = table.where(~touches)
    return kept.where(np.argsort(kept.start, kind="stable"))


def _row_at(table: Interval, times_T: np.ndarray) -> np.ndarray:
    """Return ``(T,)`` the interval that started last before each time and has not ended; otherwise -1."""
    if not len(table):
        return np.full(len(times_T), -1, dtype=np.int64)
    row_T = np.searchsorted(table.start, times_T, side="right") - 1
    inside_T = (row_T >= 0) & (times_T < table.end[np.maximum(row_T, 0)])
    return np.where(inside_T, row_T, -1)
