"""Download whole files to the cache. A file with its final name is complete and checked against its digest."""

from __future__ import annotations

import logging
import os
import random
import time
from pathlib import Path
from typing import BinaryIO

from foundation.common.errors import SourceError
from foundation.common.files.locks import put_in_place
from ingest.sources.download_cache import check_file, free_bytes, locked, make_room, part_of, place_of
from ingest.sources.http.remote_file import RemoteBytes
from ingest.sources.source_retry import PassingError, persistently
from ingest.sources.source_settings import AccessSettings

log = logging.getLogger(__name__)


def cached_file(access: AccessSettings, digests: dict[str, str], size: int) -> Path | None:
    """Return the complete download of a file with known digests, or None."""
    place = place_of(access, digests, "")
    if not digests or not place.is_file() or place.stat().st_size != size:
        return None
    os.utime(place)
    return place


def download(remote: RemoteBytes, digests: dict[str, str], access: AccessSettings) -> Path:
    """Return the local path of a file, downloaded and checked if the cache lacks it.

    A partial download of an earlier run is resumed. If the digest differs, the whole file is downloaded once more; if
    it differs again, the download is deleted and an error raised.

    Args:
        remote: the file.
        digests: from the archive; every known one is checked.
        access: cache folder and retries.

    Raises:
        SourceError: if the download fails, a digest differs, or the disk is too small.
    """
    place = place_of(access, digests, f"{remote.name} {remote.size} {remote.validator}")
    # Without a digest, ETag or modification time, an earlier partial file cannot be matched with this content.
    vouched = bool(digests or remote.validator)
    part = part_of(place)
    with locked(place, remote.name):
        if vouched and place.is_file() and place.stat().st_size == remote.size:
            os.utime(place)
            return place
        if not vouched:
            part.unlink(missing_ok=True)
        _fill(part, remote, access)
        try:
            _checked(part, digests, remote.name)
        except SourceError as error:
            log.info("%s; downloading the whole file again", error)
            _fill(part, remote, access)
            _checked(part, digests, remote.name)
        put_in_place(part, place)
    make_room(access, place)
    return place


def _checked(part: Path, digests: dict[str, str], name: str) -> None:
    try:
        check_file(part, digests, name)
    except SourceError:
        part.unlink()
        raise


def _fill(part: Path, remote: RemoteBytes, access: AccessSettings) -> None:
    """Download until the part has all bytes, reconnecting as often as needed."""
    name, size = remote.name, remote.size
    try:
        have = part.stat().st_size if part.exists() else 0
        if free_bytes(access) < size - have:
            raise SourceError(
                f"{name}: {size - have} bytes needed, {free_bytes(access)} free in {str(part.parent)!r}: "
                "free space, set another folder (access.cache), or stream (access.mode)"
            )
        with part.open("r+b" if part.exists() else "w+b") as file:
            if have > size:
                file.truncate(0)
            while file.seek(0, os.SEEK_END) < size:
                if persistently(lambda: _advance(file, remote), name, access) < size:
                    # The connection broke after some bytes: retry soon, with jitter.
                    time.sleep(random.uniform(0, access.first_wait))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise SourceError(f"{name}: cannot be written to {str(part.parent)!r}: {error.strerror or error}") from error


def _advance(file: BinaryIO, remote: RemoteBytes) -> int:
    """Append the bytes of one connection to the partial file; return its new size.

    Raises:
        PassingError: if no byte was added.
    """
    have = file.seek(0, os.SEEK_END)
    at, pieces = remote.pieces(have)
    if at < have:
        log.info("%s: the server does not support ranges; downloading from the beginning", remote.name)
        file.truncate(at)
    file.seek(at)
    why = "the connection ended"
    try:
        for piece in pieces:
            file.write(piece)
            at += len(piece)
    except PassingError as error:
        why = str(error)
    if at <= have:
        raise PassingError(f"{why}, after {at} of {remote.size} bytes")
    return at
