"""The catalog: one row per committed recording, read from a snapshot that needs no listing of the store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from foundation.errors import StoreError
from foundation.store.recording import Source
from foundation.store.storage import Store
from foundation.store.stored import StoredRecording, is_current

SNAPSHOT = "catalog.parquet"


class Catalog:
    """The committed recordings of a store.

    Args:
        store: the store.
        records: their commit records, sorted by subject, session and id.
    """

    def __init__(self, store: Store, records: list[dict[str, Any]]) -> None:
        self.store = store
        self.records = sorted(records, key=lambda r: (r["subject"], r["session"], r["id"]))

    @classmethod
    def open(cls, store: Store) -> Catalog:
        """The snapshot if there is one, otherwise what the commit records say."""
        path = store.path(SNAPSHOT)
        if not store.fs.exists(path):
            return cls.build(store)
        try:
            # Not from a Python file object, and in this thread: otherwise one of Arrow's threads may still hold the
            # object when the process ends, and abort it (apache/arrow 33975, 34314).
            table = pq.read_table(pa.BufferReader(store.fs.cat_file(path)), use_threads=False, pre_buffer=False)
        except (pa.ArrowInvalid, OSError) as error:
            raise StoreError(f"{path} is damaged ({error}): rebuild it with `foundation catalog --refresh`") from error
        return cls(store, [json.loads(row) for row in table.column("record").to_pylist()])

    @classmethod
    def build(cls, store: Store) -> Catalog:
        """Read every commit record; a recording that another recipe's has replaced is left out."""
        records = [store.commit(name) for name in store.commit_ids()]
        present = [record for record in records if record is not None]
        return cls(store, [record for record in present if is_current(store, record["id"], Source(**record["source"]))])

    def save(self) -> None:
        """Write the snapshot: flat columns for other tools, and each record whole."""
        flat = ("id", "subject", "species", "session", "path", "n_units", "n_spikes", "duration", "kind", "lab")
        columns: dict[str, list[Any]] = {name: [record[name] for record in self.records] for name in flat}
        columns["labels"] = [",".join(record["labels"]) for record in self.records]
        columns["record"] = [json.dumps(record, sort_keys=True) for record in self.records]
        buffer = pa.BufferOutputStream()
        pq.write_table(pa.table(columns), buffer, compression="zstd")
        self.store.write_bytes(SNAPSHOT, buffer.getvalue().to_pybytes())

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[StoredRecording]:
        for record in self.records:
            yield StoredRecording(self.store, record)

    def table(self) -> str:
        """The catalog as text, a line per recording."""
        head = ("id", "subject", "session", "kind", "units", "spikes", "hours", "labels")
        rows = [head, *(_row(record) for record in self.records)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        units = sum(record["n_units"] for record in self.records)
        subjects = len({record["subject"] for record in self.records})
        lines.append(f"{len(self.records)} recordings of {subjects} subjects, {units} units")
        return "\n".join(lines)


def _row(record: dict[str, Any]) -> tuple[str, ...]:
    return (
        record["id"],
        record["subject"],
        record["session"],
        record["kind"],
        f"{record['n_units']:,}",
        f"{record['n_spikes']:,}",
        f"{record['duration'] / 3600:.2f}",
        ", ".join(record["labels"]) or "-",
    )
