"""Temporary folders: private ones that no other user can write, and ones with paths short enough for sockets."""

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
    """Return the folder, which is made if it is missing, once it is certain that only this user can write to it.

    Folders for temporary files are shared: another user may have made a folder, or a link, under a name that is easy to
    guess.

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


# Bytes that the path of a Unix socket may have.
SOCKET_BYTES = 103 if sys.platform == "darwin" else 107
# Those that Python's multiprocessing adds to its folder: /pymp-12345678/listener-12345678.
PYTHON_BYTES = 34


def is_short(folder: Path, added: int) -> bool:
    """Whether a socket below a folder has a path that is short enough.

    Args:
        folder: where it is made.
        added: bytes that its program adds to the folder.

    Example:
        >>> is_short(Path("/tmp"), PYTHON_BYTES), is_short(Path("/tmp/" + 100 * "x"), PYTHON_BYTES)
        (True, False)
    """
    return len(os.fsencode(str(folder.absolute()))) + added <= SOCKET_BYTES


def short_folder() -> Path:
    """Return a folder with a short path that only this user can write to; it is made if it is missing.

    Raises:
        FoundationError: if it cannot be used.
    """
    folder = Path("/tmp") / f"foundation-{os.getuid()}"
    try:
        return private_folder(folder)
    except OSError as error:
        raise FoundationError(
            f"the folder for temporary files, {tempfile.gettempdir()!r}, has too long a path for sockets, and "
            f"{str(folder)!r} cannot be used ({error}): set TMPDIR to a folder with a path of 30 bytes or fewer"
        ) from error


def shorten_sockets() -> None:
    """Have the multiprocessing of this process, and of those that it starts, make its sockets where paths are short."""
    config: dict[str, Any] = vars(process.current_process())["_config"]
    if "tempdir" in config or is_short(Path(tempfile.gettempdir()), PYTHON_BYTES):
        return
    folder = tempfile.mkdtemp(prefix="pymp-", dir=short_folder())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    config["tempdir"] = folder
