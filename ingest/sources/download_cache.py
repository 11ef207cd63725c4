"""The download cache, shared by all processes of a machine; every file is checked against its archive's digests.

::

    <cache>/<key>         complete and checked: a file, or the folder of a Zarr asset
    <cache>/<key>.part    partial; the next run resumes it
    <cache>/<key>.lock    held by the process that downloads (or reads a Zarr folder); others wait
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from filelock import Timeout

from foundation.common.errors import SourceError
from foundation.common.files.locks import file_lock
from ingest.sources.source_settings import AccessSettings

log = logging.getLogger(__name__)

SPARE = 64 << 20
# Archives state the first two with the asset; sha2-256 comes later and would give equal content a second place.
KINDS = ("dandi-etag", "dandi-zarr-checksum", "sha2-256")
BLOCK = 1 << 22
# The etag of an empty file, as S3 computes it for one empty part.
EMPTY_ETAG = "59adb24ef3cdbe0297f05b395827453f-1"


def cache_folder(access: AccessSettings) -> Path:
    """Return the folder of downloads; by default in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if access.cache is not None:
        return Path(access.cache).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foundation" / "assets"


def place_of(access: AccessSettings, digests: dict[str, str], identity: str) -> Path:
    """Return the path of a content's complete download, existing or not.

    Args:
        access: holds the cache folder.
        digests: from the archive: equal contents are stored once.
        identity: identifies the content where the archive states no digest.

    Example:
        >>> place_of(AccessSettings(cache="/c"), {"sha2-256": "../../etc"}, "").as_posix()
        '/c/sha2-256-74ccf3c5b4c19a8167f9a3d1dd63e0e4'
    """
    stated = [(kind, digests[kind].lower()) for kind in KINDS if kind in digests] or [("url", identity)]
    # The values come from a server, so only their hashes become file names.
    names = [f"{kind}-{hashlib.sha256(value.encode()).hexdigest()[:32]}" for kind, value in stated]
    places = [cache_folder(access) / name for name in names]
    # Earlier releases named a download by its sha2-256, where that was stated.
    return next((place for place in places if place.exists()), places[0])


def part_of(place: Path) -> Path:
    """Return the path of the partial download."""
    return place.with_name(place.name + ".part")


def free_bytes(access: AccessSettings) -> int:
    """Return the free bytes on the cache's disk."""
    folder = cache_folder(access)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return max(0, shutil.disk_usage(folder).free - SPARE)


@contextmanager
def locked(place: Path, name: str, wait: float = math.inf) -> Iterator[None]:
    """Lock an asset of the cache; the lock is released when the process ends, even if it is killed.

    Args:
        place: path of the asset.
        name: for messages.
        wait: seconds to wait for the lock.

    Raises:
        SourceError: if the folder cannot be written, or the lock is not free in time.
    """
    unusable = f"{name}: the cache folder {str(place.parent)!r} cannot be used"
    with ExitStack() as stack:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            is_held = stack.enter_context(file_lock(place.with_name(place.name + ".lock"), wait))
        except Timeout as error:
            raise SourceError(f"{name}: another process is using it in the cache: run again later") from error
        except OSError as error:
            raise SourceError(f"{unusable}: {error}") from error
        if not is_held:
            raise SourceError(f"{unusable}: its file system has no locks")
        yield


def make_room(access: AccessSettings, keep: Path) -> None:
    """Evict the least recently used downloads until the cache is within its size.

    Args:
        access: cache folder and maximum size.
        keep: a download that must not be evicted.
    """
    found = [path for path in cache_folder(access).iterdir() if path.suffix not in (".lock", ".part", ".tmp")]
    sizes = {path: _size(path) for path in found}
    total = sum(sizes.values())
    for path in sorted(found, key=_last_use):
        if total <= access.cache_size:
            return
        if path == keep:
            continue
        try:
            with locked(path, path.name, wait=0):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        except (SourceError, OSError) as error:
            log.debug("%s stays in the cache: %s", path.name, error)
            continue
        total -= sizes[path]
        log.info("evicted %s from the cache (cache_size is %d bytes)", path.name, access.cache_size)


def _size(path: Path) -> int:
    try:
        if path.is_dir():
            return sum(inner.stat().st_size for inner in path.rglob("*") if inner.is_file())
        return path.stat().st_size
    except OSError:  # another process removed it
        return 0


def _last_use(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def check_file(path: Path, digests: dict[str, str], name: str) -> None:
    """Check a file against every known digest of its archive: ``sha2-256``, ``dandi-etag``, ``md5``.

    Raises:
        SourceError: if one differs; the message names both.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "x"
        >>> _ = path.write_bytes(b"abc")
        >>> check_file(path, {"dandi-etag": "af5da9f45af7a300e3aded972f8ff687-1"}, "x")
    """
    size = path.stat().st_size
    known = {kind: make(size) for kind, make in _MAKERS.items() if kind in digests}
    with path.open("rb") as file:
        while known and (block := file.read(BLOCK)):
            for digest in known.values():
                digest.update(block)
    for kind, digest in known.items():
        found = digest.hexdigest() if size or kind != "dandi-etag" else EMPTY_ETAG
        if found != digests[kind].lower():
            raise SourceError(
                f"{name}: {kind} is {found}: expected {digests[kind]}, the archive's digest; the download was discarded"
            )


def _etag(size: int) -> Any:
    from dandischema.digests.dandietag import ETagHashlike

    return ETagHashlike(size)


_MAKERS: dict[str, Callable[[int], Any]] = {
    "sha2-256": lambda size: hashlib.sha256(),
    "md5": lambda size: hashlib.md5(usedforsecurity=False),
    "dandi-etag": _etag,
}
