"""Checkpoints behind an fsspec URL: fetched once, verified, and then available from the cache without a network.

A URL does not identify its content, so each use asks the server for the version of the files (etag, modification time,
size). If the version is unchanged, or the server is unreachable, the cached copy is used; the latter is logged.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from pathlib import Path
from typing import Any

import fsspec

from foundation.common.credentials import without_secrets
from foundation.common.errors import CheckpointError
from foundation.common.files.locks import write_whole
from foundation.hub.checkpoint_cache import (
    held_checkpoint,
    is_offline,
    key_of,
    note_of,
    offline_error,
    part_of,
    put_checkpoint,
)
from foundation.hub.checkpoint_cache import write_note as write_note_of
from foundation.hub.checkpoint_files import BESIDE, FILES, MANIFEST, file_digest, missing, reason_of, shown

log = logging.getLogger(__name__)
BLOCK = 1 << 20
ATTEMPTS = 5  # attempts in a row without progress
FIRST_PAUSE = 0.2  # seconds
VERSION_FIELDS = (
    "etag",
    "content-md5",
    "digest",
    "last-modified",
    "lastmodified",
    "mtime",
    "created",
    "updated",
    "md5",
)
BROKEN = (
    "ServerDisconnectedError",
    "ClientOSError",
    "ClientPayloadError",
    "ConnectionResetError",
    "ServerTimeoutError",
)
LONGEST_BESIDE = 1 << 22  # bytes


class RemoteFolder:
    """A checkpoint's files on an fsspec file system.

    Args:
        url: of its folder, or of the output folder of a run. A query (of a presigned URL) goes to each file.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.fs, root = fsspec.core.url_to_fs(url)
        self.root, mark, query = root.partition("?") if url.startswith("http") else (root, "", "")
        self.query = mark + query
        self._folder: str | None = None

    def path(self, *parts: str) -> str:
        """Return the path of a file in the folder."""
        return "/".join([self.root.rstrip("/"), *filter(None, parts)]) + self.query

    @property
    def folder(self) -> str:
        """Return ``''``, or ``model`` if that folder holds the files."""
        if self._folder is None:
            for folder in ("", "model"):
                if all(self.fs.exists(self.path(folder, file)) for file in FILES):
                    self._folder = folder
                    break
            else:
                raise CheckpointError(missing(self.url))
        return self._folder

    def versions(self) -> dict[str, dict[str, str]]:
        """Return for each file a version that changes with its content, if the server has one.

        Raises:
            CheckpointError: if there is no checkpoint.
            OSError: or another error of the file system, if the server cannot be reached.
        """
        self.fs.invalidate_cache()
        try:
            found = {file: self.fs.info(self.path(self._folder or "", file)) for file in FILES}
        except FileNotFoundError as error:
            # fsspec raises this for any HTTP failure, including an unreachable server.
            cause = error.__cause__
            if cause is not None and self.url.startswith("http") and not 400 <= getattr(cause, "status", 0) < 500:
                raise cause from None
            found = {file: self.fs.info(self.path(self.folder, file)) for file in FILES}
        self._folder = self._folder or ""
        return {file: _version(info) for file, info in found.items()}

    def stated(self) -> dict[str, str]:
        """Return name -> sha256 of the files in the manifest of a run's checkpoint; empty without a manifest."""
        root = self.root.rstrip("/") if self.folder else self.root.rstrip("/").removesuffix("/model")
        try:
            files = json.loads(self.fs.cat_file(f"{root}/{MANIFEST}{self.query}"))["files"]
            return {file: str(files[f"model/{file}"]) for file in FILES if f"model/{file}" in files}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def text_beside(self, file: str) -> str | None:
        """Return the text of a small file of the checkpoint's run; None if the file is missing."""
        for folder in dict.fromkeys(("", self.folder)):
            try:
                content: bytes = self.fs.cat_file(self.path(folder, file))
            except (OSError, ValueError, ImportError):
                continue
            return content.decode("utf-8", "replace")
        return None


def fetch_url(url: str, wanted: str = "", source: str = "") -> tuple[str, Path]:
    """Return the digest and the local folder of the checkpoint behind a URL; see the module's docstring.

    Args:
        url: any URL that fsspec opens.
        wanted: the pinned sha256; if the cache holds it, no request is sent.
        source: where the sha256 is pinned, for messages.

    Raises:
        CheckpointError: if there is no such checkpoint, it cannot be fetched, or its bytes differ from the stated ones.
    """
    pinned = held_checkpoint(wanted)
    if pinned is not None:
        return wanted, pinned
    key = key_of(url)
    note = note_of(key)
    known = None if note is None or (wanted and note["digest"] != wanted) else held_checkpoint(note["digest"])
    if is_offline():
        if note is None or known is None:
            raise offline_error(shown(url))
        return note["digest"], known
    try:
        place = RemoteFolder(url)
        versions = _persistently(place.versions, url)
        if note is not None and known is not None and _same(note.get("versions"), versions):
            return note["digest"], known
        return _fetch(place, key, versions, wanted, source)
    except CheckpointError:
        raise
    except Exception as error:  # any error of a file system's client: no such host, no credentials, no package
        why = reason_of(error)
        if note is None or known is None:
            raise CheckpointError(f"cannot fetch {shown(url)}: {why}") from error
        log.warning("%s cannot be reached (%s): the copy of %s is used", shown(url), why, note.get("time"))
        return note["digest"], known


def _fetch(
    place: RemoteFolder, key: str, versions: dict[str, dict[str, str]], wanted: str, source: str
) -> tuple[str, Path]:
    with part_of(key) as folder:
        note = note_of(key)  # another process may have been faster
        known = held_checkpoint(note["digest"]) if note and _same(note.get("versions"), versions) else None
        if note is not None and known is not None and wanted in ("", note["digest"]):
            return note["digest"], known
        begun = folder / "versions.json"
        if not begun.is_file() or not _same(json.loads(begun.read_text()), versions):
            for path in folder.iterdir():
                path.unlink()
            write_whole(begun, json.dumps(versions))
        for file in FILES:
            _download(place, place.path(place.folder, file), folder / file, _size(versions[file]))
        for file, digest in place.stated().items():
            if file_digest(folder / file) != digest:
                shutil.rmtree(folder)
                raise CheckpointError(
                    f"{file} of {shown(place.url)} has other bytes than its run wrote: it is damaged there; fetch "
                    "another of the run's checkpoints, or write this one again"
                )
        for file in BESIDE:
            _fetch_beside(place, file, folder / file)
        try:
            digest, target = put_checkpoint(folder, place.url, wanted, source)
        except CheckpointError:
            shutil.rmtree(folder, ignore_errors=True)  # do not resume from wrong bytes
            raise
        write_note_of(key, {"name": shown(place.url), "digest": digest, "versions": versions})
        return digest, target


def _download(place: RemoteFolder, path: str, target: Path, size: int | None) -> None:
    """Fetch a file, resuming an earlier attempt; a broken connection is opened again.

    Raises:
        OSError: or another error of the file system, after `ATTEMPTS` attempts without progress.
    """
    failures, pause = 0, FIRST_PAUSE
    while True:
        have = target.stat().st_size if target.exists() else 0
        try:
            if size is None or have != size:
                _advance(place, path, target, have)
            break
        except Exception as error:  # each file system has its own errors
            came = (target.stat().st_size if target.exists() else 0) - have
            failures, pause = (0, FIRST_PAUSE) if came > 0 else (failures + 1, 2 * pause)
            if isinstance(error, FileNotFoundError | PermissionError) or failures >= ATTEMPTS:
                raise
            log.info("%s: the connection broke (%s): again", shown(path), type(error).__name__)
            time.sleep(pause)


def _advance(place: RemoteFolder, path: str, target: Path, have: int) -> None:
    with place.fs.open(path, "rb", block_size=BLOCK, cache_type="readahead") as remote:
        length = getattr(remote, "size", None)
        if have and length is not None and have <= length:
            try:
                remote.seek(have)
            except (OSError, ValueError, NotImplementedError):  # a server without ranges: from the beginning
                have = 0
        else:
            have = 0
        with open(target, "r+b" if target.exists() else "w+b") as file:
            file.truncate(have)
            file.seek(have)
            while block := remote.read(BLOCK):
                file.write(block)
                file.flush()
            if length is not None and file.tell() != length:
                raise OSError(f"{shown(path)} ended after {file.tell()} of {length} bytes")


def _fetch_beside(place: RemoteFolder, file: str, target: Path) -> None:
    try:
        path = place.path(place.folder, file)
        if place.fs.exists(path) and int(place.fs.info(path).get("size") or 0) <= LONGEST_BESIDE:
            target.write_bytes(place.fs.cat_file(path))
    except Exception as error:  # optional file
        log.debug("%s of %s is left out: %s", file, shown(place.url), without_secrets(str(error)))


def _persistently(action: Any, url: str) -> Any:
    """Return the result of an action; a broken connection is opened again, a refused one is not."""
    for attempt in range(ATTEMPTS):
        try:
            return action()
        except Exception as error:
            if attempt + 1 == ATTEMPTS or type(error).__name__ not in BROKEN:
                raise
            log.info("%s: the connection broke (%s): again", shown(url), type(error).__name__)
            time.sleep(FIRST_PAUSE * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


def _same(known: Any, versions: dict[str, dict[str, str]]) -> bool:
    """Return True if the files are unchanged; False if the server does not show it."""
    return bool(known == versions and all(versions.values()))


def _version(info: dict[str, Any]) -> dict[str, str]:
    """Return the version in a file's description, and its size; empty if only the size is known."""
    found = {name.lower(): str(value) for name, value in info.items() if name.lower() in VERSION_FIELDS and value}
    return found | {"size": str(info["size"])} if found and info.get("size") is not None else found


def _size(version: dict[str, str]) -> int | None:
    return int(version["size"]) if "size" in version else None
