"""A whole Zarr asset in the cache folder: every entry checked, and in its place only when all are there."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from foundation.common.errors import SourceError
from ingest.sources.access import AccessSettings
from ingest.sources.download_cache import free_bytes, part_of
from ingest.sources.zarr.zarr_entries import Entry

THREADS = 8


def download_zarr(
    place: Path, entries: dict[str, Entry], fetch: Callable[[str], bytes], name: str, access: AccessSettings
) -> None:
    """Bring a Zarr asset to its place in the cache; entries of an earlier run that are as stated are not fetched again.

    The caller holds the asset's lock.

    Args:
        place: the folder that it will be.
        entries: key -> size and md5; keys are known to stay in their folder.
        fetch: gives the bytes of a key, checked.
        name: for messages.
        access: the cache.

    Raises:
        SourceError: if an entry cannot be had, is not as stated, or does not fit the disk.
    """
    part = part_of(place)
    try:
        missing = [key for key, entry in entries.items() if not _is_there(part / key, entry)]
        needed = sum(entries[key].size for key in missing)
        if free_bytes(access) < needed:
            raise SourceError(
                f"{name}: {needed} bytes are to come, and {free_bytes(access)} are free in {str(place.parent)!r}: make "
                "room, name another folder (access.cache), or stream it (access.mode)"
            )
        part.mkdir(parents=True, exist_ok=True)
        for stray in [path for path in part.rglob("*") if path.is_file()]:
            if stray.relative_to(part).as_posix() not in entries:
                stray.unlink()

        def bring(key: str) -> None:
            _write(part / key, fetch(key))

        with ThreadPoolExecutor(THREADS) as pool:
            try:
                for _ in pool.map(bring, missing):
                    pass
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        if place.exists():
            shutil.rmtree(place)
        part.rename(place)
    except OSError as error:
        raise SourceError(f"{name}: cannot be written to {str(place.parent)!r}: {error.strerror or error}") from error


def _is_there(path: Path, entry: Entry) -> bool:
    if not path.is_file() or path.stat().st_size != entry.size:
        return False
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == entry.md5


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    begun = path.with_name(path.name + ".tmp~")
    begun.write_bytes(data)
    os.replace(begun, path)
