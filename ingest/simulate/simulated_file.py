"""The header of simulated NWB files. A fixed date makes equal settings give equal bytes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pynwb import NWBFile
from pynwb.file import Subject


def simulated_file(subject: str, session: str, start: datetime, text: str, **about: Any) -> NWBFile:
    """Return an NWB file without data, of a simulated session.

    Args:
        subject: name of the "animal".
        session: name of the session.
        start: date of recording and of writing in the file.
        text: a line on how it was made.
        about: more on the subject, as `pynwb.file.Subject` takes it.

    Example:
        >>> from datetime import UTC
        >>> start = datetime(2003, 11, 1, tzinfo=UTC)
        >>> simulated_file("net01", "izhikevich", start, "a network", species="Mus musculus").identifier
        'net01_izhikevich'
    """
    return NWBFile(
        session_description=text,
        identifier=f"{subject}_{session}",
        session_id=session,
        session_start_time=start,
        timestamps_reference_time=start,
        file_create_date=start,
        lab="simulation",
        subject=Subject(subject_id=subject, **about),
    )
