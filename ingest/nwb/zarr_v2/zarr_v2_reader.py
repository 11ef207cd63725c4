"""Read a Zarr v2 store as an NWBFile: its tree and references as hdmf's builders, mapped by pynwb."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from hdmf.backends.errors import UnsupportedOperation
from hdmf.backends.io import HDMFIO
from hdmf.build import Builder, BuildManager, DatasetBuilder, GroupBuilder, LinkBuilder
from hdmf.query import BuilderResolver, ContainerResolver
from hdmf.spec import SpecReader
from pynwb import NWBFile, get_type_map
from zarr.abc.store import Store

from foundation.common.errors import SourceError
from ingest.nwb.file.builder_parts import PartManager, Unread, refuse_circle
from ingest.nwb.file.construct import constructed
from ingest.nwb.file.file_kind import refuse_other_versions
from ingest.nwb.read_log import Damage, Notes, is_damage, reason
from ingest.nwb.zarr_v2.zarr_v2_arrays import LazyArray
from ingest.nwb.zarr_v2.zarr_v2_layout import Node, read_layout

SPECIFICATIONS = ".specloc"
# Attributes used by the layout itself.
RESERVED = (SPECIFICATIONS, "zarr_dtype", "zarr_link", "_ARRAY_DIMENSIONS")
Resolve = Callable[[Any], Any]


@contextmanager
def opened_zarr(store: Store, notes: Notes) -> Iterator[NWBFile]:
    """Return the NWB file in a Zarr v2 store written by hdmf-zarr. Large arrays are read on demand.

    Args:
        store: open for reading; nothing outside it is read.
        notes: gets the unreadable parts, which are left out.

    Raises:
        SourceError: if the store is not NWB, is damaged, or has unsupported content (see docs/sources.md).
    """
    nodes = read_layout(store)
    refuse_other_versions(nodes[""].attributes.get("nwb_version"))
    with _ZarrIO(store, nodes, PartManager(_types(store, nodes, notes))) as io:
        io.read_builder()
        notes.damaged += io.lost
        yield constructed(io, io.unread, notes)


class _ZarrIO(HDMFIO):
    """hdmf's view of the store: a tree of builders, created once."""

    def __init__(self, store: Store, nodes: dict[str, Node], manager: BuildManager) -> None:
        self._store, self._nodes = store, nodes
        self._builders: dict[str, Any] = {}
        self.unread: list[Unread] = []
        self.lost: list[Damage] = []
        super().__init__(manager=manager, source="zarr")

    def read_builder(self) -> GroupBuilder:
        if not self._builders:
            self._build()
        return self._builders[""]

    def _build(self) -> None:
        specifications = self._nodes[""].attributes.get(SPECIFICATIONS)
        kept = {
            path: node
            for path, node in self._nodes.items()
            if not isinstance(specifications, str) or f"{path}/".find(f"{specifications.strip('/')}/") != 0
        }
        # Parents sort before children, and all objects exist before the first reference is resolved.
        for path in sorted(kept):
            if path and path.rpartition("/")[0] not in self._builders:
                self._lose(path, kept[path])
                continue
            parent = self._builders.get(path.rpartition("/")[0])
            self._fenced(path, parent, lambda path=path: self._add(path, kept[path]))  # type: ignore[misc]
        for path, node in kept.items():
            builder = self._builders.get(path)
            if builder is None:
                continue
            for name, value in node.attributes.items():
                if name not in RESERVED and value is not None:
                    self._fenced(
                        f"{path}@{name}",
                        builder,
                        lambda b=builder, n=name, v=value: b.set_attribute(n, self._attribute(v)),  # type: ignore[misc]
                    )
            for link in node.attributes.get("zarr_link") or []:
                target = link.get("name") if isinstance(link, dict) else None
                self._fenced(
                    f"{path}/{target}",
                    builder,
                    lambda p=path, b=builder, one=link: self._link(p, b, one),  # type: ignore[misc]
                )

    def _lose(self, path: str, node: Node) -> None:
        """Record the content of an unreadable group."""
        self.lost.append(Damage(path, str(node.attributes.get("neurodata_type", ""))))

    def _fenced(self, path: str, holder: Any, read: Callable[[], None]) -> None:
        """Read one object, or record its damage."""
        try:
            read()
        except Exception as error:  # damage can raise any error in any layer
            if holder is None or not is_damage(error):
                raise
            self.unread.append(Unread(path, reason(error).removeprefix(f"{path}: "), holder))

    def _add(self, path: str, node: Node) -> None:
        if node.damage:
            raise SourceError(node.damage)
        parent_path, _, name = path.rpartition("/")
        builder: GroupBuilder | DatasetBuilder
        builder = self._dataset(path, node) if node.array else GroupBuilder(name=name or "root", source=self.source)
        builder.location = f"/{parent_path}"
        if path:
            parent = self._builders[parent_path]
            (parent.set_dataset if node.array else parent.set_group)(builder)
        self._builders[path] = builder

    def _dataset(self, path: str, node: Node) -> DatasetBuilder:
        assert node.array is not None
        array: Any = LazyArray(self._store, path, node.array)
        kind = node.attributes.get("zarr_dtype")
        data: Any = array
        dtype: Any = array.dtype
        if kind == "object" or (isinstance(kind, list) and array.dtype == object):
            data = BuilderReferences(array, self._target, self._container)
            dtype = kind
        elif kind == "scalar":
            if array.size != 1:
                raise SourceError(f"a single value of shape {array.shape}")
            data = np.asarray(array[...]).reshape(-1)[0]
        elif array.dtype == object and "neurodata_type" not in node.attributes:
            data = array[...].tolist()
        return DatasetBuilder(
            name=path.rpartition("/")[2], data=data, dtype=dtype, maxshape=node.array.shape, source=self.source
        )

    def _attribute(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if not is_reference(value.get("value")):
            raise SourceError("neither a value nor a reference")
        return self._target(value["value"])

    def _link(self, path: str, builder: Any, link: Any) -> None:
        if not is_reference(link) or not isinstance(link.get("name"), str) or not isinstance(builder, GroupBuilder):
            raise SourceError("a link without a name or a target")
        target = self._target(link)
        refuse_circle(target, builder)
        made = LinkBuilder(builder=target, name=link["name"], source=self.source)
        made.location = f"/{path}"
        builder.set_link(made)

    def _target(self, reference: Any) -> Any:
        return find_target(reference, self._builders, self._nodes[""].attributes.get("object_id"))

    def _container(self, reference: Any) -> Any:
        return self.manager.construct(self._target(reference))

    def open(self) -> None:
        """Do nothing: the store is open."""

    def close(self) -> None:
        """Do nothing: the caller closes the store."""

    def write_builder(self, **kwargs: Any) -> None:
        raise UnsupportedOperation("Zarr NWB files are read-only")

    @staticmethod
    def can_read(path: str) -> bool:
        return False

    @classmethod
    def load_namespaces(cls, *args: Any, **kwargs: Any) -> dict:
        raise UnsupportedOperation("namespaces are loaded before the file is read")

    def load_namespaces_io(self, *args: Any, **kwargs: Any) -> dict:
        raise UnsupportedOperation("namespaces are loaded before the file is read")


class _Specifications(SpecReader):
    """One namespace cached in the store as JSON texts, read only from the store's arrays."""

    def __init__(self, store: Store, nodes: dict[str, Node], path: str) -> None:
        self._store, self._nodes, self._path = store, nodes, path
        super().__init__(source=f"zarr:{path}")

    def read_spec(self, spec_path: str) -> Any:
        node = self._nodes.get(f"{self._path}/{spec_path}")
        if node is None or node.array is None:
            raise SourceError(f"{self._path} names {spec_path[:200]!r}, which the store does not hold")
        array = LazyArray(self._store, f"{self._path}/{spec_path}", node.array)
        return json.loads(np.asarray(array[...]).reshape(-1)[0])

    def read_namespace(self, namespace_path: str) -> Any:
        return self.read_spec(namespace_path)["namespaces"]


def _types(store: Store, nodes: dict[str, Node], notes: Notes) -> Any:
    """Load the types of NWB and of the extensions defined in the store."""
    types = get_type_map()
    try:
        _load_namespaces(store, nodes, types)
    except Exception as error:  # damage can raise any error
        if not is_damage(error):
            raise
        notes.lose("specifications", f"definitions of types that cannot be used: {reason(error)}")
        return get_type_map()
    return types


def _load_namespaces(store: Store, nodes: dict[str, Node], types: Any) -> None:
    """Register the file's own extensions with the types."""
    root = nodes[""].attributes.get(SPECIFICATIONS)
    if not isinstance(root, str):
        return
    versions: dict[str, list[str]] = {}
    for path in sorted(nodes):
        parts = path.split("/")
        if len(parts) == 3 and parts[0] == root.strip("/"):
            versions.setdefault(parts[1], []).append(parts[2])
    readers = {}
    for namespace, found in versions.items():
        named = [version for version in found if version not in ("unversioned", "None")] or found
        readers[namespace] = _Specifications(store, nodes, f"{root.strip('/')}/{namespace}/{named[-1]}")
    if readers:
        types.load_namespaces("namespace", reader=readers)


def is_reference(value: Any) -> bool:
    """Return whether a value is a reference of hdmf-zarr: an object's path and its store.

    Example:
        >>> is_reference({"source": ".", "path": "/units"}), is_reference("/units")
        (True, False)
    """
    return isinstance(value, Mapping) and "path" in value and "source" in value


def find_target(reference: Mapping[str, Any], builders: Mapping[str, Builder], store_id: str | None) -> Builder:
    """Return the object of a reference.

    Args:
        reference: ``source`` (``.`` for the store itself), ``path``, and optionally ``source_object_id``.
        builders: path -> object of the store.
        store_id: the object id of the store's root.

    Raises:
        SourceError: if the object is in another store or missing.
    """
    source, path = reference.get("source"), reference.get("path")
    stated = reference.get("source_object_id")
    # Some versions wrote the store's original path; then its id identifies this store.
    if source not in (".", None) and (stated is None or stated != store_id):
        raise SourceError(f"a link to {str(path)[:200]!r} in another store, {str(source)[:200]!r}: it is not followed")
    found = builders.get(path.strip("/")) if isinstance(path, str) else None
    if found is None:
        raise SourceError(f"a link to {str(path)[:200]!r}, which the store does not hold")
    return found


class _References(LazyArray):
    """An array of references (or records with references) that reads as the objects themselves."""

    def __init__(self, array: LazyArray, resolve: Resolve, inverse: Resolve) -> None:
        super().__init__(array.store, array.path, array.layout)
        self._resolve, self._inverse = resolve, inverse

    @property
    def dtype(self) -> Any:
        return "object"

    def __getitem__(self, key: Any) -> Any:
        found = self._read(key)
        return [self._resolved(value) for value in found] if isinstance(found, np.ndarray) else self._resolved(found)

    def _opened(self) -> Any:
        self._refuse_false_claims()
        return self._objects()

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return [self._resolved(part) if is_reference(part) else part for part in value]
        if not is_reference(value):
            raise SourceError(f"{self.path}: {str(value)[:100]!r} is not a reference")
        try:
            return self._resolve(value)
        except SourceError as error:
            raise SourceError(f"{self.path}: {error}") from error

    def invert(self) -> Any:
        """Return the same references, resolved to the other kind of object."""
        return self.get_inverse_class()(self, self._inverse, self._resolve)

    @classmethod
    def get_inverse_class(cls) -> type[_References]:
        raise NotImplementedError


class BuilderReferences(_References, BuilderResolver):
    """References resolved to builders."""

    @classmethod
    def get_inverse_class(cls) -> type[_References]:
        return ContainerReferences


class ContainerReferences(_References, ContainerResolver):
    """References resolved to containers."""

    @classmethod
    def get_inverse_class(cls) -> type[_References]:
        return BuilderReferences
