"""The folder of downloads, shared by all processes of a machine; each is checked against the digests of its archive.

::

    <cache>/<key>         complete and checked: a file, or the folder of a Zarr asset
    <cache>/<key>.part    begun; the next run goes on from there
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
# An archive states the first two with the asset. It computes sha2-256 later: that would give a content two places.
KINDS = ("dandi-etag", "dandi-zarr-checksum", "sha2-256")
BLOCK = 1 << 22
# The etag of nothing, as S3 gives it for an upload of one empty part.
EMPTY_ETAG = "59adb24ef3cdbe0297f05b395827453f-1"


def cache_folder(access: AccessSettings) -> Path:
    """The folder of downloads; by default in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if access.cache is not None:
        return Path(access.cache).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foundation" / "assets"


def place_of(access: AccessSettings, digests: dict[str, str], identity: str) -> Path:
    """Where the complete download of a content is, or will be.

    Args:
        access: names the folder.
        digests: as stated: equal contents are kept once.
        identity: what stands for the content where no digest is stated.

    Example:
        >>> place_of(AccessSettings(cache="/c"), {"sha2-256": "../../etc"}, "").as_posix()
        '/c/sha2-256-74ccf3c5b4c19a8167f9a3d1dd63e0e4'
    """
    stated = [(kind, digests[kind].lower()) for kind in KINDS if kind in digests] or [("url", identity)]
    # The values come from a server: only their own digests become names of files.
    names = [f"{kind}-{hashlib.sha256(value.encode()).hexdigest()[:32]}" for kind, value in stated]
    places = [cache_folder(access) / name for name in names]
    # Earlier releases named a download by its sha2-256, where that was stated.
    return next((place for place in places if place.exists()), places[0])


def part_of(place: Path) -> Path:
    """Where a download grows before it is complete."""
    return place.with_name(place.name + ".part")


def free_bytes(access: AccessSettings) -> int:
    """Bytes that the cache's disk still takes."""
    folder = cache_folder(access)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return max(0, shutil.disk_usage(folder).free - SPARE)


@contextmanager
def locked(place: Path, name: str, wait: float = math.inf) -> Iterator[None]:
    """Hold an asset of the cache for this process alone; free again when the process ends, however that ends.

    Args:
        place: of the asset.
        name: for messages.
        wait: seconds until it is given up.

    Raises:
        SourceError: if the folder cannot be written, or the lock is not free in time.
    """
    unusable = f"{name}: the cache folder {str(place.parent)!r} cannot be used"
    with ExitStack() as stack:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            is_held = stack.enter_context(file_lock(place.with_name(place.name + ".lock"), wait))
        except Timeout as error:
            raise SourceError(f"{name}: another process uses it in the cache") from error
        except OSError as error:
            raise SourceError(f"{unusable}: {error}") from error
        if not is_held:
            raise SourceError(f"{unusable}: its file system has no locks")
        yield


def make_room(access: AccessSettings, keep: Path) -> None:
    """Remove downloads that were not used for longest until the cache is no larger than it may be.

    Args:
        access: folder and size.
        keep: a download that stays.
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
        log.info("removed %s from the cache, which may hold %d bytes", path.name, access.cache_size)


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
    """Check a file against every digest that is stated and known: ``sha2-256``, ``dandi-etag``, ``md5``.

    Raises:
        SourceError: if one differs; it names both.

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
                f"{name}: its {kind} is {found}, but {digests[kind]} is stated: the bytes are not the stated ones, and "
                "are not used"
            )


def _etag(size: int) -> Any:
    from dandischema.digests.dandietag import ETagHashlike

    return ETagHashlike(size)


_MAKERS: dict[str, Callable[[int], Any]] = {
    "sha2-256": lambda size: hashlib.sha256(),
    "md5": lambda size: hashlib.md5(usedforsecurity=False),
    "dandi-etag": _etag,
}
