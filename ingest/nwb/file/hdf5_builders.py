"""Build hdmf's tree of an HDF5 file object by object, so that an unreadable one does not affect the others."""

from __future__ import annotations

import posixpath
from typing import Any

import h5py
import numpy as np
from hdmf.backends.hdf5.h5_utils import BuilderH5ReferenceDataset, BuilderH5TableDataset
from hdmf.build import BuildManager, DatasetBuilder, GroupBuilder, LinkBuilder, ReferenceBuilder
from hdmf.utils import StrDataset
from pynwb import NWBHDF5IO

from foundation.common.errors import SourceError
from ingest.nwb.file.builder_parts import Unread, refuse_circle
from ingest.nwb.file.hdf5_safety import resolve, why_not_followed, why_not_opened
from ingest.nwb.read_log import Notes, is_damage, reason

SPECIFICATIONS = ".specloc"
REMOVED = "a reference to an object that was removed or is damaged"


class Hdf5Builders(NWBHDF5IO):
    """hdmf's view of an open HDF5 file.

    hdmf itself reads all objects or none, and follows links into other files. This reader skips unreadable objects and
    never opens another file.

    Args:
        file: the open file.
        manager: constructs containers from builders.
        notes: counts ``texts_not_utf8``, texts with lost characters.

    Attributes:
        unread: the unreadable parts.
    """

    def __init__(self, file: h5py.File, manager: BuildManager, notes: Notes) -> None:
        self.unread: list[Unread] = []
        self._notes = notes
        self._built: dict[Any, GroupBuilder | DatasetBuilder] = {}
        super().__init__(file=file, mode="r", manager=manager)

    def read_builder(self) -> GroupBuilder:
        """Return the builder of the file's root, with all others below it."""
        root = self._file["/"]
        if root.id not in self._built:
            place = self._file.attrs.get(SPECIFICATIONS)
            specifications = self._file[place].id if isinstance(place, h5py.Reference) and place else None
            self._group(root, "root", None, specifications)
        builder = self._built[root.id]
        assert isinstance(builder, GroupBuilder)
        return builder

    def get_builder(self, h5obj: h5py.Group | h5py.Dataset) -> GroupBuilder | DatasetBuilder:
        """Return the builder of an object of the file.

        Raises:
            SourceError: if the object was left out.
        """
        if h5obj.name is None:
            raise SourceError(REMOVED)
        if h5obj.id not in self._built:
            raise SourceError(f"a reference to {h5obj.name}, which was left out")
        return self._built[h5obj.id]

    def _group(self, group: h5py.Group, name: str, parent: GroupBuilder | None, without: Any = None) -> GroupBuilder:
        builder = GroupBuilder(name, parent=parent, source=self.source)
        builder.location = posixpath.dirname(group.name)
        self._built[group.id] = builder  # before its members, which may refer to it
        self._attributes(group, builder)
        for member in group:
            try:
                self._member(group, member, builder, without)
            except Exception as error:  # damage can raise any error in any layer
                if not is_damage(error):
                    raise
                path = posixpath.join(group.name, member)
                self.unread.append(Unread(path.strip("/"), reason(error), builder))
        return builder

    def _member(self, group: h5py.Group, name: str, parent: GroupBuilder, without: Any) -> None:
        raw = name.encode("utf-8", "surrogateescape")
        if why := why_not_followed(group.id, raw):
            raise SourceError(why)
        linked = group.id.links.get_info(raw).type == h5py.h5l.TYPE_SOFT
        item = resolve(group, group.get(name, getlink=True).path) if linked else group[name]
        if item.id == without:
            return
        builder = self._object(item, None if linked else parent)
        refuse_circle(builder, parent)
        if linked:
            made = LinkBuilder(builder=builder, name=name, source=self.source)
            made.location = group.name
            parent.set_link(made)
        elif isinstance(builder, GroupBuilder):
            parent.set_group(builder)
        else:
            parent.set_dataset(builder)

    def _object(self, item: Any, parent: GroupBuilder | None = None) -> GroupBuilder | DatasetBuilder:
        """Return the builder of an object, created once for all its names."""
        if item.name is None:
            raise SourceError(REMOVED)
        if item.id not in self._built:
            name = posixpath.basename(item.name)
            if isinstance(item, h5py.Group):
                return self._group(item, name, parent)
            if not isinstance(item, h5py.Dataset):
                raise SourceError(f"neither a group nor a dataset but a {type(item).__name__}")
            self._dataset(item, name)
        return self._built[item.id]

    def _dataset(self, dataset: h5py.Dataset, name: str) -> None:
        if why := why_not_opened(dataset.id):
            raise SourceError(why)
        data, dtype = self._data(dataset)
        builder = DatasetBuilder(name, data=data, dtype=dtype, maxshape=dataset.maxshape, source=self.source)
        builder.location = posixpath.dirname(dataset.name)
        self._attributes(dataset, builder)
        self._built[dataset.id] = builder

    def _data(self, dataset: h5py.Dataset) -> tuple[Any, Any]:
        """Return a dataset's values for hdmf and their type: a single value is read, an array stays in the file."""
        kind, shape = dataset.dtype.kind, dataset.shape
        if shape is None:  # no dimensions and no value
            return None, dataset.dtype
        if kind == "V":
            fields = [dataset.dtype[n] for n in range(len(dataset.dtype))]
            kinds = [h5py.check_dtype(ref=field) or h5py.check_dtype(vlen=field) for field in fields]
            table = BuilderH5TableDataset(dataset, self, kinds)
            types = [{"name": f, "dtype": t} for f, t in zip(dataset.dtype.names, table.dtype, strict=True)]
            return (np.array(dataset[()], dtype=dataset.dtype) if shape == () else table), types
        if shape == ():
            value = dataset[()]
            if isinstance(value, h5py.Reference):
                reference = ReferenceBuilder(self._object(_target(dataset.file, value)))
                return reference, reference.dtype
            return self._text(value), dataset.dtype
        if kind == "O" and len(dataset):
            first = dataset[(0,) * dataset.ndim]
            if isinstance(first, h5py.Reference):
                references = BuilderH5ReferenceDataset(dataset, self)
                return references, references.dtype
            if not isinstance(first, str | bytes):
                return None, dataset.dtype
            if (dataset.dtype.metadata or {}).get("vlen") is str:
                return StrDataset(dataset, None), dataset.dtype
        return dataset, dataset.dtype

    def _attributes(self, item: Any, builder: GroupBuilder | DatasetBuilder) -> None:
        for name in item.attrs:
            if name == SPECIFICATIONS:
                continue
            try:
                value = item.attrs[name]
                if isinstance(value, h5py.Reference):
                    value = self._object(_target(item.file, value))
                builder.set_attribute(name, self._text(value))
            except Exception as error:  # as above
                if not is_damage(error):
                    raise
                self.unread.append(Unread(f"{item.name.strip('/')}@{name}", reason(error), builder))

    def _text(self, value: Any) -> Any:
        """Return a text without bytes that are not UTF-8; any other value unchanged."""
        if not isinstance(value, bytes | str):
            return value
        raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        text = raw.decode("utf-8", "replace")
        self._notes["texts_not_utf8"] += text.encode() != raw
        return text


def _target(file: h5py.File, reference: h5py.Reference) -> h5py.Group | h5py.Dataset:
    """Return the object of a reference.

    Raises:
        SourceError: if its place in the file holds no object.
    """
    try:
        return file[reference]
    except KeyError as error:
        raise SourceError(REMOVED) from error
