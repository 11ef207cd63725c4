"""A recording: one session's neural activity, units, behaviour and source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from foundation.store.format.finite import total
from foundation.store.format.spike_ticks import first_wrong
from foundation.store.format.spill import empty, let_go
from foundation.store.interval import Interval
from foundation.store.series import RegularTimeSeries, TimeSeries

COUNTS, VALUES = "counts", "values"


@dataclass(frozen=True)
class Spikes:
    """Spike trains of N units as events.

    Args:
        times: ``(S,)`` float64 seconds from the session's start; unit after unit, sorted inside each unit.
        offsets: ``(N + 1,)`` int64; unit ``n`` has ``times[offsets[n]:offsets[n + 1]]``.

    Raises:
        ValueError: if the offsets do not match the times, or a unit's times are unsorted or not finite.

    Example:
        >>> spikes = Spikes.from_trains([[0.1, 0.4], [], [0.2]])
        >>> spikes.n_units, spikes.train(0).tolist(), spikes.counts.tolist()
        (3, [0.1, 0.4], [2, 0, 1])
    """

    times: np.ndarray
    offsets: np.ndarray

    def __post_init__(self) -> None:
        times = np.ascontiguousarray(self.times, dtype=np.float64)
        offsets = np.ascontiguousarray(self.offsets, dtype=np.int64)
        if len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != len(times) or (np.diff(offsets) < 0).any():
            raise ValueError(
                f"offsets are {offsets[:3]}...{offsets[-1:]}: expected them to rise from 0 to {len(times)} spikes"
            )
        wrong = first_wrong(times, offsets)
        if wrong is not None:
            if not np.isfinite(times[wrong]):
                raise ValueError(f"spike times hold {times[wrong]}: expected finite seconds")
            unit = int(np.searchsorted(offsets, wrong, side="right") - 1)
            raise ValueError(f"spike times of unit {unit} are not sorted: expected rising times")
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "offsets", offsets)

    @classmethod
    def from_trains(cls, trains: list[np.ndarray]) -> Spikes:
        """Return the spikes of one sorted array of seconds per unit."""
        arrays = [np.asarray(train, dtype=np.float64) for train in trains]
        offsets = np.concatenate([[0], np.cumsum([len(a) for a in arrays], dtype=np.int64)])
        return cls(np.concatenate(arrays) if arrays else np.empty(0), offsets)

    @property
    def n_units(self) -> int:
        return len(self.offsets) - 1

    @property
    def counts(self) -> np.ndarray:
        """``(N,)`` spikes of each unit."""
        return np.diff(self.offsets)

    @property
    def span(self) -> tuple[float, float]:
        """Return the times of the first and the last spike of all units, in seconds.

        Raises:
            ValueError: if the recording has no spikes.
        """
        if not len(self):
            raise ValueError("the recording has no spikes: expected at least one")
        fired = self.counts > 0
        first_N, last_N = self.times[self.offsets[:-1][fired]], self.times[self.offsets[1:][fired] - 1]
        let_go(self.times)
        return float(first_N.min()), float(last_N.max())

    def where(self, keep_N: np.ndarray) -> Spikes:
        """Return the trains of some units.

        Example:
            >>> Spikes.from_trains([[0.1, 0.4], [], [0.2]]).where(np.array([False, True, True])).times.tolist()
            [0.2]
        """
        offsets = np.concatenate([[0], np.cumsum(self.counts[keep_N])])
        times = empty(int(offsets[-1]), np.float64)
        for place, unit in zip(offsets, np.flatnonzero(keep_N), strict=False):
            train = self.train(int(unit))
            times[place : place + len(train)] = train
            let_go(times)
            let_go(self.times)
        return Spikes(times, offsets)

    def __len__(self) -> int:
        return len(self.times)

    def train(self, unit: int) -> np.ndarray:
        """Return ``(S_n,)`` sorted spike times of one unit, in seconds."""
        return self.times[self.offsets[unit] : self.offsets[unit + 1]]


class Units(Mapping[str, np.ndarray]):
    """The table of a recording's units: a column per property, a row per unit.

    Text columns hold ``''`` where a value is missing. The standard columns are ``cell_type``, ``location``,
    ``quality`` and ``group`` (the probe or shank); other columns keep the source's names.

    Example:
        >>> units = Units(2, {"cell_type": np.array(["PV", ""])})
        >>> len(units), units.text("cell_type").tolist(), units.text("location").tolist()
        (2, ['PV', ''], ['', ''])
    """

    def __init__(self, n_units: int, columns: Mapping[str, np.ndarray] | None = None) -> None:
        self.n_units = int(n_units)
        self._columns = {name: np.asarray(values) for name, values in (columns or {}).items()}
        for name, values in self._columns.items():
            if len(values) != self.n_units:
                raise ValueError(
                    f"units column {name!r} has {len(values)} values: expected {self.n_units}, one per unit"
                )

    def __getitem__(self, name: str) -> np.ndarray:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return self.n_units

    def text(self, name: str) -> np.ndarray:
        """Return ``(N,)`` text; ``''`` where the column or the value is missing."""
        return self._columns[name].astype(str) if name in self._columns else np.full(self.n_units, "", dtype="<U1")


@dataclass(frozen=True)
class Source:
    """Origin of a recording: the fields for its identity and its citation.

    ``archive`` is ``''`` for files outside an archive; ``digest`` is the sha256 of the file's bytes. ``embargo`` is
    ``embargoed`` if the asset was not public when it was read, and ``''`` otherwise.
    """

    path: str
    digest: str
    archive: str = ""
    dandiset: str = ""
    version: str = ""
    asset: str = ""
    licence: str = ""
    embargo: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the fields in stored form: ``embargo`` only if it is set."""
        return {name: value for name, value in asdict(self).items() if value or name != "embargo"}


@dataclass(frozen=True)
class Subject:
    """The animal. ``key`` distinguishes animals of different sources that share a name."""

    id: str
    namespace: str = ""
    species: str = ""
    sex: str = ""
    age: str = ""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.id}" if self.namespace else self.id


@dataclass
class Recording:
    """One session of one animal, in memory. All times are seconds from the session's start.

    Args:
        source, subject, session: identity.
        units: the table of N units.
        domain: intervals in which the population was observed.
        spikes: events of N units, or None if the source has only sampled activity.
        activity: ``(T, N)`` sampled activity (dF/F, binned counts), or None. Exactly one of the two is set.
        activity_kind: ``counts`` (events per sample) or ``values``.
        behavior: name -> series.
        intervals: name -> table, for example ``trials``, ``states``, ``epochs``.
        resolution: temporal resolution of the spike times, in seconds (0: exact).
        quality: name -> number of repairs made when the file was read, such as ``spikes_dropped_nan``.
        control: results of quality control as JSON values: units dropped and why, gaps, clock jumps.
        description, start_time, lab, institution, device: as in the file.

    Raises:
        ValueError: if there is no activity, or the parts have different numbers of units.
    """

    source: Source
    subject: Subject
    session: str
    units: Units
    domain: Interval
    spikes: Spikes | None = None
    activity: RegularTimeSeries | None = None
    activity_kind: str = COUNTS
    behavior: dict[str, TimeSeries] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
    resolution: float = 0.0
    quality: dict[str, float] = field(default_factory=dict)
    control: dict[str, Any] = field(default_factory=dict)
    description: str = ""
    start_time: str = ""
    lab: str = ""
    institution: str = ""

    def __post_init__(self) -> None:
        if (self.spikes is None) == (self.activity is None):
            raise ValueError("spikes and activity are both given or both None: expected exactly one")
        if self.spikes is not None and self.spikes.n_units != len(self.units):
            raise ValueError(f"spikes have {self.spikes.n_units} trains: expected {len(self.units)}, one per unit")
        if self.activity is not None:
            if self.activity.data.ndim != 2 or self.activity.data.shape[1] != len(self.units):
                raise ValueError(
                    f"activity has shape {self.activity.data.shape}: expected (T, {len(self.units)}), a column per unit"
                )
            if self.activity_kind not in (COUNTS, VALUES):
                raise ValueError(f"activity_kind is {self.activity_kind!r}: expected {COUNTS!r} or {VALUES!r}")
            self.resolution = max(self.resolution, 1.0 / self.activity.rate)
        self.domain = self.domain.union()

    @property
    def n_units(self) -> int:
        return len(self.units)

    @property
    def labels(self) -> list[str]:
        """Names of the labels: ``cell_type``, ``location``, each behaviour, and each column of an interval table."""
        known = [name for name in ("cell_type", "location") if (self.units.text(name) != "").any()]
        tables = sorted(self.intervals.items())
        return known + sorted(self.behavior) + [f"{name}.{c}" for name, table in tables for c in sorted(table.columns)]

    @property
    def n_spikes(self) -> int:
        """Total number of spikes; sampled counts are summed, sampled values count as 0."""
        if self.spikes is not None:
            return len(self.spikes)
        if self.activity is not None and self.activity_kind == COUNTS:
            return int(total(self.activity.data))
        return 0
