"""The catalog: one row per committed recording, read from a snapshot that needs no listing of the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from foundation.common.errors import StoreError
from foundation.store.commit.membership import add_versions
from foundation.store.commit.snapshot import SNAPSHOT, gather, order, read_snapshot, refresh, to_parquet
from foundation.store.query import matching
from foundation.store.session import Session, join_sessions
from foundation.store.storage import Store
from foundation.store.stored import StoredRecording


class Catalog:
    """The committed recordings of a store.

    Args:
        store: the store.
        records: the commit records of the recordings that count, sorted by subject, session and id.
        superseded: those of recordings that another one of the same asset has replaced, and of those that were
            retired because their version holds them no longer.
        whole: whether these are all that the store has; a part of them is never saved as the store's catalog.
    """

    def __init__(
        self,
        store: Store,
        records: list[dict[str, Any]],
        superseded: Sequence[dict[str, Any]] = (),
        whole: bool = True,
    ) -> None:
        self.store, self.whole = store, whole
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
        """Write the snapshot, unless another run has written one meanwhile: then bring that up to date.

        Raises:
            StoreError: if these are not all recordings (see `where`).
        """
        if not self.whole:
            raise StoreError(f"these are {len(self)} recordings chosen from {self.store.name!r}: not its whole catalog")
        version = self.store.version(SNAPSHOT)
        if not self.store.swap(SNAPSHOT, to_parquet(self.records, self.superseded), version):
            refresh(self.store)

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[StoredRecording]:
        for record in self.records:
            yield StoredRecording(self.store, record)

    def where(self, expression: str) -> Catalog:
        """The recordings for which an expression is true; see `foundation.store.query.matching`.

        Raises:
            ConfigError: if the expression cannot be understood.
        """
        chosen = {record["id"] for record in matching(add_versions(self.store, self.records), expression)}
        return Catalog(self.store, [record for record in self.records if record["id"] in chosen], whole=False)

    def sessions(self) -> list[Session]:
        """The recordings joined by subject and session: several probes, or several assets, of one session."""
        return join_sessions(self.records)
