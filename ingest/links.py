"""Links of an HDF5 file that would lead a reader out of it."""

from __future__ import annotations

import math

import h5py

from foundation.errors import SourceError
from ingest.arrays import refuse_false_claims

# A single value is read as soon as a file is opened, so its size is looked at before.
LARGEST_VALUE = 1 << 24


def refuse_outside_links(file: h5py.File) -> None:
    """Refuse a file that would have other files opened: nothing outside is ever read.

    Looked for are external links, links of unknown kinds, datasets whose bytes lie in other files, and virtual datasets
    over other files, wherever they lie in the file. Soft links are left alone, as they stay inside the file; so are the
    names of image files (``ImageSeries.external_file``), which are texts that are never opened.

    Args:
        file: an open HDF5 file. Nothing is followed and no data is read.

    Raises:
        SourceError: naming the link and where it leads; also for a single value of absurd size, and for lists of texts
            that the file cannot hold, as these are read while a file is opened.
    """
    # Addresses come from the links: `h5o.get_info` would read every dataset's whole index of chunks.
    seen: set[int] = set()
    pending: list[tuple[str, h5py.h5g.GroupID]] = [("", h5py.h5g.open(file.id, b"/"))]
    while pending:
        path, group = pending.pop()
        for name in group:
            here = f"{path}/{name.decode('utf-8', 'replace')}"
            link = group.links.get_info(name)
            if link.type == h5py.h5l.TYPE_EXTERNAL:
                target, inside = group.links.get_val(name)
                raise SourceError(_refusal(here, "a link", f"{_text(inside)} of {_text(target)!r}"))
            if link.type == h5py.h5l.TYPE_SOFT:
                continue
            if link.type != h5py.h5l.TYPE_HARD:
                raise SourceError(
                    f"{here} is a link of an unknown kind ({link.type}): allowed are links inside the file"
                )
            if link.u in seen:
                continue
            seen.add(link.u)
            item = h5py.h5o.open(group, name)
            if isinstance(item, h5py.h5g.GroupID):
                pending.append((here, item))
            elif isinstance(item, h5py.h5d.DatasetID):
                _check_dataset(here, item)


def _check_dataset(path: str, dataset: h5py.h5d.DatasetID) -> None:
    properties = dataset.get_create_plist()
    if properties.get_external_count():
        raise SourceError(_refusal(path, "a dataset with its bytes", repr(_text(properties.get_external(0)[0]))))
    if properties.get_layout() == h5py.h5d.VIRTUAL:
        for n in range(properties.get_virtual_count()):
            if (target := _text(properties.get_virtual_filename(n))) != ".":
                raise SourceError(_refusal(path, "a view", repr(target)))
    if dataset.get_space().get_simple_extent_type() == h5py.h5s.SCALAR or not math.prod(dataset.shape):
        size = dataset.get_type().get_size()
        if size > LARGEST_VALUE:
            raise SourceError(f"{path} is a single value of {size} bytes: allowed are {LARGEST_VALUE}")
    elif dataset.get_type().get_class() in (h5py.h5t.STRING, h5py.h5t.VLEN, h5py.h5t.REFERENCE):
        # Lists of texts and references may be read while a file is opened; numbers are looked at when they are read.
        refuse_false_claims(h5py.Dataset(dataset), path)


def _refusal(path: str, kind: str, target: str) -> str:
    return (
        f"{path} is {kind} outside the file, in {target}: files are read alone; put its content into this file "
        "(pynwb: export), or remove the link"
    )


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
