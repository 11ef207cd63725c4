"""The session of a file: when it began, its name and its subject, alike on any machine."""

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


def read_subject(nwb: NWBFile, path: str, namespace: str) -> Subject:
    """Return the animal; one that the file does not name is called after the file (``sub-...``, or all of its name)."""
    stem = _stem(path)
    named = re.search(r"sub-([^_/]+)", stem)
    fallback = named.group(1) if named else stem
    subject = nwb.subject
    if subject is None:
        return Subject(fallback, namespace)
    texts = {field: plain_text(getattr(subject, field, None)) for field in ("species", "sex", "age")}
    return Subject(plain_text(subject.subject_id) or fallback, namespace, **texts)


def _stem(path: str) -> str:
    """The name of a file or a Zarr store without ``.nwb``, ``.zarr`` or both."""
    return PurePosixPath(PurePosixPath(path).name.removesuffix(".zarr")).stem


def session_name(nwb: NWBFile, path: str) -> str:
    """Return the session's name: the file's session id, or ``ses-...`` of its name, or its identifier."""
    named = re.search(r"ses-([^_/]+)", _stem(path))
    return plain_text(nwb.session_id) or (named.group(1) if named else plain_text(nwb.identifier) or _stem(path))
