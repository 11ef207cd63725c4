"""Locks on a local disk, and half-written files and folders, each locked by its writer.

A file or folder being written is called ``.<name>.<random>.part`` and is locked (flock). The system drops the lock when
the process ends, so a part that can be locked has lost its writer. On file systems without locks, age decides.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import Timeout, lock_descriptor

from foundation.common.errors import FoundationError

PART = ".part"
SYNCS = 16
LOOK_EVERY = 0.01  # seconds between two attempts to take a lock
OLD = 24 * 3600.0  # seconds after which a part on a file system without locks counts as left behind


@contextmanager
def part_folder(target: Path) -> Iterator[Path]:
    """Yield a new folder beside ``target`` to fill and rename; remove it at the end if it still exists."""
    target.parent.mkdir(parents=True, exist_ok=True)
    while True:
        part = _part_of(target)
        part.mkdir()
        handle = _hold(part, os.O_RDONLY)
        if handle is not None:
            break
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)
        os.close(handle)


@contextmanager
def whole_folder(target: Path, replace: bool = False) -> Iterator[Path]:
    """Yield a new folder to fill, and move it to ``target`` when the block ends, complete and flushed to disk.

    Args:
        target: where the folder will be.
        replace: replace an existing folder. By default it stays, because another process wrote the same content.
    """
    with part_folder(target) as part:
        yield part
        onto_disk(part)
        if replace:
            shutil.rmtree(target, ignore_errors=True)
        try:
            os.rename(part, target)
        except OSError:
            if replace or not target.exists():
                raise
        _sync(target.parent)


def put_in_place(part: Path, target: Path) -> None:
    """Rename a finished file or folder once all its bytes are on the disk.

    Raises:
        OSError: if the part cannot be renamed.
    """
    onto_disk(part)
    os.replace(part, target)
    _sync(target.parent)


@contextmanager
def whole_file(target: Path, private: bool = False) -> Iterator[Path]:
    """Yield a file to write, and put it at ``target`` when the block ends: readers see the old file or the new one.

    File and folder are flushed to disk before this returns, so the new file survives a power cut.

    Args:
        target: where the file will be.
        private: only the owner can read the file, from its first byte on.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    while True:
        part = _part_of(target)
        part.touch(mode=0o600 if private else 0o666, exist_ok=False)
        handle = _hold(part, os.O_RDWR)
        if handle is not None:
            break
    try:
        yield part
        os.fsync(handle)
        os.replace(part, target)
        _sync(target.parent)
    finally:
        part.unlink(missing_ok=True)
        os.close(handle)


def write_whole(target: Path, content: bytes | str, private: bool = False) -> None:
    """Write a file atomically, also across a power cut; see `whole_file`.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "new" / "token"
        >>> write_whole(path, "s3cret", private=True)
        >>> path.read_text(), oct(path.stat().st_mode & 0o777)
        ('s3cret', '0o600')
    """
    with whole_file(target, private) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def onto_disk(folder: Path) -> None:
    """Flush a file, or a folder and everything below it, to disk.

    Commits written afterwards are then complete even after a power cut. Files are flushed in parallel, so that the
    journal writes them together: some 15 ms for a small recording, a tenth of the time that one after another takes.
    """
    with ThreadPoolExecutor(SYNCS) as pool:
        for _ in pool.map(_sync, [*folder.rglob("*"), folder]):
            pass


def _sync(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        if path.is_dir():  # Windows cannot open folders
            return
        raise
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # unsupported by the file system
            raise
    finally:
        os.close(handle)


@contextmanager
def file_lock(path: Path, patience: float = math.inf, create: bool = True) -> Iterator[bool]:
    """Hold an exclusive lock on a file; the system releases it when the process ends.

    Args:
        path: the file; its content stays unchanged.
        patience: seconds to wait for another process that holds the lock.
        create: make the file if it is missing.

    Yields:
        False if the file system has no locks; then nothing is held.

    Raises:
        Timeout: if another process still holds the lock after ``patience`` seconds.
        OSError: if the file cannot be opened.
    """
    with open(path, "ab" if create else "rb+") as file:
        end = time.monotonic() + patience
        is_held = _try_lock(file.fileno())
        while is_held is False:
            if time.monotonic() > end:
                raise Timeout(str(path))
            time.sleep(LOOK_EVERY)
            is_held = _try_lock(file.fileno())
        yield bool(is_held)


@contextmanager
def folder_lock(folder: Path, patience: float) -> Iterator[None]:
    """Hold the folder of a run by the lock of its file ``.lock``; the folder is created if missing.

    Raises:
        FoundationError: if another process still writes to the folder after ``patience`` seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock(folder / ".lock", patience))
        except Timeout:
            raise FoundationError(
                f"another run is writing to {folder}: wait for it, stop it, or name another output"
            ) from None
        yield


def is_part(name: str) -> bool:
    """Return True if a file's or folder's name marks it as half-written."""
    return name.endswith(PART)


def remove_if_left(part: Path, older_than: float = OLD) -> bool:
    """Remove a part whose writer is gone; return True if it was removed.

    Args:
        part: the file or folder.
        older_than: seconds since its last change after which it counts as left behind on file systems without locks.
    """
    try:
        handle = os.open(part, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        is_held = _try_lock(handle)
        if is_held is False or (is_held is None and time.time() - _last_change(part) < older_than):
            return False
        # It may have been renamed to its target meanwhile.
        if not part.exists():
            return False
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)
        return True
    finally:
        os.close(handle)


def _part_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}{PART}")


def _hold(part: Path, flags: int) -> int | None:
    """Return an open, locked handle; None if a cleaning process was faster."""
    try:
        handle = os.open(part, flags)
    except FileNotFoundError:
        return None
    is_held = _try_lock(handle)
    # It may have been removed between opening and locking.
    if is_held is False or (is_held and not part.exists()):
        os.close(handle)
        return None
    return handle


def _try_lock(handle: int) -> bool | None:
    """Return True if an open file or folder could be locked at once; None if the file system has no locks."""
    try:
        return lock_descriptor(handle, blocking=False)
    except OSError:
        return None


def _last_change(part: Path) -> float:
    paths = [part, *part.rglob("*")] if part.is_dir() else [part]
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)
