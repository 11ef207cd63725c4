"""The session of a file: start, name and subject, independent of the machine's time zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from pynwb import NWBFile

from foundation.common.errors import SourceError
from foundation.store import Subject
from ingest.nwb.file.builder_repair import NO_DATE
from ingest.nwb.nwb_texts import plain_text


def session_start(nwb: NWBFile) -> datetime | None:
    """Return the session's start, naive if the file states no time zone; None without a start.

    pynwb adds the reading machine's time zone, so this parses the file's own text.
    """
    start: datetime | None = nwb.session_start_time
    text = _text(nwb)
    if not text:
        return start
    if text == NO_DATE:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # pynwb parsed it differently; a named time zone means the writing machine's
        stated = re.search(r"[+-]\d{2}:?\d{2}$|Z$", text, re.IGNORECASE)
        return start if start is None or stated else start.replace(tzinfo=None)


def unix_time(nwb: NWBFile) -> float:
    """Return the session's start in seconds since 1970.

    Raises:
        SourceError: if the file has no start, or one without a time zone.
    """
    start = session_start(nwb)
    if start is None or start.tzinfo is None:
        raise SourceError(
            f"session_start_time is {start}: expected a time with its offset from UTC for times since 1970; "
            "give spike_times.offset in the recipe instead"
        )
    return (start - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()


def _text(nwb: NWBFile) -> str:
    """Return the file's own text of the start; '' for a file in memory."""
    manager: Any = getattr(nwb.read_io, "manager", None)
    builder = None if manager is None else manager.get_builder(nwb)
    dataset = None if builder is None else builder.get("session_start_time")
    return "" if dataset is None else plain_text(dataset.data)


def read_subject(nwb: NWBFile, path: str, namespace: str) -> Subject:
    """Return the animal; if the file does not name it, it is named after the file (``sub-...``, or all of its name)."""
    stem = _stem(path)
    named = re.search(r"sub-([^_/]+)", stem)
    fallback = named.group(1) if named else stem
    subject = nwb.subject
    if subject is None:
        return Subject(fallback, namespace)
    texts = {field: plain_text(getattr(subject, field, None)) for field in ("species", "sex", "age")}
    return Subject(plain_text(subject.subject_id) or fallback, namespace, **texts)


def _stem(path: str) -> str:
    """Return the name of a file or a Zarr store without ``.nwb``, ``.zarr`` or both."""
    return PurePosixPath(PurePosixPath(path).name.removesuffix(".zarr")).stem


def session_name(nwb: NWBFile, path: str) -> str:
    """Return the session's name: the file's session id, or ``ses-...`` from its name, or its identifier."""
    named = re.search(r"ses-([^_/]+)", _stem(path))
    return plain_text(nwb.session_id) or (named.group(1) if named else plain_text(nwb.identifier) or _stem(path))
