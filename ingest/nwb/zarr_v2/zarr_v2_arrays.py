"""Arrays of a Zarr v2 store, read on demand."""

from __future__ import annotations

import asyncio
import json
import math
import struct
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numcodecs
import numpy as np
import zarr
from hdmf.query import HDMFDataset
from zarr.abc.store import Store
from zarr.core.sync import sync
from zarr.storage import WrapperStore

from foundation.common.errors import SourceError
from ingest.nwb.nwb_arrays import SMALL, refuse_too_little
from ingest.nwb.zarr_v2.compression import expand
from ingest.nwb.zarr_v2.pickled_objects import unpickled_objects
from ingest.nwb.zarr_v2.zarr_v2_layout import CHUNK_BYTES, ArrayLayout, fetch, fetch_async, stored_sizes

# Filters of plain numbers that numcodecs undoes. Other filters and compressors unknown to `expand` are refused.
FILTERS = ("delta", "fixedscaleoffset", "quantize", "bitround", "astype", "shuffle", "packbits")
# Maximum objects of one array: text and references are read whole.
MOST_OBJECTS = 100_000_000


class LazyArray(HDMFDataset):
    """An array of a store. Numbers are read through zarr by slices; text and references whole, on first use.

    Args:
        store: the store.
        path: of the array.
        layout: its metadata.
    """

    def __init__(self, store: Store, path: str, layout: ArrayLayout) -> None:
        self.store, self.path, self.layout = store, path, layout
        self._array: Any = None

    @property
    def dataset(self) -> Any:
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        return self.layout.shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def dtype(self) -> Any:
        return self.layout.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[n] for n in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype=dtype)

    def __getitem__(self, key: Any) -> Any:
        return self._read(key)

    def _read(self, key: Any) -> Any:
        try:
            if self._array is None:
                self._array = self._opened()
            found = self._array[key]
        except SourceError as error:
            raise SourceError(f"{self.path}: {error}") from error
        # zarr returns single values as arrays without dimensions.
        return found[()] if isinstance(found, np.ndarray) and found.ndim == 0 else found

    def _opened(self) -> Any:
        self._refuse_false_claims()
        if self.dtype == object:
            return self._objects()
        for codec in self.layout.transforms:
            if codec["id"] not in FILTERS:
                raise SourceError(f"the filter {codec['id']!r} cannot be read; these can: {', '.join(FILTERS)}")
        return zarr.open_array(_Chunks(self.store, self.path, self.layout), mode="r", zarr_format=2)

    def _refuse_false_claims(self) -> None:
        """Raise unless the chunks support the shape: the first and last must exist, with enough bytes.

        Guards against false shapes of terabytes, and against chunks compressed thousands of times too well.
        """
        if self.size:
            for chunk in ((0,) * self.ndim, tuple(n - 1 for n in self.layout.grid)):
                if not sync(self.store.exists(f"{self.path}/{self.layout.key(chunk)}")):
                    raise SourceError(missing(self.layout.key(chunk)))
        declared = self.size * self.layout.dtype.itemsize
        if declared > SMALL:
            refuse_too_little("it", self.shape, declared, *self.held_bytes)

    @cached_property
    def held_bytes(self) -> tuple[int, int]:
        """Return the bytes of existing chunks, uncompressed and as stored; from one listing."""
        sizes = stored_sizes(self.store, self.path)
        chunks = [size for name, size in sizes.items() if not name.rpartition("/")[2].startswith(".z")]
        return len(chunks) * self.layout.chunk_items * self.layout.dtype.itemsize, sum(chunks)

    def _objects(self) -> np.ndarray:
        layout = self.layout
        if self.size > MOST_OBJECTS:
            raise SourceError(f"{self.size} texts or references: at most {MOST_OBJECTS} are read")
        found = np.full(self.shape, None, dtype=object)
        for chunk in np.ndindex(*layout.grid):
            raw = fetch(self.store, f"{self.path}/{layout.key(chunk)}")
            if raw is None:
                raise SourceError(missing(layout.key(chunk)))
            values = np.empty(layout.chunk_items, dtype=object)
            for n, value in enumerate(decoded_objects(raw, layout)):
                values[n] = value
            start = tuple(i * c for i, c in zip(chunk, layout.chunks, strict=True))
            inside = tuple(slice(0, n - s) for n, s in zip(self.shape, start, strict=True))
            part = values.reshape(layout.chunks, order="C")[inside]
            found[tuple(slice(s, s + n) for s, n in zip(start, part.shape, strict=True))] = part
        return found


def missing(key: str) -> str:
    """Return the message for a missing chunk."""
    return f"chunk {key} is missing in the store: its values are unknown"


def decoded_objects(raw: bytes, layout: ArrayLayout) -> list[Any]:
    """Return the texts, references or records of one chunk.

    Raises:
        SourceError: if the chunk is damaged, or its objects have an unsupported encoding.
    """
    count = layout.chunk_items
    codec = "+".join(codec["id"] for codec in layout.transforms)
    content = expand(layout.packing, raw, CHUNK_BYTES)
    if codec == "pickle":
        return unpickled_objects(content, count)
    if codec in ("vlen-utf8", "vlen-bytes"):
        if content[:4] != struct.pack("<I", count):
            raise SourceError(f"a chunk is damaged: it does not hold {count} texts")
        try:
            found = numcodecs.get_codec({"id": codec}).decode(content).tolist()
        except (ValueError, UnicodeDecodeError) as error:
            raise SourceError(f"a chunk is damaged: its texts cannot be read ({error})") from error
        return [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in found]
    if codec == "json2":
        return _from_json(content, count)
    raise SourceError(
        f"objects kept by the codec {codec!r} cannot be read; vlen-utf8, vlen-bytes, json2 and pickle can"
    )


def _from_json(content: bytes, count: int) -> list[Any]:
    """Return values from numcodecs' ``json2``: the values as one list, then the dtype and the shape."""
    try:
        *values, dtype, shape = json.loads(content)
        json.dumps(values, ensure_ascii=False).encode()
        while len(shape) > 1:
            values, shape = [value for row in values for value in row], [shape[0] * shape[1], *shape[2:]]
    except (ValueError, TypeError, RecursionError) as error:
        raise SourceError(f"a chunk is damaged: it holds no list of values ({error})") from error
    if len(values) != count or dtype != "|O":
        raise SourceError(f"a chunk is damaged: it holds {len(values)} values where {count} belong")
    return [tuple(value) if isinstance(value, list) else value for value in values]


class _Chunks(WrapperStore[Store]):
    """One array of a store for zarr, with checked metadata and decompressed chunks."""

    def __init__(self, store: Store, path: str, layout: ArrayLayout) -> None:
        super().__init__(store)
        self._path, self._layout = path, layout
        exact = layout.chunk_items * layout.dtype.itemsize
        self._limit = CHUNK_BYTES if layout.transforms else exact
        self._exact = None if layout.transforms else exact
        self._metadata = {
            "zarr_format": 2,
            "shape": list(layout.shape),
            "chunks": list(layout.chunks),
            "dtype": layout.dtype.str if layout.dtype.names is None else _fields(layout.dtype),
            "order": layout.order,
            # Never used, as missing chunks raise; zarr 3 expects other fill values than zarr 2.
            "fill_value": None,
            "filters": layout.transforms or None,
            "compressor": None,
            "dimension_separator": layout.separator,
        }

    @property
    def read_only(self) -> bool:
        return True

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        if key == ".zarray":
            return prototype.buffer.from_bytes(json.dumps(self._metadata).encode())
        if key.startswith("."):
            return None
        raw = await fetch_async(self._store, f"{self._path}/{key}")
        if raw is None:
            raise SourceError(missing(key))
        content = await asyncio.to_thread(expand, self._layout.packing, raw, self._limit)
        if self._exact is not None and len(content) != self._exact:
            raise SourceError(f"chunk {key} is damaged: it holds {len(content)} bytes where {self._exact} belong")
        return prototype.buffer.from_bytes(content)

    async def get_partial_values(self, prototype: Any, key_ranges: Any) -> list[Any]:
        return [await self.get(key, prototype) for key, _ in key_ranges]


def _fields(dtype: np.dtype) -> list[Any]:
    return [
        [name, dtype[name].base.str, list(dtype[name].shape)] if dtype[name].shape else [name, dtype[name].str]
        for name in dtype.names or ()
    ]
