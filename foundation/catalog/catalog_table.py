"""The catalog as text."""

from __future__ import annotations

from collections.abc import Iterable

from foundation.common.output.pages import text_table
from foundation.common.output.printable import count
from foundation.store.catalog_row import CatalogRow
from foundation.store.session import join_sessions


def catalog_table(rows: Iterable[CatalogRow]) -> str:
    """Return a line per recording, and the totals.

    A column ``part`` appears if a session is spread over several recordings; ``dropped`` if units were dropped.

    Example:
        >>> row = CatalogRow("f00d", subject="m", session="s", path="a.nwb", n_units=3, n_spikes=1200,
        ...                  duration=1800.0, control={"units_dropped": 2})
        >>> print(catalog_table([row]))
        id    subject  session  kind    units  dropped  spikes  hours  labels
        f00d  m        s        spikes  3      2        1,200   0.50   -
        1 recording of 1 subject, 3 units, 2 units dropped
    """
    records = list(rows)
    sessions = join_sessions(records)
    part = {r.id: f"{k + 1} of {len(s.records)}" for s in sessions for k, r in enumerate(s.records)}
    dropped = {record.id: record.units_dropped for record in records}
    several = len(sessions) < len(records)
    columns: dict[str, list[str]] = {
        "id": [r.id for r in records],
        "subject": [r.subject for r in records],
        "session": [r.session for r in records],
        **({"part": [part[r.id] for r in records]} if several else {}),
        "kind": [r.kind for r in records],
        "units": [f"{r.n_units:,}" for r in records],
        **({"dropped": [f"{dropped[r.id]:,}" for r in records]} if any(dropped.values()) else {}),
        "spikes": [f"{r.n_spikes:,}" for r in records],
        "hours": [f"{r.duration / 3600:.2f}" for r in records],
        "labels": [", ".join(r.labels) or "-" for r in records],
    }
    table = text_table([tuple(columns), *zip(*columns.values(), strict=True)])
    subjects = len({record.subject for record in records})
    total = f"{count(len(records), 'recording')} of {count(subjects, 'subject')}"
    if several:
        total += f", {count(len(sessions), 'session')}"
    total += f", {count(sum(record.n_units for record in records), 'unit')}"
    if any(dropped.values()):
        total += f", {count(sum(dropped.values()), 'unit')} dropped"
    return f"{table}\n{total}"
