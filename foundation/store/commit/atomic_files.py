"""Atomic files of a store on any fsspec file system, with compare-and-swap.

A local file is written beside its target and renamed; an object store's PUT is atomic by itself. `Files.swap` replaces
a file only if nobody changed it since it was read: under a lock on a local disk, with ``If-Match`` on S3.
"""

from __future__ import annotations

import errno
import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec

from foundation.common.credentials import without_secrets
from foundation.common.errors import StoreError
from foundation.common.files.locks import file_lock, write_whole

# botocore then repeats requests that failed because of throttling, 5xx, timeouts and broken connections, with backoff
# and jitter. Listings must not come from a cache.
S3_OPTIONS = {
    "config_kwargs": {"retries": {"mode": "standard", "max_attempts": 8}, "connect_timeout": 20, "read_timeout": 60},
    "use_listings_cache": False,
}
READERS = 16
LOST = (errno.EINVAL, errno.EBUSY, errno.ENOENT, errno.EEXIST)  # how s3fs reports 412, 409, 404
_memory_lock = threading.Lock()


class Files:
    """Small files below a folder or URL.

    Args:
        url: a local folder, or an fsspec URL.

    Raises:
        StoreError: if there is no such kind of URL, or its package is not installed.
    """

    def __init__(self, url: str | Path) -> None:
        self.url = str(url)
        is_s3 = self.url.startswith(("s3://", "s3a://"))
        self.options: dict[str, Any] = S3_OPTIONS if is_s3 else {}
        try:
            self.fs, self.root = fsspec.core.url_to_fs(self.url, **self.options)
        except (ImportError, ValueError) as error:
            raise StoreError(f"cannot use {self.name!r} as a store: {error}") from error
        protocol = self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,)
        self.is_local, self.is_s3 = "file" in protocol, "s3" in protocol

    @property
    def name(self) -> str:
        """The URL without user name, password and query, for messages."""
        return without_secrets(self.url)

    def path(self, *parts: str) -> str:
        return "/".join([self.root.rstrip("/"), *parts])

    def read_bytes(self, name: str) -> bytes | None:
        """Return the bytes of a file, or None if it is missing."""
        try:
            content: bytes = self.fs.cat_file(self.path(name))
            return content
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Return the JSON object in a file, or None if the file is missing."""
        content = self.read_bytes(name)
        return None if content is None else self._parsed(name, content)

    def read_many(self, names: list[str]) -> list[dict[str, Any] | None]:
        """Return `read_json` of many names, read in parallel."""
        with ThreadPoolExecutor(1 if self.is_local else READERS) as pool:
            return list(pool.map(self.read_json, names))

    def _parsed(self, name: str, content: bytes) -> dict[str, Any]:
        try:
            value = json.loads(content)
        except ValueError as error:
            raise StoreError(f"{self.name}/{name} is damaged: {error}") from error
        if not isinstance(value, dict):
            raise StoreError(f"{self.name}/{name} is damaged: it does not hold a JSON object")
        return value

    def write_json(self, name: str, value: dict[str, Any]) -> None:
        """Write a JSON object so that readers see the old one or the new one, never a part."""
        self.write_bytes(name, to_json(value))

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file so that readers see the old one or the new one, never a part."""
        if self.is_local:
            write_whole(Path(self.path(name)), content)
            return
        if not self.is_s3:  # S3 has no folders
            self.fs.makedirs(self.path(name).rsplit("/", 1)[0], exist_ok=True)
        self.fs.pipe_file(self.path(name), content)

    def version(self, name: str) -> str:
        """Return the version that `swap` compares: the ETag on S3, else the content's digest; ``''`` without a file."""
        if self.is_s3:
            try:
                return str(self.fs.info(self.path(name), refresh=True)["ETag"])
            except FileNotFoundError:
                return ""
        content = self.read_bytes(name)
        return "" if content is None else hashlib.sha256(content).hexdigest()

    def swap(self, name: str, content: bytes, version: str) -> bool:
        """Write a file if it still has this version; otherwise keep it and return False.

        On object stores other than S3 the comparison and the write are two steps, and a swap between them is lost.
        """
        if not self.is_s3:
            with self._lock():
                if self.version(name) != version:
                    return False
                self.write_bytes(name, content)
                return True
        condition = {"IfMatch": version} if version else {"IfNoneMatch": "*"}
        try:
            self.fs.pipe_file(self.path(name), content, **condition)
        except OSError as error:
            if error.errno not in LOST and not isinstance(error, FileExistsError):
                raise
            # After a lost answer, botocore repeats the request and finds its own write.
            return self.read_bytes(name) == content
        return True

    @contextmanager
    def _lock(self) -> Iterator[None]:
        if self.is_local:
            with file_lock(Path(self.path("store.json")), create=False):
                yield
        else:
            with _memory_lock:
                yield

    def names(self, folder: str) -> list[str]:
        """Return the sorted names of the files and folders in a folder; empty if the folder is missing."""
        try:
            found = self.fs.ls(self.path(folder), detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted({str(name).rstrip("/").rsplit("/", 1)[-1] for name in found} - {""})

    def sizes(self, folder: str) -> dict[str, int]:
        """Return path -> bytes of every file below a folder; empty if the folder is missing."""
        root = self.path(folder)
        self.fs.invalidate_cache(root)
        try:
            found = self.fs.find(root, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        return {str(path).removeprefix(f"{root}/"): int(info["size"] or 0) for path, info in found.items()}

    def remove(self, name: str) -> None:
        """Remove a file or a folder if it exists."""
        try:
            self.fs.rm(self.path(name), recursive=True)
        except FileNotFoundError:
            return


def to_json(value: dict[str, Any]) -> bytes:
    """Return the bytes of a JSON object in the store: equal objects give equal bytes."""
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
