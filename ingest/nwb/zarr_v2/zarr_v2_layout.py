"""The groups and arrays of a Zarr v2 store, with checked metadata."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import fsspec
import numpy as np
from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore

from foundation.common.errors import SourceError, UnreachableError
from ingest.nwb.zarr_v2.compression import COMPRESSORS

CHUNK_BYTES = 1 << 30
METADATA_BYTES = 1 << 28
_CODE = re.compile(r"[<>|](?:[biufc](?:1|2|4|8|16)|[SUV]\d{1,9}|[mM]8(?:\[\d{0,9}\w{1,9}\])?|O)")
_PARTS = (".zgroup", ".zarray", ".zattrs")


@dataclass(frozen=True)
class ArrayLayout:
    """The metadata of an array (``.zarray``), checked.

    Args:
        shape: its shape.
        chunks: the shape of a chunk.
        dtype: of its elements; ``object`` for text, references, and records with either.
        order: ``C`` or ``F``, the order of a chunk's elements.
        fill_value: from the file.
        filters: codecs before compression.
        compressor: the codec of compression.
        separator: between the numbers of a chunk's key.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype
    order: str
    fill_value: Any
    filters: list[dict[str, Any]]
    compressor: dict[str, Any] | None
    separator: str

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of chunks along each dimension."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.chunks, strict=True))

    @property
    def chunk_items(self) -> int:
        return math.prod(self.chunks)

    @property
    def transforms(self) -> list[dict[str, Any]]:
        """The filters before any compressing one (hdmf-zarr stores HDF5's compression among the filters)."""
        packed = [k for k, codec in enumerate(self.filters) if codec["id"] in COMPRESSORS]
        return self.filters[: packed[0]] if packed else self.filters

    @property
    def packing(self) -> list[dict[str, Any]]:
        """The codecs to undo first: the compressor, then the filters from the last to the first compressing one."""
        return [*([self.compressor] if self.compressor else []), *self.filters[len(self.transforms) :][::-1]]

    def key(self, chunk: tuple[int, ...]) -> str:
        """Return the key of a chunk below its array."""
        return self.separator.join(map(str, chunk)) or "0"


@dataclass
class Node:
    """A group, an array, or an object with damaged metadata."""

    attributes: dict[str, Any] = field(default_factory=dict)
    array: ArrayLayout | None = None
    damage: str = ""


def zarr_at(path: str) -> Store | None:
    """Return the read-only Zarr store at a folder or fsspec URL; None if it is not a folder.

    For remote paths only names ending in ``.zarr`` are checked, as requests are slow.

    Raises:
        SourceError: if the path cannot be accessed.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> zarr_at(str(folder)) is None
        True
        >>> _ = (folder / ".zgroup").write_text('{"zarr_format": 2}')
        >>> zarr_at(str(folder)).read_only
        True
    """
    try:
        fs, root = fsspec.core.url_to_fs(path)
        local = "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,))
        root = root.rstrip("/")
        if not (local or root.endswith(".zarr")):
            return None
        if not any(fs.exists(f"{root}/{name}") for name in (".zgroup", ".zmetadata", "zarr.json")):
            return None
        return LocalStore(root, read_only=True) if local else FsspecStore.from_url(path, read_only=True)
    except Exception as error:  # each file system raises its own errors
        raise SourceError(f"{path}: cannot be accessed: {type(error).__name__}: {error}") from error


def digest_of_zarr(store: Store) -> str:
    """Return the sha256 over the keys of a store, sorted, each with the sha256 of its bytes."""
    digest = hashlib.sha256()
    for key in sorted(sync(_listed(store.list()))):
        content = fetch(store, key) or b""
        digest.update(json.dumps([key, hashlib.sha256(content).hexdigest()]).encode())
    return digest.hexdigest()


def fetch(store: Store, key: str) -> bytes | None:
    """Return the bytes of a key, or None."""
    return sync(fetch_async(store, key))


async def fetch_async(store: Store, key: str) -> bytes | None:
    """Return the bytes of a key, or None.

    Raises:
        SourceError: if the key is a link that leads out of a store on the local disk.
    """
    if isinstance(store, LocalStore):
        root = store.root.resolve()
        if not (root / key).resolve().is_relative_to(root):
            raise SourceError(f"{key} is a link that leads out of the store: it is not followed")
    try:
        found = await store.get(key, prototype=default_buffer_prototype())
    except Exception as error:  # each store raises its own errors
        raise UnreachableError(f"{key}: {error}") from error
    return None if found is None else found.to_bytes()


def stored_sizes(store: Store, path: str) -> dict[str, int]:
    """Return the sizes of all files below a path of a store, by relative key, without reading them."""
    return sync(_stored_sizes(store, path))


async def _stored_sizes(store: Store, path: str) -> dict[str, int]:
    if isinstance(store, LocalStore):
        folder = store.root / path
        return {
            file.relative_to(folder).as_posix(): file.stat().st_size for file in folder.rglob("*") if file.is_file()
        }
    if isinstance(store, FsspecStore):
        root = f"{store.path.rstrip('/')}/{path}"
        found = await store.fs._find(root, detail=True)
        return {name.removeprefix(root).lstrip("/"): int(info.get("size") or 0) for name, info in found.items()}
    keys = [key async for key in store.list_prefix(f"{path}/")]
    return {key.removeprefix(f"{path}/"): await store.getsize(key) for key in keys}


async def _listed(keys: AsyncIterator[str]) -> list[str]:
    return [key async for key in keys]


def read_layout(store: Store) -> dict[str, Node]:
    """Return every group and array of a store by path (``''`` is the root), from ``.zmetadata`` if present.

    Raises:
        SourceError: if the store is not a Zarr v2 group, if names lead out of it, or if its root metadata are damaged.
            An object with damaged metadata has the reason in ``damage``.
    """
    nodes: dict[str, Node] = {}
    metadata = _metadata(store)
    for key in sorted(metadata):
        path, _, part = key.rpartition("/")
        if key.encode("utf-8", "replace") != key.encode("utf-8", "surrogateescape"):
            raise SourceError(f"{key!r} is a name that is not text")
        if any(name in ("", ".", "..") or "\\" in name or "\0" in name for name in path.split("/")) and path:
            raise SourceError(f"{key!r} is a name that leads out of the store")
        value = metadata[key]
        node = nodes.setdefault(path, Node())
        if not isinstance(value, dict):
            why = value if isinstance(value, SourceError) else SourceError(f"{key} is damaged: it holds no JSON object")
            if not path:
                raise why
            node.damage = str(why)
        elif part == ".zarray":
            try:
                node.array = array_layout(path, value)
            except SourceError as error:
                node.damage = str(error)
        elif part == ".zattrs":
            node.attributes = value
    for path in [*nodes]:
        if path.rpartition("/")[0] not in nodes:
            nodes.setdefault(_first_missing(path, nodes), Node())
    for path, node in nodes.items():
        kinds = {part for part in (".zarray", ".zgroup") if f"{path}/{part}".lstrip("/") in metadata}
        if len(kinds) != 1:
            _set_damage(path, node)
        parent = path.rpartition("/")[0]
        if path and parent in nodes and nodes[parent].array is not None:
            _set_damage(parent, nodes[parent])
    return nodes


def _first_missing(path: str, nodes: dict[str, Node]) -> str:
    """Return the first group on a path from the root that the store lacks."""
    here = ""
    for name in path.split("/"):
        if here not in nodes:
            break
        here = f"{here}/{name}".lstrip("/")
    return here


def _set_damage(path: str, node: Node) -> None:
    why = f"{path or '/'} is neither an array nor a group in a group: metadata are damaged"
    if not path:
        raise SourceError(why)
    node.damage = node.damage or why


def _metadata(store: Store) -> dict[str, Any]:
    whole = _json(store, ".zmetadata")
    if whole is not None:
        metadata = whole.get("metadata")
        if not isinstance(metadata, dict):
            raise SourceError(".zmetadata is damaged: it holds no metadata")
        return {key: value for key, value in metadata.items() if key.rpartition("/")[2] in _PARTS}
    root = _json(store, ".zgroup")
    if root is None:
        version = "Zarr v3" if fetch(store, "zarr.json") is not None else "no Zarr group"
        raise SourceError(f"this is {version}: NWB assets are read in the Zarr v2 layout of hdmf-zarr")
    keys = [key for key in sync(_listed(store.list())) if key.rpartition("/")[2] in _PARTS]
    return {key: _json_or_error(store, key) for key in keys}


def _json_or_error(store: Store, key: str) -> dict[str, Any] | SourceError | None:
    """Return the JSON object of a key, or an error."""
    try:
        return _json(store, key)
    except UnreachableError:
        raise
    except SourceError as error:
        return error


def _json(store: Store, key: str) -> dict[str, Any] | None:
    content = fetch(store, key)
    if content is None:
        return None
    try:
        if len(content) > METADATA_BYTES:
            raise ValueError(f"it has {len(content)} bytes, and at most {METADATA_BYTES} are read")
        value = json.loads(content)
        if not isinstance(value, dict):
            raise ValueError("it holds no JSON object")
        if b"\\ud" in content.lower():  # a lone surrogate, invalid in texts and tables
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{key} is damaged: {error}") from error
    return value


def array_layout(path: str, meta: dict[str, Any]) -> ArrayLayout:
    """Parse and check the metadata of one array.

    Raises:
        SourceError: if a field is missing or impossible, or a chunk would not fit `CHUNK_BYTES`.

    Example:
        >>> meta = {"zarr_format": 2, "shape": [3, 5], "chunks": [2, 5], "dtype": "<f8", "order": "C",
        ...         "fill_value": 0, "filters": None, "compressor": None}
        >>> array_layout("x", meta).grid
        (2, 1)
        >>> array_layout("x", meta | {"chunks": [2, 10**9]})
        Traceback (most recent call last):
        ...
        foundation.common.errors.SourceError: x/.zarray is damaged: a chunk of (2, 1000000000) <f8 is larger than 1 GiB
    """
    try:
        shape, chunks = _sizes(meta["shape"], 0), _sizes(meta["chunks"], 1)
        dtype = _dtype(meta["dtype"])
        filters, compressor = meta.get("filters") or [], meta.get("compressor")
        separator = meta.get("dimension_separator", ".")
        if meta["zarr_format"] != 2:
            raise ValueError(f"zarr_format is {meta['zarr_format']!r}, not 2")
        if len(shape) != len(chunks):
            raise ValueError(f"shape {shape} and chunks {chunks} differ in their dimensions")
        if meta["order"] not in ("C", "F") or separator not in (".", "/"):
            raise ValueError("order or dimension_separator is not allowed in Zarr v2")
        if not all(isinstance(c, dict) and isinstance(c.get("id"), str) for c in [*filters, compressor or {"id": ""}]):
            raise ValueError("a codec has no id")
        if math.prod(chunks) * dtype.itemsize > CHUNK_BYTES:
            raise ValueError(f"a chunk of {chunks} {dtype.str} is larger than 1 GiB")
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise SourceError(f"{path}/.zarray is damaged: {reason}") from error
    return ArrayLayout(shape, chunks, dtype, meta["order"], meta.get("fill_value"), filters, compressor, separator)


def _sizes(value: Any, least: int) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(n) is int and least <= n < 2**63 for n in value) or len(value) > 32:
        raise ValueError(f"{str(value)[:100]} is not a shape")
    return tuple(value)


def _dtype(value: Any) -> np.dtype:
    """Return the dtype of a Zarr v2 array; records with objects are objects."""
    if isinstance(value, str) and _CODE.fullmatch(value):
        return np.dtype(value)
    if isinstance(value, list) and 0 < len(value) < 256:
        fields = [(str(part[0]), _dtype(part[1]), *map(tuple, part[2:3])) for part in value]
        dtype = np.dtype(fields)
        return np.dtype(object) if dtype.hasobject else dtype
    raise ValueError(f"{str(value)[:100]} is not a readable dtype")
