"""Which versions of NWB are read."""

from __future__ import annotations

import re
from typing import Any

import h5py

from foundation.common.errors import SourceError
from ingest.nwb.nwb_texts import plain_text, single_text


def refuse_other_versions(version: Any) -> None:
    """Refuse whatever is not NWB 2.

    Args:
        version: what a file says of its version, for example ``2.6.0`` or ``NWB-1.0.5``; None if it says nothing.

    Raises:
        SourceError: naming the version.

    Example:
        >>> refuse_other_versions("2.0b")
        >>> refuse_other_versions("NWB-1.0.6")
        Traceback (most recent call last):
        foundation.common.errors.SourceError: is of version 'NWB-1.0.6': NWB 2 is read; NWB 1 files need ...
    """
    version = single_text(version)
    if isinstance(version, str | bytes):
        version = plain_text(version)
    if not isinstance(version, str):
        raise SourceError("is no NWB file: it does not say its nwb_version; NWB 2 is read")
    number = re.search(r"\d+", version)
    if number and int(number.group()) == 2:
        return
    if number and int(number.group()) < 2:
        raise SourceError(
            f"is of version {version!r}: NWB 2 is read; NWB 1 files need to be converted to NWB 2 first, "
            "by those who published them or with the tools that the NWB documentation names"
        )
    raise SourceError(f"is of version {version!r}: NWB 2 is read; a newer release may know it")


def version_of(file: h5py.File) -> Any:
    """What an HDF5 file says of its version: an attribute in NWB 2, a dataset in NWB 1; None if nothing."""
    if "nwb_version" in file.attrs:
        return file.attrs["nwb_version"]
    found = file.get("nwb_version")
    return found[()] if isinstance(found, h5py.Dataset) and found.shape == () else None
