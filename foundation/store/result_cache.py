"""Results that are kept in a store while there is space, and computed again once they have been removed."""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from foundation.common.errors import StoreError
from foundation.common.files.locks import PART, is_part
from foundation.store.derived import CACHED, Derived
from foundation.store.storage import Store

log = logging.getLogger(__name__)
ARRAY = "value"


class CachedResult(Derived):
    """A derived result that may be removed at any time; its folder is ``derived/cache-<digest>``."""

    prefix: ClassVar[str] = CACHED


@dataclass(frozen=True)
class ResultCache:
    """Arrays that were computed from recordings, in ``derived/`` of a store on a local disk.

    If they take more than ``max_bytes``, the least recently used ones are removed. Any number of processes may use one
    cache at once: an entry appears whole or not at all, and an entry that another process removed or that is damaged is
    computed again. A store at a URL, or without write access, keeps nothing.

    Args:
        store: the store.
        max_bytes: size on disk of all entries together; 0: nothing is read or kept.

    Example:
        >>> import tempfile
        >>> cache = ResultCache(Store(tempfile.mkdtemp() + "/store", create=True), 1 << 20)
        >>> first = cache.get("squares-1", {"n": 3}, ["digest of a recording"], lambda: np.arange(3.0) ** 2)
        >>> cache.get("squares-1", {"n": 3}, ["digest of a recording"], lambda: np.zeros(3)).tolist()
        [0.0, 1.0, 4.0]
    """

    store: Store
    max_bytes: int

    def get(
        self, kind: str, settings: Mapping[str, Any], inputs: Sequence[str], compute: Callable[[], np.ndarray]
    ) -> np.ndarray:
        """Return an array from the cache, or compute it and keep it.

        Args:
            kind, settings, inputs: everything that decides the array; see `Derived`.
            compute: returns the array.
        """
        if not self.max_bytes or not self.store.is_local:
            return compute()
        entry = CachedResult(self.store, kind, settings, inputs)
        found = self._read(entry)
        if found is None:
            found = compute()
            self._write(entry, found)
        return found

    def _read(self, entry: CachedResult) -> np.ndarray | None:
        if not entry.exists():
            return None
        try:
            found = entry.read(ARRAY)
        except (StoreError, OSError) as error:  # the entry is damaged, or another process has just removed it
            log.info("%s cannot be read and is computed again: %s", entry.folder, error)
            _remove(self._path(entry))
            return None
        try:
            os.utime(self._path(entry))  # mark the entry as used now
        except OSError:  # removed meanwhile, or no write access
            log.debug("%s was not marked as used", entry.folder)
        return found

    def _write(self, entry: CachedResult, found: np.ndarray) -> None:
        if found.nbytes > self.max_bytes:
            log.info("an array of %d bytes is not kept: max_bytes is %d", found.nbytes, self.max_bytes)
            return
        try:
            entry.write({ARRAY: found})
            self._make_room(self._path(entry))
        except (StoreError, OSError) as error:
            log.info("%s is not kept: %s", entry.folder, error)

    def _make_room(self, newest: Path) -> None:
        """Remove the least recently used entries until the rest is small enough; ``newest`` stays."""
        entries = []
        for path in newest.parent.iterdir():
            if path.name.startswith(CACHED) and not is_part(path.name):
                entries.append((_last_use(path), path.name, path, _size(path)))
        total = sum(size for *_, size in entries)
        for _, _, path, size in sorted(entries):
            if total <= self.max_bytes:
                return
            if path != newest:
                _remove(path)
                total -= size

    def _path(self, entry: CachedResult) -> Path:
        return Path(self.store.path(entry.folder))


def _last_use(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another process has just removed it
        return 0.0


def _size(path: Path) -> int:
    """Return the bytes of all files of a folder; files that another process removes meanwhile do not count."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += (Path(folder) / name).stat().st_size
            except FileNotFoundError:
                continue
    return total


def _remove(path: Path) -> None:
    """Remove an entry as a whole: readers find all of it or nothing."""
    gone = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PART}")
    try:
        os.rename(path, gone)
    except OSError:  # another process was faster, or there is no write access
        return
    shutil.rmtree(gone, ignore_errors=True)
