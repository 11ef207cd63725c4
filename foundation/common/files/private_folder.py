"""Temporary folders that no other user can write to, and folders with paths short enough for sockets."""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import sys
import tempfile
from multiprocessing import process
from pathlib import Path
from typing import Any

from foundation.common.errors import FoundationError


def private_folder(folder: Path) -> Path:
    """Return a folder that only this user can write to; create it if missing.

    Folders for temporary files are shared: another user may have created a folder or a link under a guessable name.

    Raises:
        OSError: if the folder cannot be made, is a link or a file, or other users own it or can write to it.

    Example:
        >>> import tempfile
        >>> folder = private_folder(Path(tempfile.mkdtemp()) / "mine")
        >>> folder.chmod(0o777)
        >>> private_folder(folder)
        Traceback (most recent call last):
        ...
        PermissionError: ...: expected a folder that only this user can write to
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(f"{folder}: expected a folder that only this user can write to")
    return folder


# Most bytes of a Unix socket's path.
SOCKET_BYTES = 103 if sys.platform == "darwin" else 107
# Bytes that Python's multiprocessing adds to its folder: /pymp-12345678/listener-12345678.
PYTHON_BYTES = 34


def is_short(folder: Path, added: int) -> bool:
    """Return True if the path of a socket below a folder is short enough.

    Args:
        folder: the folder.
        added: bytes that its program adds to the folder.

    Example:
        >>> is_short(Path("/tmp"), PYTHON_BYTES), is_short(Path("/tmp/" + 100 * "x"), PYTHON_BYTES)
        (True, False)
    """
    return len(os.fsencode(str(folder.absolute()))) + added <= SOCKET_BYTES


def short_folder() -> Path:
    """Return a folder with a short path that only this user can write to; create it if missing.

    Raises:
        FoundationError: if the folder cannot be used.
    """
    folder = Path("/tmp") / f"foundation-{os.getuid()}"
    try:
        return private_folder(folder)
    except OSError as error:
        raise FoundationError(
            f"the path of the folder for temporary files, {tempfile.gettempdir()!r}, is too long for sockets, and "
            f"{str(folder)!r} cannot be used ({error}): set TMPDIR to a folder with a path of 30 bytes or fewer"
        ) from error


def shorten_sockets() -> None:
    """Make multiprocessing, in this process and its children, create its sockets in a folder with a short path."""
    config: dict[str, Any] = vars(process.current_process())["_config"]
    if "tempdir" in config or is_short(Path(tempfile.gettempdir()), PYTHON_BYTES):
        return
    folder = tempfile.mkdtemp(prefix="pymp-", dir=short_folder())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    config["tempdir"] = folder
