"""The catalog: one row per committed recording, read from a snapshot that needs no listing of the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from foundation.common.errors import StoreError
from foundation.store.catalog_row import CatalogRow, CatalogRows
from foundation.store.commit.membership import versions_column
from foundation.store.commit.snapshot import gather, open_snapshot, refresh
from foundation.store.query import matching
from foundation.store.session import Session, join_sessions
from foundation.store.storage import Store
from foundation.store.stored import StoredRecording


class Catalog:
    """The committed recordings of a store.

    Args:
        store: the store.
        records: rows of the current recordings, sorted by subject, session and id.
        superseded: rows of recordings that a newer recording of the same asset replaced, and of recordings that were
    retired because their dandiset's version no longer holds them.
        whole: True if the rows cover the whole store; a selection is never saved as the store's catalog.
    """

    def __init__(
        self,
        store: Store,
        records: CatalogRows | Sequence[CatalogRow],
        superseded: CatalogRows | Sequence[CatalogRow] = (),
        whole: bool = True,
    ) -> None:
        self.store, self.whole = store, whole
        self.records, self.superseded = _as_rows(records), _as_rows(superseded)

    @classmethod
    def open(cls, store: Store) -> Catalog:
        """Return the snapshot's catalog if there is a snapshot, otherwise that of the commit records."""
        found = open_snapshot(store)
        return cls.build(store) if found is None else cls(store, *found)

    @classmethod
    def build(cls, store: Store) -> Catalog:
        """Read every commit record; leave out recordings that a newer recording of their asset replaced."""
        current, superseded = gather(store)
        return cls(store, CatalogRows.of_records(current), CatalogRows.of_records(superseded))

    @classmethod
    def refresh(cls, store: Store, full: bool = False) -> Catalog:
        """Bring the snapshot up to date and return its catalog. Only commits that the snapshot lacks are read.

        Several runs can refresh at the same time without losing recordings.

        Args:
            store: the store.
            full: read every commit record again.
        """
        current, superseded = refresh(store, full)
        return cls(store, CatalogRows.of_records(current), CatalogRows.of_records(superseded))

    def save(self) -> None:
        """Rewrite the snapshot from the commit records.

        Raises:
            StoreError: if this catalog is a selection (see `where`).
        """
        if not self.whole:
            raise StoreError(f"cannot save a selection of {len(self)} recordings as the catalog of {self.store.name!r}")
        refresh(self.store, full=True)

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[StoredRecording]:
        for row in self.records:
            yield StoredRecording(self.store, row)

    @property
    def ids(self) -> list[str]:
        """Ids of the recordings, in order."""
        return self.records.ids

    def where(self, expression: str) -> Catalog:
        """Return the recordings for which an expression is true; see `foundation.store.query.matching`.

        Raises:
            ConfigError: if the expression is invalid.
        """
        return self.select(self.matches(expression))

    def matches(self, expression: str) -> np.ndarray:
        """Return ``(R,)`` True for each recording for which an expression is true.

        Raises:
            ConfigError: if the expression is invalid.
        """
        return matching(self.records, expression, lambda: versions_column(self.store, self.records))

    def select(self, chosen: np.ndarray | Sequence[str]) -> Catalog:
        """Return some of the recordings, in the catalog's order.

        Args:
            chosen: ``(R,)`` bool, places, or ids.

        Raises:
            StoreError: if the catalog has no recording of a given id.
        """
        if not isinstance(chosen, np.ndarray):
            names = list(chosen)
            chosen = self.records.places(names)
            if (chosen < 0).any():
                missing = names[int(np.argmin(chosen))]
                raise StoreError(f"no recording {missing!r} in {self.store.name!r}: `foundation catalog` lists them")
        places = chosen if chosen.dtype == bool else np.unique(chosen)
        return Catalog(self.store, self.records.select(places), whole=False)

    def sessions(self) -> list[Session]:
        """Return the recordings joined by subject and session: several probes, or several assets, of one session."""
        return join_sessions(self.records)


def _as_rows(rows: CatalogRows | Sequence[CatalogRow]) -> CatalogRows:
    """Return rows as columns, in the catalog's order."""
    if isinstance(rows, CatalogRows):
        return rows
    return CatalogRows.of(sorted(rows, key=lambda row: (row.subject, row.session, row.id)))
