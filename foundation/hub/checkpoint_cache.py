"""The cache of fetched checkpoints, by digest; all processes of a machine share it, and a lab can share it too.

::

    <cache>/<digest>/       config.json, model.safetensors, README.md: complete, verified and never changed
    <cache>/names/<key>     JSON: the digest of a URL or a registered version, and the version of its files
    <cache>/parts/<key>/    an unfinished download; the next process resumes it
    <cache>/locks/<key>     held by the process that downloads, whose name it contains

All files are readable by everyone who can read the cache's folder, regardless of the writing process's umask.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import Timeout

from foundation.common.errors import CheckpointError
from foundation.common.files.locks import PART, file_lock, remove_if_left, whole_file, whole_folder
from foundation.hub.checkpoint_files import BESIDE, FILES, check_digest, digest_of, is_checkpoint

FOLDER, PATIENCE, OFFLINE = "FOUNDATION_CHECKPOINT_CACHE", "FOUNDATION_LOCK_SECONDS", "FOUNDATION_OFFLINE"
DEFAULT_PATIENCE = 1800.0


def cache_folder() -> Path:
    """Return $FOUNDATION_CHECKPOINT_CACHE, or ``foundation/checkpoints`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    given = os.environ.get(FOLDER)
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foundation" / "checkpoints"


def is_offline() -> bool:
    """Return True if $FOUNDATION_OFFLINE, $HF_HUB_OFFLINE or $TRANSFORMERS_OFFLINE forbids connections."""
    names = (OFFLINE, "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in names)


def offline_error(name: str, where: str = "the cache") -> CheckpointError:
    """Return the error for a checkpoint that is not available locally while connections are switched off."""
    return CheckpointError(
        f"{name} is not in {where}, and connections are switched off (FOUNDATION_OFFLINE or HF_HUB_OFFLINE): run "
        "`foundation pull` with them on, or name a local folder"
    )


def lock_patience() -> float:
    """Return the seconds to wait for another process's download: $FOUNDATION_LOCK_SECONDS, or half an hour.

    Raises:
        CheckpointError: if the variable does not hold a number of seconds.
    """
    given = os.environ.get(PATIENCE, "")
    try:
        seconds = float(given or DEFAULT_PATIENCE)
        if not seconds >= 0:
            raise ValueError
    except ValueError:
        raise CheckpointError(f"{PATIENCE} is {given!r}: expected a number of seconds, 0 or more") from None
    return seconds


def key_of(*parts: str) -> str:
    """Return a file name for a URL or the like, from which no part of it, such as a password, can be read.

    Example:
        >>> key_of("s3://bucket/model")
        'd270957640e91cf0b9aa7120434c3379'
    """
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def held_checkpoint(digest: str) -> Path | None:
    """Return the folder of a cached checkpoint, or None. Nothing is written or locked."""
    folder = cache_folder() / digest
    return folder if digest and is_checkpoint(folder) else None


def held_digests() -> list[str]:
    """Return the digests of all checkpoints in the cache, sorted."""
    folder = cache_folder()
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return [name for name in names if len(name) == 64 and held_checkpoint(name)]


def note_of(key: str) -> dict[str, Any] | None:
    """Return the cache's note about a name, or None; a damaged note counts as missing."""
    try:
        note = json.loads((cache_folder() / "names" / key).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) and isinstance(note.get("digest"), str) else None


def notes() -> list[dict[str, Any]]:
    """Return all notes of the cache, the newest first."""
    folder = cache_folder() / "names"
    found = [note_of(path.name) for path in folder.iterdir()] if folder.is_dir() else []
    return sorted((note for note in found if note), key=lambda note: str(note.get("time", "")), reverse=True)


def write_note(key: str, note: Mapping[str, Any]) -> None:
    """Write the cache's note about a name, with the time.

    Raises:
        CheckpointError: if the cache cannot be written.
    """
    path = cache_folder() / "names" / key
    with _writable():
        with whole_file(path) as part:
            part.write_text(json.dumps({**note, "time": _now()}, indent=1), encoding="utf-8")
        share(path)
        share(path.parent)


def put_checkpoint(folder: Path, name: str, wanted: str = "", source: str = "") -> tuple[str, Path]:
    """Move a checkpoint's files into the cache, under their digest.

    Args:
        folder: holds the files; they are moved, or removed if the cache has them.
        name: of the checkpoint, for messages.
        wanted: the required sha256; ``''``: any.
        source: where the sha256 is pinned.

    Returns:
        The digest, and the folder in the cache.

    Raises:
        CheckpointError: if the digest differs, or the cache cannot be written.
    """
    digest = digest_of(folder)
    check_digest(name, digest, wanted, source)
    target = cache_folder() / digest
    with _writable():
        for left in target.parent.glob(f".*{PART}"):  # left by a process that was killed
            remove_if_left(left)
        if held_checkpoint(digest) is None:
            with whole_folder(target, replace=target.exists()) as part:
                for file in (*FILES, *BESIDE):
                    if (folder / file).is_file():
                        shutil.move(folder / file, part / file)
                        share(part / file)
                share(part)
        shutil.rmtree(folder, ignore_errors=True)
    return digest, target


def share(path: Path) -> None:
    """Give a file or folder of the cache the permissions of the cache's own folder.

    Files of other accounts stay unchanged.
    """
    root = cache_folder().stat().st_mode & 0o777
    wanted = root if path.is_dir() else root & 0o666
    if path.stat().st_mode & 0o777 != wanted:
        with contextlib.suppress(PermissionError):
            path.chmod(wanted)


@contextmanager
def part_of(key: str) -> Iterator[Path]:
    """Yield the folder of a growing download, locked for this process.

    Raises:
        CheckpointError: if another process holds it for too long, or the cache cannot be written.
    """
    folder = cache_folder() / "parts" / key
    with held_lock(key):
        with _writable():
            folder.mkdir(parents=True, exist_ok=True)
            for path in (folder.parent, folder):
                share(path)
        yield folder


@contextmanager
def held_lock(key: str) -> Iterator[None]:
    """Hold one of the cache's locks; its file names the holder.

    Raises:
        CheckpointError: if another process holds it for longer than `lock_patience`; the message names the holder.
    """
    path = cache_folder() / "locks" / key
    with ExitStack() as stack:
        with _writable():
            path.parent.mkdir(parents=True, exist_ok=True)
            share(path.parent)
            try:
                stack.enter_context(file_lock(path, lock_patience()))
            except Timeout:
                raise CheckpointError(held_by(path)) from None
            share(path)
            path.write_text(json.dumps(_me()), encoding="utf-8")
        yield


def held_by(path: Path) -> str:
    """Return the message for a lock that was not released in time: its holder, and what to do."""
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        who = f"process {owner['pid']} of {owner['user']} on {owner['host']}, since {owner['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        who = _holder(path) or "a process that left no name"
    return (
        f"{path} is locked by {who}, and was not free within {lock_patience():g} s ({PATIENCE}): it is downloading the "
        "same checkpoint; wait for it, or end it"
    )


def _holder(path: Path) -> str:
    """Return the process of this machine that holds a lock, if the kernel shows it (Linux) and it is not ours."""
    try:
        inode = path.stat().st_ino
        rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        found = [row[4] for row in rows if len(row) > 5 and row[1] != "->" and int(row[5].rsplit(":", 1)[1]) == inode]
    except (OSError, ValueError, IndexError):
        return ""
    return f"process {found[0]} on {socket.gethostname()}" if found else ""


@contextmanager
def _writable() -> Iterator[None]:
    """Turn errors of the cache's folder into one that names it and says what to do."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise CheckpointError(
            f"the cache of checkpoints, {str(folder)!r}, cannot be written ({error.strerror or error}): name another "
            f"folder with {FOLDER}"
        ) from error


def _me() -> dict[str, Any]:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return {"pid": os.getpid(), "user": user, "host": socket.gethostname(), "since": _now()}


def _now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
