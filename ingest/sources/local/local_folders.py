"""Search local folders: links are followed without loops, and skipped files are reported."""

from __future__ import annotations

import logging
import os
import stat
from dataclasses import dataclass, field
from typing import Any

from ingest.nwb.file.file_kind import ANNEX_HINT, ANNEX_POINTER

log = logging.getLogger(__name__)

SUFFIX = ".nwb"
ZARR_SUFFIXES = (".nwb", ".nwb.zarr", ".zarr")
ZARR_MARKS = (".zgroup", ".zmetadata")
NAMED = 3  # paths listed in a message
# Part of the target of a git-annex link to content that is not present.
ANNEX_LINK = "annex/objects"


@dataclass
class Found:
    """The files that a search found and skipped.

    Args:
        files: path -> fsspec's info: size and type.
        hidden: skipped NWB files and folders with dot names: AppleDouble files, notebook checkpoints, ``.git``.
        again: links to folders that were already searched, or to a parent.
        closed: unreadable folders.
        absent: links to missing files.
        special: pipes, sockets and devices named like an NWB file.
    """

    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)

    def remarks(self) -> list[str]:
        """Return messages about skipped files."""
        parts = [
            ("skipped, hidden by a leading dot", self.hidden),
            ("skipped, links to folders already searched", self.again),
            ("skipped, no permission to read", self.closed),
            (f"skipped, links to missing files (of git-annex: {ANNEX_HINT})", self.absent),
            ("skipped, not regular files", self.special),
        ]
        return [f"{text}: {_examples(paths)}" for text, paths in parts if paths]


def search(roots: list[str]) -> Found:
    """Find the files below folders, following links; each folder is searched once.

    Args:
        roots: the folders.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "day1").mkdir(), (folder / "day1" / "a.nwb").touch(), (folder / "day1" / "._a.nwb").touch()
        (None, None, None)
        >>> (folder / "loop").symlink_to(folder)
        >>> found = search([str(folder)])
        >>> [os.path.basename(path) for path in found.files], [os.path.basename(path) for path in found.hidden]
        (['a.nwb'], ['._a.nwb'])
        >>> [os.path.basename(path) for path in found.again]
        ['loop']
    """
    found = Found()
    seen: set[tuple[int, int]] = set()
    # Search real folders before links, so that a folder is listed under its own name.
    waiting = sorted(roots, key=os.path.islink)
    while waiting:
        folder = waiting.pop(0)
        if (identity := _identity(folder)) in seen:
            found.again.extend([folder] if os.path.islink(folder) else [])
            continue
        seen.add(identity)
        below, links = _scan(folder, found, named=folder in roots)
        waiting = [*below, *waiting, *links]
    return found


def is_hidden(path: str) -> bool:
    """Return whether a name in a relative path begins with a dot.

    Example:
        >>> is_hidden("sub-a/._x.nwb"), is_hidden(".git/annex/x.nwb"), is_hidden("sub-a/x.nwb")
        (True, True, False)
    """
    return any(part.startswith(".") for part in path.split("/"))


def why_absent(path: str) -> str:
    """Return why a local file has no content, with a hint; ``''`` if it has content.

    Example:
        >>> why_absent(os.devnull)
        ''
    """
    if os.path.islink(path) and not os.path.exists(path):
        target = os.readlink(path)
        if ANNEX_LINK not in target:
            return f"is a link to {target!r}, which does not exist"
    else:
        try:
            if not os.path.isfile(path):  # opening a pipe would block
                return ""
            with open(path, "rb") as file:
                if not file.read(100).startswith(ANNEX_POINTER):
                    return ""
        except OSError:
            return ""
    return f"content is not fetched from git-annex: {ANNEX_HINT}"


def _scan(folder: str, found: Found, named: bool) -> tuple[list[str], list[str]]:
    """Record a folder's files; return its subfolders and links to folders."""
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError:
        found.closed.append(folder)
        return [], []
    marked = any(entry.name in ZARR_MARKS for entry in entries)
    if marked and (named or folder.endswith(ZARR_SUFFIXES)):
        _take_zarr(folder, found)
        return [], []
    below: list[str] = []
    links: list[str] = []
    for entry in entries:
        path = f"{folder.rstrip('/')}/{entry.name}"
        is_folder, is_link = entry.is_dir(), entry.is_symlink()
        if entry.name.startswith("."):
            if is_folder or entry.name.endswith(SUFFIX):
                found.hidden.append(path)
        elif is_folder:
            (links if is_link else below).append(path)
        else:
            _take(path, entry, found)
    return below, links


def _take(path: str, entry: os.DirEntry[str], found: Found) -> None:
    try:
        status = entry.stat()
    except OSError:
        if entry.is_symlink():
            found.absent.extend([path] if path.endswith(SUFFIX) else [])
        status = None
    if status is not None and not stat.S_ISREG(status.st_mode):
        found.special.extend([path] if path.endswith(SUFFIX) else [])
        return
    found.files[path] = {"name": path, "size": status.st_size if status else 0, "type": "file"}


def _take_zarr(folder: str, found: Found) -> None:
    """Record every file of a Zarr folder; links to folders are not followed."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = f"{place}/{name}"
            size = os.lstat(path).st_size
            found.files[path] = {"name": path, "size": size, "type": "file"}


def _identity(folder: str) -> tuple[int, int]:
    """Return a folder's identity (device, inode); (0, 0) if it no longer exists."""
    try:
        status = os.stat(folder)
    except OSError:
        return (0, 0)
    return (status.st_dev, status.st_ino)


def _examples(paths: list[str]) -> str:
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return ", ".join(paths[:NAMED]) + more
