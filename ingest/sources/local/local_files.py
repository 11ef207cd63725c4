"""Find NWB files by folder, glob, path or fsspec URL."""

from __future__ import annotations

import logging
import os
from functools import partial
from typing import Any
from urllib.parse import unquote

import fsspec

from foundation.common.credentials import without_secrets_in_url
from foundation.common.errors import SourceError
from foundation.store import Source
from ingest.sources.asset import Asset, Format, entity, modalities
from ingest.sources.asset_filters import braces_hint, fixed_part, is_glob, on_the_web, web_path
from ingest.sources.http.http_session import PatientSession
from ingest.sources.http.remote_file import HttpFile
from ingest.sources.local.local_folders import (
    SUFFIX,
    ZARR_MARKS,
    ZARR_SUFFIXES,
    Found,
    is_hidden,
    search,
    why_absent,
)
from ingest.sources.source_retry import cause_of
from ingest.sources.source_settings import AccessSettings

log = logging.getLogger(__name__)


def find_local(source: str, access: AccessSettings) -> list[Asset]:
    """Return the NWB files and Zarr folders of a file system, sorted by path.

    Args:
        source: a file, a folder (searched to any depth), a glob, or an fsspec URL of any of these.
        access: retries and timeouts of requests to a web server.

    Raises:
        SourceError: if the source does not exist or holds no NWB file.
    """
    if on_the_web(source) and not is_glob(source) and not web_path(source).endswith("/"):
        return [_on_the_web(source, access)]
    try:
        fs, root = fsspec.core.url_to_fs(source)
        local = "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,))
        below = _below_local if local else partial(_below, fs)
        remarks: list[str] = []
        if is_glob(source) and not fs.exists(root):
            base = fixed_part(root)
            matched = {path: info for path, info in fs.glob(root, detail=True).items() if not _hidden(path, base, root)}
            folders = [p for p, info in matched.items() if info["type"] == "directory" or (local and os.path.isdir(p))]
            found, remarks = below(folders)
            found |= {path: info for path, info in matched.items() if path not in folders}
        elif fs.isdir(root):
            base = root.rstrip("/")
            found, remarks = below([base or root])
        elif fs.exists(root):
            found, base = {root: fs.info(root)}, root.rpartition("/")[0]
        elif local and (reason := why_absent(root)):
            raise SourceError(f"{source}: {reason}")
        else:
            hint = braces_hint(source) or ": give a file, a folder, a glob or a URL"
            raise SourceError(f"there is nothing at {source!r}{hint}")
    except SourceError:
        raise
    except Exception as error:  # each file system's client raises its own errors
        raise SourceError(f"cannot list files at {source!r}: {cause_of(error)}") from error
    found = {path: info for path, info in found.items() if info["type"] != "directory"}
    zarrs = _zarr_folders(found, base)
    if base in zarrs:  # the given folder is itself a Zarr asset
        base = base.rpartition("/")[0]
    inside = tuple(f"{folder}/" for folder in zarrs)
    # A file given by name is taken whatever its extension; reading it shows its kind.
    files = {
        path: int(info.get("size") or 0)
        for path, info in found.items()
        if (path.endswith(SUFFIX) or path == root) and not path.startswith(inside)
    }
    if not files and not zarrs:
        hint = braces_hint(source) or f": names must end in {SUFFIX}, or {SUFFIX}.zarr for a Zarr folder"
        raise SourceError("; ".join([f"no NWB file at {source!r}{hint}", *remarks]))
    for remark in remarks:
        log.info("%s: %s", source, remark)
    prefix = base.rstrip("/") + "/"
    assets = []
    for path, size in sorted((files | zarrs).items()):
        url = path if local else fs.unstrip_protocol(path)
        assets.append(asset_of(url, path.removeprefix(prefix).lstrip("/"), size, "zarr" if path in zarrs else "hdf5"))
    return assets


def _below_local(folders: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the files in local folders, and what was skipped."""
    found = search(folders)
    return found.files, found.remarks()


def _below(fs: Any, folders: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the files in folders of another file system, and what was skipped."""
    files: dict[str, Any] = {}
    for folder in folders:
        files |= fs.find(folder, detail=True)
    base = folders[0] if len(folders) == 1 else ""
    inside = tuple(f"{zarr}/" for zarr in _zarr_folders(files, base))
    found = Found()
    for path, info in files.items():
        folder = next(folder for folder in folders if path.startswith(folder))
        if path.startswith(inside) or not _hidden(path, folder):
            found.files[path] = info
        elif path.endswith(SUFFIX):
            found.hidden.append(path)
    return found.files, found.remarks()


def _hidden(path: str, base: str, pattern: str = "") -> bool:
    """Return whether to skip a file below ``base`` as hidden; a glob with a dot name finds hidden files."""
    named = is_hidden(pattern.removeprefix(base).lstrip("/"))
    folder, _, name = path.removeprefix(base).lstrip("/").rpartition("/")
    return not named and (is_hidden(folder) or (name.startswith(".") and name not in ZARR_MARKS))


def _on_the_web(url: str, access: AccessSettings) -> Asset:
    """Return one file at a URL; requests only its size, as listing would fetch it whole."""
    name = unquote(web_path(url)).rpartition("/")[2] or "asset.nwb"
    with PatientSession(access) as session:
        return asset_of(url, name, HttpFile(url, session, name).size, "hdf5")


def asset_of(url: str, path: str, size: int, kind: Format) -> Asset:
    """Build an asset outside an archive, with metadata from its name."""
    path = without_secrets_in_url(path)  # a web page may link to a file on another server
    return Asset(
        url=url,
        path=path,
        size=size,
        source=Source(path=path, digest=""),
        format=kind,
        subject=entity(path, "sub"),
        session=entity(path, "ses"),
        modality=modalities(path),
    )


def _zarr_folders(found: dict[str, Any], base: str) -> dict[str, int]:
    """Return Zarr assets -> bytes: folders with a Zarr name and group metadata, outermost first."""
    folders: dict[str, int] = {}
    for path in sorted(found):
        folder, _, name = path.rpartition("/")
        marked = name in ZARR_MARKS and (folder.endswith(ZARR_SUFFIXES) or folder == base)
        if marked and not any(folder.startswith(f"{outer}/") for outer in folders):
            folders[folder] = 0
    for path, info in found.items():
        parts = path.split("/")
        for n in range(1, len(parts)):
            folder = "/".join(parts[:n])
            if folder in folders:
                folders[folder] += int(info.get("size") or 0)
                break
    return folders
