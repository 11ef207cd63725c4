"""When a session began, as its file says, on any machine alike."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from pynwb import NWBFile

from foundation.common.errors import SourceError
from ingest.nwb.file.builder_repair import NO_DATE
from ingest.nwb.nwb_texts import plain_text


def session_start(nwb: NWBFile) -> datetime | None:
    """Return the session's start, without a time zone where the file gives none; None if it gives no start.

    pynwb adds the time zone of the machine that reads, so the file's own text is looked at.
    """
    start: datetime | None = nwb.session_start_time
    text = _text(nwb)
    if not text:
        return start
    if text == NO_DATE:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # pynwb understood it otherwise; the name of a time zone means its machine's own
        stated = re.search(r"[+-]\d{2}:?\d{2}$|Z$", text, re.IGNORECASE)
        return start if start is None or stated else start.replace(tzinfo=None)


def unix_time(nwb: NWBFile) -> float:
    """Return the session's start in seconds since 1970.

    Raises:
        SourceError: if the file gives no start, or one without a time zone.
    """
    start = session_start(nwb)
    if start is None or start.tzinfo is None:
        raise SourceError(
            f"session_start_time is {start}: expected a time with its offset from UTC for times since 1970; "
            "give spike_times.offset in the recipe instead"
        )
    return (start - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()


def _text(nwb: NWBFile) -> str:
    """What the file says, before pynwb; '' for a file that was not read from anywhere."""
    manager: Any = getattr(nwb.read_io, "manager", None)
    builder = None if manager is None else manager.get_builder(nwb)
    dataset = None if builder is None else builder.get("session_start_time")
    return "" if dataset is None else plain_text(dataset.data)
