"""Sessions: the recordings of one animal at one time, which may be several assets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from foundation.store.catalog_row import CatalogRow


@dataclass(frozen=True)
class Session:
    """The recordings of one session, for example one for each probe.

    Args:
        subject: the subject's key, with its namespace.
        session: the session's name.
        records: the rows of its recordings, sorted by path.
    """

    subject: str
    session: str
    records: list[CatalogRow]

    @property
    def n_units(self) -> int:
        """Number of units of all its recordings."""
        return sum(row.n_units for row in self.records)

    @property
    def ids(self) -> list[str]:
        """Ids of its recordings."""
        return [row.id for row in self.records]


def join_sessions(rows: Iterable[CatalogRow]) -> list[Session]:
    """Group rows by subject and session, in the order of their first row.

    A subject's key holds its archive and dandiset, so that animals of the same name stay separate. A recording whose
    session has no name is a session by itself.

    Example:
        >>> rows = [CatalogRow(i, subject="m", session=s, path=i, n_units=2) for i, s in zip("abc", "xyx")]
        >>> [(session.session, session.ids, session.n_units) for session in join_sessions(rows)]
        [('x', ['a', 'c'], 4), ('y', ['b'], 2)]
    """
    groups: dict[tuple[str, str, str], list[CatalogRow]] = {}
    for row in rows:
        alone = "" if row.session else row.id
        groups.setdefault((row.subject, row.session, alone), []).append(row)
    return [
        Session(subject, session, sorted(group, key=lambda row: (row.path, row.id)))
        for (subject, session, _), group in groups.items()
    ]
