"""The catalog: one row per committed recording, read from a snapshot that needs no listing of the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from foundation.store.snapshot import SNAPSHOT, gather, order, read_snapshot, refresh, to_parquet
from foundation.store.storage import Store
from foundation.store.stored import StoredRecording


class Catalog:
    """The committed recordings of a store.

    Args:
        store: the store.
        records: the commit records of the recordings that count, sorted by subject, session and id.
        superseded: those of recordings that another one of the same asset has replaced.
    """

    def __init__(self, store: Store, records: list[dict[str, Any]], superseded: Sequence[dict[str, Any]] = ()) -> None:
        self.store = store
        self.records = sorted(records, key=order)
        self.superseded = list(superseded)

    @classmethod
    def open(cls, store: Store) -> Catalog:
        """The snapshot if there is one, otherwise what the commit records say."""
        found = read_snapshot(store)
        return cls.build(store) if found is None else cls(store, *found)

    @classmethod
    def build(cls, store: Store) -> Catalog:
        """Read every commit record; a recording that another one of its asset has replaced is left out."""
        return cls(store, *gather(store))

    @classmethod
    def refresh(cls, store: Store, full: bool = False) -> Catalog:
        """Bring the snapshot up to date and return what it says. Only commits that are new to it are read.

        Runs that do so at the same time do not lose each other's recordings.

        Args:
            store: the store.
            full: read every commit record again.
        """
        return cls(store, *refresh(store, full))

    def save(self) -> None:
        """Write the snapshot, unless another run has written one meanwhile: then bring that up to date."""
        version = self.store.version(SNAPSHOT)
        if not self.store.swap(SNAPSHOT, to_parquet(self.records, self.superseded), version):
            refresh(self.store)

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
