"""Write NWB files atomically, with equal bytes for equal content."""

from __future__ import annotations

import uuid
from pathlib import Path

import h5py
from pynwb import NWBHDF5IO, NWBFile

from foundation.common.errors import SourceError
from foundation.common.files.locks import whole_file


def write_nwb(path: Path, nwb: NWBFile) -> None:
    """Write a file with object ids derived from their place.

    Args:
        path: of the file, replaced if it exists.
        nwb: the content.

    Raises:
        SourceError: if the file cannot be written.
    """
    fix_object_ids(nwb)
    try:
        # The file is locked already, by its writer; HDF5 would try to lock it once more.
        with (
            whole_file(path) as part,
            h5py.File(part, "w", locking=False) as file,
            NWBHDF5IO(file=file, mode="w") as io,
        ):
            io.write(nwb)
    except OSError as error:
        raise SourceError(f"cannot write {str(path)!r}: {error.strerror or error}") from error


def fix_object_ids(nwb: NWBFile) -> None:
    """Set every object's id from its place in the file; hdmf draws random ones and offers no setter."""
    for item in [nwb, *nwb.all_children()]:
        place = [item.name]
        parent = item.parent
        while parent is not None:
            place.append(parent.name)
            parent = parent.parent
        item._AbstractContainer__object_id = str(uuid.uuid5(uuid.NAMESPACE_OID, "/".join([nwb.identifier, *place])))
