"""Arrays as Zarr v3 objects: codec, chunks and shards, and a group's objects in a fixed order.

Codec and sizes were chosen by measurement (docs/benchmarks/store-layout.md). A group's ``zarr.json`` holds the metadata
of all its arrays (consolidated metadata), so that opening a group takes one read and no listing. That file is written
last, so a group that has it is complete.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from foundation.store.format.encode import EncodedArray
from foundation.store.format.spike_blocks import SPIKES_PER_BLOCK
from foundation.store.format.spill import let_go

CHUNK_BYTES = 1 << 19
SHARD_CHUNKS = 64
GROUP_FILE = "zarr.json"


def group_objects(arrays: dict[str, EncodedArray], attributes: dict[str, Any]) -> Iterator[dict[str, bytes]]:
    """Yield the objects of a Zarr group, name -> bytes: array after array, the group's own object last.

    Equal arrays and attributes give equal bytes in equal order. No more than one shard is held encoded.

    Example:
        >>> objects = group_objects({"units/depth": EncodedArray(np.arange(3.0))}, {"schema": 2})
        >>> [name for part in objects for name in part]
        ['units/depth/c/0', 'units/depth/zarr.json', 'units/zarr.json', 'zarr.json']
    """
    metadata: dict[str, Buffer] = {}
    zarr.create_group(MemoryStore(metadata), attributes=attributes)
    for path in sorted(arrays):
        objects: dict[str, Buffer] = {}
        for _ in _write_array(MemoryStore(objects), path, arrays[path]):
            chunks = sorted(name for name in objects if not name.endswith(GROUP_FILE))
            yield {name: objects.pop(name).to_bytes() for name in chunks}
        yield {f"{path}/{GROUP_FILE}": objects[f"{path}/{GROUP_FILE}"].to_bytes()}
        metadata |= {name: content for name, content in objects.items() if name != GROUP_FILE}
    own = {f"{path}/{GROUP_FILE}" for path in arrays} | {GROUP_FILE}
    yield {name: metadata[name].to_bytes() for name in sorted(metadata) if name not in own}
    with warnings.catch_warnings():
        # zarr 3 reads and writes consolidated metadata, which the format's specification does not cover yet;
        # other readers use the arrays' own files.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(MemoryStore(metadata))
    yield {GROUP_FILE: metadata[GROUP_FILE].to_bytes()}


def _write_array(target: MemoryStore, path: str, array: EncodedArray) -> Iterator[None]:
    """Write an array shard by shard, yielding after each."""
    data = np.asarray(array.data)
    row_bytes = data.dtype.itemsize * int(np.prod(data.shape[1:], dtype=np.int64))
    rows = max(1, min(SPIKES_PER_BLOCK, CHUNK_BYTES // max(1, row_bytes)))  # so that a chunk holds a block of spikes
    chunk = (min(rows, max(1, data.shape[0])), *(max(1, n) for n in data.shape[1:]))
    chunks_in_all = -(-data.shape[0] // chunk[0])
    shard = (chunk[0] * min(SHARD_CHUNKS, chunks_in_all), *chunk[1:]) if chunks_in_all > 1 else None
    stored = zarr.create_array(
        target,
        name=path,
        shape=data.shape,
        dtype=data.dtype,
        chunks=chunk,
        shards=shard,
        compressors=codec(data.dtype),
        fill_value=0,
        attributes={**array.attributes, "sha256": array.digest},
    )
    if data.size:
        step = (shard or chunk)[0]
        for first in range(0, data.shape[0], step):
            with zarr.config.set({"codec_pipeline.batch_size": SHARD_CHUNKS}):  # not a task of its own for each chunk
                stored[first : first + step] = data[first : first + step]
            let_go(data)
            yield


def codec(dtype: np.dtype) -> BloscCodec:
    """Shuffled bytes for integers (ticks, counts), shuffled bits for floats (samples), then zstd."""
    if dtype.kind == "f":
        return BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle")
    return BloscCodec(cname="zstd", clevel=2, shuffle="shuffle")


def read_array(group: zarr.Group, path: str) -> EncodedArray:
    """Return one array of a recording's group with its attributes (without its digest)."""
    stored = group[path]
    assert isinstance(stored, zarr.Array)
    attributes = {name: value for name, value in stored.attrs.items() if name != "sha256"}
    return EncodedArray(np.asarray(stored[...]), attributes)
