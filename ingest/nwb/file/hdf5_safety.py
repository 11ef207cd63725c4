"""Objects of an HDF5 file that a reader must not open: links out of the file, and shapes that a file cannot hold."""

from __future__ import annotations

import math

import h5py

from foundation.common.errors import SourceError
from ingest.nwb.nwb_arrays import refuse_false_claims

# Single values are read on opening a file, so their size is checked first.
LARGEST_VALUE = 1 << 24


def refuse_outside_links(top: h5py.Group) -> None:
    """Raise at the first object below a group that links out of the file or has an impossible shape.

    For groups that a library reads, such as the cached specifications. Follows no link and reads no data.

    Args:
        top: a group of an open HDF5 file.

    Raises:
        SourceError: naming the object and why it must not be opened.
    """
    seen = set()
    pending = [(top.name.rstrip("/"), top.id)]
    while pending:
        path, group = pending.pop()
        for name in group:
            here = f"{path}/{name.decode('utf-8', 'replace')}"
            if why := why_not_followed(group, name):
                raise SourceError(f"{here} is {why}")
            info = group.links.get_info(name)
            if info.type != h5py.h5l.TYPE_HARD or info.u in seen:
                continue
            seen.add(info.u)
            opened = h5py.h5o.open(group, name)
            if isinstance(opened, h5py.h5g.GroupID):
                pending.append((here, opened))
            elif isinstance(opened, h5py.h5d.DatasetID) and (why := why_not_opened(opened)):
                raise SourceError(f"{here} {why}")


def why_not_followed(group: h5py.h5g.GroupID, name: bytes) -> str | None:
    """Return why a link of a group must not be followed; None for a link inside the file.

    Soft links stay inside the file as long as no link on their way leaves it (see `resolve`). Names of image files
    (``ImageSeries.external_file``) are texts that are never opened.

    Args:
        group: an open group.
        name: name of the link.
    """
    kind = group.links.get_info(name).type
    if kind == h5py.h5l.TYPE_EXTERNAL:
        target, inside = group.links.get_val(name)
        return _outside("a link", f"{_text(inside)} of {_text(target)!r}")
    if kind not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):
        return f"a link of an unknown kind ({kind}): expected a link inside the file"
    return None


def why_not_opened(dataset: h5py.h5d.DatasetID) -> str | None:
    """Return why a dataset must not be read; None if its values are in the file and fit its shape.

    Rejects datasets with bytes in other files, virtual datasets over other files, single values of absurd size, and
    lists of texts too large for the file, as these are read on opening.

    Args:
        dataset: an open dataset. No data is read.
    """
    properties = dataset.get_create_plist()
    if properties.get_external_count():
        return f"is {_outside('a dataset with its bytes', repr(_text(properties.get_external(0)[0])))}"
    if properties.get_layout() == h5py.h5d.VIRTUAL:
        for n in range(properties.get_virtual_count()):
            if (target := _text(properties.get_virtual_filename(n))) != ".":
                return f"is {_outside('a view', repr(target))}"
    if dataset.get_space().get_simple_extent_type() == h5py.h5s.SCALAR or not math.prod(dataset.shape):
        size = dataset.get_type().get_size()
        if size > LARGEST_VALUE:
            return f"is a single value of {size} bytes: allowed are {LARGEST_VALUE}"
    elif dataset.get_type().get_class() in (h5py.h5t.STRING, h5py.h5t.VLEN, h5py.h5t.REFERENCE):
        # Lists of texts and references may be read while a file is opened; numbers are looked at when they are read.
        try:
            refuse_false_claims(h5py.Dataset(dataset), "")
        except SourceError as error:
            return str(error).strip()
    return None


def resolve(group: h5py.Group, target: str) -> h5py.Group | h5py.Dataset:
    """Resolve a soft link without leaving the file.

    Args:
        group: the link's group.
        target: the link's path, absolute or relative to the group.

    Raises:
        SourceError: if a link on the way leads out of the file, or its target is missing.
    """
    here: h5py.Group | h5py.Dataset = group.file["/"] if target.startswith("/") else group
    pending = [part for part in reversed(target.split("/")) if part not in ("", ".")]
    links = 0
    while pending:
        name = pending.pop()
        raw = name.encode("utf-8", "surrogateescape")
        if not isinstance(here, h5py.Group) or not here.id.links.exists(raw):
            raise SourceError(f"a link to {target!r}, which the file does not hold")
        if why := why_not_followed(here.id, raw):
            raise SourceError(f"a link to {target!r}, which is {why}")
        if here.id.links.get_info(raw).type == h5py.h5l.TYPE_HARD:
            here = here[name]
            continue
        links += 1
        if links > 100:
            raise SourceError(f"a link to {target!r}, which is circular")
        following = here.get(name, getlink=True).path
        if following.startswith("/"):
            here = here.file["/"]
        pending += [part for part in reversed(following.split("/")) if part not in ("", ".")]
    return here


def _outside(kind: str, target: str) -> str:
    return (
        f"{kind} outside the file, in {target}: files are read alone; put its content into this file "
        "(pynwb: export), or remove the link"
    )


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
