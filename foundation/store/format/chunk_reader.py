"""Chunks of a stored array, read and decoded in the calling thread.

zarr reads through an event loop in a separate thread and hands each step to a pool: about a millisecond per chunk,
ten times what decoding takes. The loader reads single chunks at random, so this module reads the store's own layout
(blosc, with or without shards, whole rows per chunk) directly; zarr reads any other layout.
"""

from __future__ import annotations

from typing import Any

import google_crc32c
import numpy as np
import zarr
from numcodecs import blosc

from foundation.common.errors import StoreError
from foundation.store.storage import Store

ABSENT = (1 << 64) - 1
BLOSC_HEADER = 16  # bytes; the last four are the total length, the header included
SHARDED = ["sharding_indexed"]
PLAIN = ["bytes", "blosc"]
INDEX = ["bytes", "crc32c"]


class Chunks:
    """Chunks of an array, by number; chunks hold whole rows.

    Args:
        store: the store.
        folder: the array's folder in the store.
        array: the array.

    Raises:
        StoreError: if a chunk's bytes are damaged.
    """

    def __init__(self, store: Store, folder: str, array: zarr.Array) -> None:
        self._store, self._folder, self._array = store, folder, array
        self.rows = int(array.chunks[0])
        self.count = -(-int(array.shape[0]) // self.rows)
        described = array.metadata.to_dict()
        self._dtype = array.dtype.newbyteorder("<")
        self._per_shard = 1 if array.shards is None else int(array.shards[0]) // self.rows
        self._direct = _is_ours(described, array)
        self._indices: dict[int, np.ndarray] = {}

    def __getitem__(self, k: int) -> np.ndarray:
        """Return the rows ``k * rows`` to ``(k + 1) * rows - 1`` that exist, read-only."""
        try:
            first = k * self.rows
            if not self._direct:
                return np.asarray(self._array[first : first + self.rows])
            try:
                content = self._content(k)
            except FileNotFoundError:  # as in zarr, a chunk that holds only the fill value has no file
                content = None
            shape = (self.rows, *self._array.shape[1:])
            if content is None:
                return np.full(shape, self._array.fill_value, dtype=self._dtype)[: self._array.shape[0] - first]
            if is_cut(content):
                raise ValueError(f"it ends early, after {len(content)} bytes")
            rows = np.frombuffer(blosc.decompress(content), dtype=self._dtype).reshape(shape)
            return rows[: self._array.shape[0] - first]
        except Exception as error:  # damaged bytes fail in many ways
            raise StoreError(
                f"chunk {k} of {self._folder} in {self._store.name!r} cannot be read ({error}): `foundation catalog "
                "--verify` names what is damaged"
            ) from error

    def whole(self) -> np.ndarray:
        """Return all rows."""
        parts = [self[k] for k in range(self.count)]
        return np.concatenate(parts) if parts else np.empty(self._array.shape, dtype=self._dtype)

    def _content(self, k: int) -> bytes | None:
        """Return the encoded bytes of a chunk; None if the chunk was never written."""
        shard, place = divmod(k, self._per_shard)
        key = "/".join(["c", str(shard), *["0"] * (self._array.ndim - 1)])
        path = self._store.path(self._folder, key)
        if self._array.shards is None:
            whole: bytes = self._store.fs.cat_file(path)
            return whole
        if shard not in self._indices:
            size = 16 * self._per_shard
            tail = self._store.fs.cat_file(path, start=-(size + 4))
            if google_crc32c.value(tail[:size]) != int.from_bytes(tail[size:], "little"):
                raise ValueError("the index of its shard is damaged")
            self._indices[shard] = np.frombuffer(tail[:size], dtype="<u8").reshape(-1, 2)
        offset, length = self._indices[shard][place].tolist()
        if offset == ABSENT:
            return None
        content: bytes = self._store.fs.cat_file(path, start=offset, end=offset + length)
        if len(content) != length:
            raise ValueError(f"it has {len(content)} of its {length} bytes")
        return content


def is_cut(content: bytes) -> bool:
    """Return True if blosc's bytes end too early; blosc does not check this and would read beyond them."""
    return len(content) < BLOSC_HEADER or len(content) < int.from_bytes(content[12:BLOSC_HEADER], "little")


def _is_ours(described: dict[str, Any], array: zarr.Array) -> bool:
    """Return True if an array has the layout that this store writes."""

    def names(codecs: Any) -> list[str]:
        return [codec["name"] for codec in codecs]

    codecs = described["codecs"]
    if described["chunk_key_encoding"] != {"name": "default", "configuration": {"separator": "/"}}:
        return False
    if tuple(array.chunks[1:]) != tuple(max(1, n) for n in array.shape[1:]) or array.dtype.kind not in "biuf":
        return False
    if array.shards is None:
        return names(codecs) == PLAIN and _little(codecs)
    if names(codecs) != SHARDED or tuple(array.shards[1:]) != tuple(array.chunks[1:]):
        return False
    inner = codecs[0]["configuration"]
    known = names(inner["codecs"]) == PLAIN and names(inner["index_codecs"]) == INDEX
    return known and inner["index_location"] == "end" and _little(inner["codecs"]) and _little(inner["index_codecs"])


def _little(codecs: Any) -> bool:
    return codecs[0].get("configuration", {}).get("endian", "little") == "little"
