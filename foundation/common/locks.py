"""Half-written files and folders on a local disk: a writer holds a lock on its own as long as it lives.

What is being written is called ``.<name>.<random>.part`` and is locked (flock). The system drops the lock with the
process, however that ends, so what can be locked has lost its writer. Where a file system has no such locks, age
decides.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

PART = ".part"
SYNCS = 16
OLD = 24 * 3600.0  # seconds after which a part that cannot be locked counts as left behind


@contextmanager
def part_folder(target: Path) -> Iterator[Path]:
    """A new folder beside ``target`` to write into and rename; removed at the end if it is still there."""
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


def write_whole(target: Path, content: bytes) -> None:
    """Write a file so that readers see the old one or the new one, also after a power cut."""
    target.parent.mkdir(parents=True, exist_ok=True)
    while True:
        part = _part_of(target)
        part.touch(exist_ok=False)
        handle = _hold(part, os.O_WRONLY)
        if handle is not None:
            break
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def onto_disk(folder: Path, below: bool = True) -> None:
    """Have the system write a folder's names, and all files and folders below it, to the disk before going on.

    What is committed afterwards is then whole after a power cut too. Many are asked for at a time, as a journal writes
    them together: some 15 ms for a small recording, a tenth of what one after another takes.
    """
    with ThreadPoolExecutor(SYNCS) as pool:
        for _ in pool.map(_sync, [*(folder.rglob("*") if below else ()), folder]):
            pass


def _sync(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        if path.is_dir():  # on Windows folders cannot be opened
            return
        raise
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # a file system that cannot
            raise
    finally:
        os.close(handle)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on a file that is there; only one process at a time passes."""
    with open(path, "rb+") as file:
        if fcntl is not None:
            with suppress(OSError):  # a file system without locks: better without than not at all
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_part(name: str) -> bool:
    """Whether a file's or folder's name is that of something half-written."""
    return name.endswith(PART)


def remove_if_left(part: Path, older_than: float = OLD) -> bool:
    """Remove a part whose writer is gone; return whether it was.

    Args:
        part: the file or folder.
        older_than: seconds since its last change after which it counts as left behind where locks cannot tell.
    """
    try:
        handle = os.open(part, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        if fcntl is None:
            raise OSError("no locks")
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return False
    except OSError:
        if time.time() - _last_change(part) < older_than:
            os.close(handle)
            return False
    try:
        # Its name may have become the target's while we were asking.
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
    """An open, locked handle; None if someone who clears up was quicker."""
    try:
        handle = os.open(part, flags)
    except FileNotFoundError:
        return None
    if fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError:
            return handle
    # Between our opening and our locking it may have been removed.
    if not part.exists():
        os.close(handle)
        return None
    return handle


def _last_change(part: Path) -> float:
    paths = [part, *part.rglob("*")] if part.is_dir() else [part]
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)
