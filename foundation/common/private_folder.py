"""A folder for temporary files that no other user can write."""

from __future__ import annotations

import os
import stat
from pathlib import Path


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
