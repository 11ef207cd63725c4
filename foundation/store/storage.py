"""Where recordings live: a folder or any fsspec URL, with one Zarr v3 group per recording.

::

    store.json                    what this folder is, and its schema
    recordings/<content digest>/  one Zarr group each
    commits/<recording id>.json   makes a group visible; written last
    current/<origin>.json         which recording of an asset counts, where recipes made several
    catalog.parquet               a snapshot of all commits
    derived/                      what was computed from recordings (embeddings, fits)

A recording appears whole or not at all: its group is written first, and becomes visible with its commit record.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import zarr
from zarr.abc.store import Store as ZarrStore
from zarr.codecs import BloscCodec
from zarr.storage import FsspecStore, LocalStore

from foundation.errors import StoreError
from foundation.store.encode import SCHEMA_VERSION, Encoded, EncodedArray

CHUNK_BYTES = 1 << 20
SHARD_CHUNKS = 64


class Store:
    """A store of recordings at a path or an fsspec URL.

    Args:
        url: a local folder, or ``s3://...``, ``gs://...``, ``memory://...``.
        create: make the store if there is none.

    Raises:
        StoreError: if there is no store and ``create`` is false, if it cannot be written, or if its schema is another.

    Example:
        >>> import tempfile
        >>> store = Store(tempfile.mkdtemp() + "/store", create=True)
        >>> store.commit_ids()
        []
    """

    def __init__(self, url: str | Path, create: bool = False) -> None:
        self.url = str(url)
        try:
            self.fs, self.root = fsspec.core.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise StoreError(f"cannot use {self.url!r} as a store: {error}") from error
        self.is_local = "file" in (self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,))
        marker = self.read_json("store.json")
        if marker is None:
            if not create:
                raise StoreError(f"there is no store at {self.url!r}: make one with `foundation ingest`")
            self._create()
        elif marker.get("schema") != SCHEMA_VERSION:
            raise StoreError(
                f"the store at {self.url!r} has schema {marker.get('schema')!r}, this version reads {SCHEMA_VERSION}: "
                "ingest the files again into a new store"
            )

    def _create(self) -> None:
        if self.fs.exists(self.root) and self.fs.ls(self.root):
            raise StoreError(f"{self.url!r} is not empty and is not a store: name another folder")
        try:
            self.write_json("store.json", {"format": "foundation-store", "schema": SCHEMA_VERSION})
        except OSError as error:
            raise StoreError(f"cannot write to {self.url!r}: {error.strerror or error}") from error

    def path(self, *parts: str) -> str:
        return "/".join([self.root.rstrip("/"), *parts])

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The JSON object stored under ``name``, or None."""
        try:
            with self.fs.open(self.path(name), "rb") as file:
                value: dict[str, Any] = json.load(file)
                return value
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError as error:
            raise StoreError(f"{self.path(name)} is damaged: {error}") from error

    def write_json(self, name: str, value: dict[str, Any]) -> None:
        """Write a JSON object so that readers see the old one or the new one, never a part."""
        self.write_bytes(name, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())

    def write_bytes(self, name: str, content: bytes) -> None:
        path = self.path(name)
        self.fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        if not self.is_local:
            self.fs.pipe_file(path, content)  # one PUT is atomic on object stores
            return
        part = f"{path}.{uuid.uuid4().hex}.part"
        try:
            with open(part, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            Path(part).unlink(missing_ok=True)

    def commit_ids(self) -> list[str]:
        """Ids of all committed recordings, sorted (lists the folder of commits)."""
        try:
            names = self.fs.ls(self.path("commits"), detail=False)
        except FileNotFoundError:
            return []
        stems = [str(name).rsplit("/", 1)[-1] for name in names]
        return sorted(stem.removesuffix(".json") for stem in stems if stem.endswith(".json"))

    def commit(self, recording_id: str) -> dict[str, Any] | None:
        """The commit record of a recording, or None."""
        return self.read_json(f"commits/{recording_id}.json")

    def write_group(self, encoded: Encoded) -> str:
        """Write a recording's group under its content digest and return the digest. It is not visible yet.

        Raises:
            StoreError: if the store cannot be written.
        """
        digest = encoded.digest
        try:
            if not self.is_local:
                _write_arrays(self._zarr_store(f"recordings/{digest}"), encoded)
                return digest
            target = Path(self.path("recordings", digest))
            if target.exists():  # only ever renamed into place, so it is whole
                return digest
            part = target.with_name(f".{digest}.{uuid.uuid4().hex}.part")
            try:
                part.mkdir(parents=True)
                _write_arrays(LocalStore(part), encoded)
                try:
                    os.rename(part, target)
                except OSError:
                    if not target.exists():  # else another run has just written the same bytes
                        raise
            finally:
                shutil.rmtree(part, ignore_errors=True)
        except OSError as error:
            raise StoreError(f"cannot write to {self.url!r}: {error.strerror or error}") from error
        return digest

    def open_group(self, digest: str) -> zarr.Group:
        """The Zarr group of a recording, for reading."""
        try:
            return zarr.open_group(self._zarr_store(f"recordings/{digest}"), mode="r")
        except (FileNotFoundError, KeyError) as error:
            raise StoreError(f"recording {digest} is missing from {self.url!r}") from error

    def _zarr_store(self, name: str) -> ZarrStore:
        if self.is_local:
            return LocalStore(self.path(name))
        return FsspecStore.from_url(f"{self.fs.unstrip_protocol(self.path(name))}")


def _write_arrays(target: ZarrStore, encoded: Encoded) -> None:
    group = zarr.create_group(target, attributes=encoded.attributes, overwrite=True)
    for path, array in encoded.arrays.items():
        _write_array(group, path, array)


def _write_array(group: zarr.Group, path: str, array: EncodedArray) -> None:
    data = np.ascontiguousarray(array.data)
    rows = max(1, CHUNK_BYTES // max(1, data.dtype.itemsize * int(np.prod(data.shape[1:], dtype=np.int64))))
    chunk = (min(rows, max(1, data.shape[0])), *(max(1, n) for n in data.shape[1:]))
    chunks_in_all = -(-data.shape[0] // chunk[0])
    shard = (chunk[0] * min(SHARD_CHUNKS, chunks_in_all), *chunk[1:]) if chunks_in_all > 1 else None
    stored = group.create_array(
        path,
        shape=data.shape,
        dtype=data.dtype,
        chunks=chunk,
        shards=shard,
        compressors=BloscCodec(cname="zstd", clevel=5, shuffle="shuffle"),
        fill_value=0,
        attributes={**array.attributes, "sha256": array.digest},
    )
    if data.size:
        stored[...] = data


def read_array(group: zarr.Group, path: str) -> EncodedArray:
    """One array of a recording's group with its attributes (without its digest)."""
    stored = group[path]
    assert isinstance(stored, zarr.Array)
    attributes = {name: value for name, value in stored.attrs.items() if name != "sha256"}
    return EncodedArray(np.asarray(stored[...]), attributes)
