"""Location of recordings: a folder or any fsspec URL, with one Zarr v3 group per recording.

::

    store.json                    marks the folder as a store, with its schema
    recordings/<content digest>/  one Zarr group each
    commits/<recording id>.json   makes a group visible; written last
    current/<origin>.json         the current recording of an asset, or of a place, if there are several
    superseded/<id>.json          the recording that replaces one read from the same place
    catalog.parquet               a snapshot of all commits
    derived/<digest>/             results computed from recordings (embeddings, fits)

Writing a recording is atomic: its group is written first, and its commit record makes it visible.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import zarr
from zarr.abc.store import Store as ZarrStore
from zarr.storage import FsspecStore, LocalStore, StorePath

from foundation.common.errors import StoreError
from foundation.common.files.locks import whole_folder
from foundation.store.commit.atomic_files import Files
from foundation.store.format.encode import SCHEMA_VERSION, Encoded
from foundation.store.format.zarr_arrays import GROUP_FILE, group_objects

MARKER = "store.json"
TOUCH = 3600.0
BATCH_BYTES = 1 << 25


class Store(Files):
    """A store of recordings at a path or an fsspec URL.

    Args:
        url: a local folder, or ``s3://...``, ``gs://...``, ``memory://...``.
        create: create the store if it does not exist.

    Raises:
        StoreError: if there is no store and ``create`` is false, if it cannot be written, or if its schema differs.

    Example:
        >>> import tempfile
        >>> store = Store(tempfile.mkdtemp() + "/store", create=True)
        >>> store.commit_ids()
        []
    """

    def __init__(self, url: str | Path, create: bool = False) -> None:
        super().__init__(url)
        marker = self._marker()
        if marker is None:
            if not create:
                raise StoreError(f"there is no store at {self.name!r}: create one with `foundation ingest`")
            self._create()
        else:
            check_schema(self.name, marker)

    def _marker(self) -> dict[str, Any] | None:
        try:
            return self.read_json(MARKER)
        except StoreError:
            raise
        except Exception as error:  # a client of an object store may raise anything: no credentials, no such host, ...
            raise StoreError(f"cannot read {self.name!r}: {type(error).__name__}: {error}") from error

    def _create(self) -> None:
        if self.fs.exists(self.root) and self.fs.ls(self.root):
            raise StoreError(f"{self.name!r} is not empty and is not a store: name another folder")
        try:
            self.write_json(MARKER, {"format": "foundation-store", "schema": SCHEMA_VERSION})
        except OSError as error:
            raise StoreError(f"cannot write to {self.name!r}: {error.strerror or error}") from error

    def commit_ids(self) -> list[str]:
        """Return the sorted ids of all committed recordings (lists the folder of commits)."""
        return [name.removesuffix(".json") for name in self.names("commits") if name.endswith(".json")]

    def commit(self, recording_id: str) -> dict[str, Any] | None:
        """Return the commit record of a recording, or None."""
        return self.read_json(f"commits/{recording_id}.json")

    def write_group(self, encoded: Encoded) -> str:
        """Write a recording's group under its content digest and return the digest. The group is not visible yet.

        Raises:
            StoreError: if the store cannot be written.
        """
        digest = encoded.digest
        self.write_objects(f"recordings/{digest}", group_objects(encoded.arrays, encoded.attributes))
        return digest

    def write_objects(self, folder: str, objects: Iterable[dict[str, bytes]]) -> None:
        """Write a folder named by its content, atomically.

        On a local disk the folder is renamed into place. On an object store ``zarr.json`` is written last, and without
        it the folder is not a group; two writers of one folder write the same bytes.

        Raises:
            StoreError: if the store cannot be written.
        """
        target = self.path(folder)
        try:
            if self.is_local:
                _write_folder(Path(target), objects)
            else:
                self._put_objects(target, objects)
        except OSError as error:
            raise StoreError(f"cannot write to {self.name!r}: {error.strerror or error}") from error

    def _put_objects(self, target: str, objects: Iterable[dict[str, bytes]]) -> None:
        whole = self.fs.exists(f"{target}/{GROUP_FILE}")
        waiting: dict[str, bytes] = {}
        for part in objects:
            # Always write the last object: its age shows that the group is in use (see `clean_store`).
            last = part.pop(GROUP_FILE, None)
            if not whole:
                waiting |= {f"{target}/{name}": content for name, content in part.items()}
            if waiting and (last is not None or sum(map(len, waiting.values())) > BATCH_BYTES):
                self.fs.pipe(waiting)  # many at a time
                waiting = {}
            if last is not None:
                self.fs.pipe_file(f"{target}/{GROUP_FILE}", last)

    def open_group(self, digest: str) -> zarr.Group:
        """Return the Zarr group of a recording, for reading."""
        return self.open_folder(f"recordings/{digest}")

    def open_folder(self, folder: str) -> zarr.Group:
        """Return a Zarr group of the store, for reading.

        Raises:
            StoreError: if the folder is missing.
        """
        try:
            return zarr.open_group(self._zarr_store(folder), mode="r", zarr_format=3)
        except (FileNotFoundError, KeyError) as error:
            raise StoreError(
                f"{folder} is missing from {self.name!r}: check the store with `foundation catalog --verify`"
            ) from error

    def open_arrays(self, digest: str, paths: Iterable[str]) -> dict[str, zarr.Array]:
        """Open the named arrays of a recording for reading; arrays that it lacks are left out.

        The group's own file describes all its arrays. It is read in the calling thread, because zarr hands every
        step to its event loop and waits for it, which takes many times longer than the read itself.

        Raises:
            StoreError: if the recording's group is missing.
        """
        folder = f"recordings/{digest}"
        group = self.read_json(f"{folder}/{GROUP_FILE}")
        described = ((group or {}).get("consolidated_metadata") or {}).get("metadata")
        if not described:
            opened = self.open_folder(folder)
            found = {path: opened[path] for path in paths if path in opened}
            return {path: array for path, array in found.items() if isinstance(array, zarr.Array)}
        place = self._zarr_store(folder)
        return {
            path: zarr.Array(zarr.AsyncArray(described[path], StorePath(place, path)))
            for path in paths
            if described.get(path, {}).get("node_type") == "array"
        }

    def _zarr_store(self, name: str) -> ZarrStore:
        if self.is_local:
            return LocalStore(self.path(name), read_only=True)
        url = f"{self.fs.unstrip_protocol(self.path(name))}"
        return FsspecStore.from_url(url, storage_options=self.options, read_only=True)


def check_schema(name: str, marker: dict[str, Any]) -> None:
    """Raise unless a store has this version's schema.

    Raises:
        StoreError: if its schema differs; the message names both schemas and what to do.
    """
    schema = marker.get("schema")
    if schema == SCHEMA_VERSION:
        return
    if isinstance(schema, int) and schema < SCHEMA_VERSION:
        what = "ingest its files again into a new store"
    else:
        what = "it was created by a newer version of this software: install that version"
    raise StoreError(f"the store at {name!r} has schema {schema!r}, this version reads {SCHEMA_VERSION}: {what}")


def _write_folder(target: Path, objects: Iterable[dict[str, bytes]]) -> None:
    if target.exists():  # it was renamed into place, so it is complete
        if time.time() - target.stat().st_mtime > TOUCH:
            os.utime(target)  # mark the group as in use (see `clean_store`)
        return
    with whole_folder(target) as folder:
        for part in objects:
            for name, content in part.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
