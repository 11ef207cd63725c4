"""Sessions: what was recorded from one animal at one time, even where it is spread over several assets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Session:
    """The recordings of one session, for example one for each probe.

    Args:
        subject: the subject's key, with its namespace.
        session: the session's name.
        records: the commit records of its recordings, sorted by path.
    """

    subject: str
    session: str
    records: list[dict[str, Any]]

    @property
    def n_units(self) -> int:
        """Units of all its recordings."""
        return sum(int(record["n_units"]) for record in self.records)

    @property
    def ids(self) -> list[str]:
        """Ids of its recordings."""
        return [record["id"] for record in self.records]


def join_sessions(records: list[dict[str, Any]]) -> list[Session]:
    """Group records by subject and session, in the order of their first record.

    A subject's key holds its archive and dandiset, so that animals of the same name do not meet. A recording whose
    session has no name stays alone.

    Example:
        >>> records = [{"id": i, "subject": "m", "session": s, "path": i, "n_units": 2} for i, s in zip("abc", "xyx")]
        >>> [(session.session, session.ids, session.n_units) for session in join_sessions(records)]
        [('x', ['a', 'c'], 4), ('y', ['b'], 2)]
    """
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for record in records:
        alone = "" if record["session"] else record["id"]
        groups.setdefault((record["subject"], record["session"], alone), []).append(record)
    return [
        Session(subject, session, sorted(group, key=lambda r: (r["path"], r["id"])))
        for (subject, session, _), group in groups.items()
    ]
