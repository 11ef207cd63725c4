"""Commit records in memory: a typed row for each, or all of them as Arrow columns.

A million records as dicts take 3.5 GB in every process. As columns they take a tenth of a kilobyte of shared pages for
each record in use, since the columns may lie in a memory-mapped file; see `commit.snapshot`.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from foundation.common.errors import StoreError
from foundation.store.interval import Interval
from foundation.store.recording import Source

TEXTS = ("id", "digest", "recipe", "subject", "species", "session", "path", "kind", "lab")
SOURCE = tuple(entry.name for entry in fields(Source))
PARTS = ("source", "quality", "control")
# Columns in which most texts repeat.
REPEATED = (
    "recipe", "subject", "species", "kind", "lab",
    "source.archive", "source.dandiset", "source.version", "source.licence", "source.embargo",
)  # fmt: skip
SCHEMA = pa.schema(
    [(name, pa.string()) for name in TEXTS]
    + [("n_units", pa.int64()), ("n_spikes", pa.int64())]
    + [(name, pa.float64()) for name in ("duration", "longest_interval", "resolution")]
    + [("labels", pa.list_(pa.string())), ("observed", pa.list_(pa.list_(pa.float64())))]
    + [("source", pa.struct([(name, pa.string()) for name in SOURCE]))]
)
BLOCK = 1 << 20  # bytes of JSON that Arrow parses at a time; they fit into a processor's cache
AT_ONCE = 1024  # rows that iteration creates together
SENT = 1 << 16  # most rows whose columns are sent to another process; above it, the name of their file is sent


@dataclass(frozen=True, slots=True)
class CatalogRow:
    """One recording of a catalog, as described by its commit record.

    Args:
        id: the recording's id.
        digest: content digest of its group.
        recipe: digest of the recipe that read it.
        subject: key of the subject, with its namespace.
        species, session, path, lab: as in the file.
        kind: ``spikes``, ``counts`` or ``values``.
        n_units, n_spikes: sizes.
        duration: observed seconds.
        longest_interval: seconds of the longest observed interval.
        resolution: seconds below which the activity has no detail.
        labels: names of the labels and covariates; see `Recording.labels`.
        observed: start and end of each observed interval; None if the record does not hold them.
        source: origin of the recording.
        quality: number of corrections made when the file was read, by name.
        control: counts of quality control, by name.
    """

    id: str
    digest: str = ""
    recipe: str = ""
    subject: str = ""
    species: str = ""
    session: str = ""
    path: str = ""
    kind: str = "spikes"
    lab: str = ""
    n_units: int = 0
    n_spikes: int = 0
    duration: float = 0.0
    longest_interval: float = 0.0
    resolution: float = 0.0
    labels: list[str] = field(default_factory=list)
    observed: list[list[float]] | None = None
    source: Source = field(default_factory=lambda: Source("", ""))
    quality: dict[str, float] = field(default_factory=dict)
    control: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> CatalogRow:
        """Return the row of a commit record.

        Example:
            >>> CatalogRow.of({"id": "f00d", "n_units": 3, "source": {"path": "a.nwb", "digest": "ab"}}).source.path
            'a.nwb'
        """
        known = {name: record[name] for name in cls.__dataclass_fields__ if record.get(name) is not None}
        return cls(**known | {"source": Source(**known["source"]) if "source" in known else Source("", "")})

    @property
    def units_dropped(self) -> int:
        """Number of units that quality control dropped."""
        return int(self.control.get("units_dropped", 0))

    def observed_time(self) -> Interval | None:
        """Return the observed time as it was written, bit for bit; None if the record does not hold it.

        Example:
            >>> CatalogRow("f00d", observed=[[0.0, 9.5]]).observed_time().end.tolist()
            [9.5]
        """
        if self.observed is None:
            return None
        pairs_K2 = np.array(self.observed, dtype=np.float64).reshape(-1, 2)
        return Interval(pairs_K2[:, 0].copy(), pairs_K2[:, 1].copy())


class CatalogRows(Sequence[CatalogRow]):
    """Rows of a catalog as Arrow columns; each row is made on access.

    Columns are the fields of `CatalogRow`; those of its source, quality and control are ``source.licence``,
    ``quality.units_sorted``, ``control.gaps``, ...

    Args:
        table: the columns of all rows.
        index_R: ``(R,)`` int64, rows of the table; None: all.
        file: the file of the table and its first row there, if it is memory-mapped from a file of `write_columns`.

    Example:
        >>> rows = CatalogRows.of([CatalogRow("a", n_units=3), CatalogRow("b", n_units=5)])
        >>> rows[1].n_units, rows.numbers("n_units").tolist(), [row.id for row in rows.select(np.array([True, False]))]
        (5, [3, 5], ['a'])
    """

    def __init__(
        self, table: pa.Table, index_R: np.ndarray | None = None, file: tuple[Path, int] | None = None
    ) -> None:
        self._table, self._index_R, self._file = table, index_R, file
        self._names = {part: [name for name in table.schema.names if name.startswith(f"{part}.")] for part in PARTS}

    @classmethod
    def of(cls, rows: Iterable[CatalogRow]) -> CatalogRows:
        """Return rows as columns, in this order."""
        return rows if isinstance(rows, CatalogRows) else cls.of_records([asdict(row) for row in rows])

    @classmethod
    def of_records(cls, records: Sequence[Mapping[str, Any]]) -> CatalogRows:
        """Return commit records as columns, in this order."""
        return cls(to_columns([json.dumps(record) for record in records]))

    def __len__(self) -> int:
        return self._table.num_rows if self._index_R is None else len(self._index_R)

    @overload
    def __getitem__(self, place: int) -> CatalogRow: ...
    @overload
    def __getitem__(self, place: slice) -> CatalogRows: ...
    def __getitem__(self, place: int | slice) -> CatalogRow | CatalogRows:
        if isinstance(place, slice):
            return self.select(np.arange(len(self))[place])
        k = range(len(self))[place]
        k = k if self._index_R is None else int(self._index_R[k])
        return self._rows(self._table.slice(k, 1))[0]

    def __iter__(self) -> Iterator[CatalogRow]:
        for first in range(0, len(self), AT_ONCE):
            if self._index_R is None:
                yield from self._rows(self._table.slice(first, AT_ONCE))
            else:
                yield from self._rows(self._table.take(self._index_R[first : first + AT_ONCE]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CatalogRows) and len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def _rows(self, table: pa.Table) -> list[CatalogRow]:
        return [self._row(values) for values in table.to_pylist()]

    def _row(self, values: dict[str, Any]) -> CatalogRow:
        record = {name: value for name, value in values.items() if "." not in name}
        for part, names in self._names.items():
            record[part] = {n.removeprefix(f"{part}."): values[n] for n in names if values[n] is not None}
        source = {"path": values.get("path") or "", "digest": ""} | record["source"]
        return CatalogRow.of(record | {"source": {name: source[name] for name in SOURCE if name in source}})

    @property
    def names(self) -> list[str]:
        """Names of the columns with a value in at least one row."""
        table = self._table
        return [name for name in table.schema.names if table[name].null_count < max(1, table.num_rows)]

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column, one value a row.

        Raises:
            KeyError: if there is no such column.
        """
        values = self._table[name]
        return values if self._index_R is None else values.take(self._index_R)

    def numbers(self, name: str) -> np.ndarray:
        """Return a column of numbers: ``(R,)`` int64 or float64."""
        values: np.ndarray = self.column(name).to_numpy()
        return values

    def texts(self, name: str) -> list[str]:
        """Return a column of texts; ``''`` for a row without one."""
        if name not in self._table.schema.names:
            return [""] * len(self)
        return ["" if text is None else text for text in self.column(name).to_pylist()]

    @property
    def ids(self) -> list[str]:
        """Ids of the recordings, in order."""
        return self.texts("id")

    @property
    def units_dropped(self) -> int:
        """Number of units that quality control dropped, over all rows."""
        name = "control.units_dropped"
        return int(pc.sum(self.column(name)).as_py() or 0) if name in self._table.schema.names else 0

    def with_label(self, label: str) -> np.ndarray:
        """Return ``(R,)`` True for each row that has a label."""
        return has_text(self.column("labels"), label)

    def find(self, recording_id: str) -> int | None:
        """Return the place of a recording's row; None if the recording is missing."""
        place = pc.index(self.column("id"), recording_id).as_py()
        return None if place < 0 else int(place)

    def places(self, ids: Iterable[str]) -> np.ndarray:
        """Return ``(M,)`` the places of these recordings' rows, -1 for missing recordings."""
        known = pa.concat_arrays([pa.array([], pa.string()), *self.column("id").chunks])
        found = pc.index_in(pa.array(list(ids), pa.string()), value_set=known)
        places: np.ndarray = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        return places

    def select(self, chosen: np.ndarray) -> CatalogRows:
        """Return some rows, by a mask or by their places. The columns are shared.

        Args:
            chosen: ``(R,)`` bool, or places in the order of the result.
        """
        places = np.flatnonzero(chosen) if chosen.dtype == bool else np.asarray(chosen, dtype=np.int64)
        return CatalogRows(self._table, places if self._index_R is None else self._index_R[places], self._file)

    def part(self, first: int, last: int) -> CatalogRows:
        """Return the rows ``first`` to ``last - 1`` of the table."""
        file = None if self._file is None else (self._file[0], self._file[1] + first)
        return CatalogRows(self._table.slice(first, last - first), None, file)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._file is not None and len(self) > SENT:
            return _reopened, (*self._file, self._table.num_rows, self._index_R)
        sink = pa.BufferOutputStream()
        table = self._table if self._index_R is None else self._table.take(self._index_R)
        _write(sink, table)
        return _received, (sink.getvalue().to_pybytes(),)


def has_text(column: pa.ChunkedArray, text: str) -> np.ndarray:
    """Return ``(R,)`` True for each list of texts that holds a text."""
    parts = [np.zeros(0, dtype=bool)]
    for chunk in column.chunks:
        values = chunk.values
        if pa.types.is_dictionary(values.type):
            code = values.dictionary.to_pylist().index(text) if text in values.dictionary.to_pylist() else -1
            hit = values.indices.fill_null(-1).to_numpy(zero_copy_only=False) == code if code >= 0 else None
        else:
            hit = pc.fill_null(pc.equal(values, text), False).to_numpy(zero_copy_only=False)
        if hit is None:
            parts.append(np.zeros(len(chunk), dtype=bool))
            continue
        before = np.concatenate([[0], np.cumsum(hit, dtype=np.int64)])
        offsets = chunk.offsets.to_numpy()
        parts.append(before[offsets[1:]] > before[offsets[:-1]])
    return np.concatenate(parts)


def to_columns(texts: Sequence[str] | pa.StringArray) -> pa.Table:
    """Return commit records, as JSON texts, as a table of flat columns.

    Raises:
        StoreError: if Arrow cannot read them as commit records.
    """
    records = pa.array(["{}"] if not len(texts) else texts, pa.string())
    block = max(BLOCK, pc.max(pc.binary_length(records)).as_py() + 1)  # a record lies in one block or spans two
    joined = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(records)], pa.int32()), records), "\n")
    try:
        table = pyarrow.json.read_json(
            pa.BufferReader(joined[0].as_buffer()),
            read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=block),
            parse_options=pyarrow.json.ParseOptions(explicit_schema=SCHEMA, unexpected_field_behavior="infer"),
        ).flatten()
    except pa.ArrowInvalid as error:
        raise StoreError(f"commit records cannot be read as columns: {error}") from error
    known = [name for name in table.schema.names if name in SCHEMA.names or name.split(".", 1)[0] in PARTS]
    table = table.select(known).slice(0, len(texts)).combine_chunks()
    if table["source.path"].equals(table["path"]):
        table = table.drop_columns(["source.path"])
    for name in REPEATED:
        table = _replaced(table, name, table[name].dictionary_encode())
    labels = table["labels"].combine_chunks()
    labels = labels.chunk(0) if isinstance(labels, pa.ChunkedArray) else labels
    encoded = labels.flatten().dictionary_encode()
    counts = pc.fill_null(pc.list_value_length(labels), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    missing = labels.is_null() if labels.null_count else None
    return _replaced(table, "labels", pa.ListArray.from_arrays(offsets, encoded, mask=missing))


def join_columns(tables: Sequence[pa.Table]) -> pa.Table:
    """Concatenate the rows of several tables of `to_columns`."""
    paths = any("source.path" in table.schema.names for table in tables)
    tables = [
        table.append_column("source.path", table["path"])
        if paths and "source.path" not in table.schema.names
        else table
        for table in tables
    ]
    return pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()


def _replaced(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, values)


def _write(sink: Any, table: pa.Table) -> None:
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=SENT)


def write_columns(path: Path, table: pa.Table) -> None:
    """Write a table of `join_columns` as a file that `map_columns` maps."""
    with pa.OSFile(str(path), "wb") as sink:
        _write(sink, table)


def map_columns(path: Path) -> CatalogRows:
    """Map a file of `write_columns` into memory; only pages in use are read, and processes share them.

    Raises:
        OSError: if there is no such file.
        pyarrow.ArrowInvalid: if it is damaged.
    """
    return CatalogRows(pa.ipc.open_file(pa.memory_map(str(path))).read_all(), None, (path, 0))


def _reopened(path: Path, first: int, count: int, index_R: np.ndarray | None) -> CatalogRows:
    try:
        whole = map_columns(path)
    except OSError as error:
        raise StoreError(
            f"the catalog's columns at {str(path)!r} were removed meanwhile: run the command again"
        ) from error
    part = whole.part(first, first + count)
    return part if index_R is None else part.select(index_R)


def _received(content: bytes) -> CatalogRows:
    return CatalogRows(pa.ipc.open_file(pa.BufferReader(content)).read_all())
