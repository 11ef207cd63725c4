"""NWB files by folder, glob, path or fsspec URL."""

from __future__ import annotations

from dataclasses import dataclass

import fsspec

from foundation.errors import SourceError

SUFFIX = ".nwb"


@dataclass(frozen=True)
class SourceFile:
    """One file to be ingested.

    Args:
        url: where its bytes are: a local path or an fsspec URL.
        path: its name for people and for the store, relative to what was asked for.
        size: bytes, 0 if that is not known.
        namespace: tells its subject apart from others of the same name; ``''`` outside an archive.
    """

    url: str
    path: str
    size: int = 0
    namespace: str = ""


def find_files(source: str) -> list[SourceFile]:
    """The NWB files that ``source`` names, sorted by path.

    Args:
        source: a file, a folder (searched to any depth), a glob, or an fsspec URL of any of these.

    Raises:
        SourceError: if nothing is there, or no NWB file is in it.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "sub-a").mkdir(), (folder / "sub-a" / "x.nwb").touch(), (folder / "notes.txt").touch()
        >>> [file.path for file in find_files(str(folder))]
        ['sub-a/x.nwb']
    """
    try:
        fs, root = fsspec.core.url_to_fs(source)
        if any(c in source for c in "*?[") and not fs.exists(root):
            found, base = fs.glob(root, detail=True), _fixed_part(root)
        elif fs.isdir(root):
            found, base = fs.find(root, detail=True), root
        elif fs.exists(root):
            found, base = {root: fs.info(root)}, root.rpartition("/")[0]
        else:
            raise SourceError(f"there is nothing at {source!r}: give a file, a folder, a glob or a URL")
    except (ImportError, ValueError, OSError) as error:
        raise SourceError(f"cannot look for files at {source!r}: {error}") from error
    # A file that was named is taken whatever its name ends in; reading it will tell.
    paths = sorted(path for path in found if path.endswith(SUFFIX) or path == root)
    if not paths:
        raise SourceError(f"no NWB file at {source!r}: names must end in {SUFFIX}")
    local = "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,))
    prefix = base.rstrip("/") + "/"
    urls = [path if local else fs.unstrip_protocol(path) for path in paths]
    sizes = [int(found[path].get("size") or 0) for path in paths]
    names = [path.removeprefix(prefix) for path in paths]
    return [SourceFile(*parts) for parts in zip(urls, names, sizes, strict=True)]


def _fixed_part(pattern: str) -> str:
    """The folder before a glob's first wildcard."""
    fixed = pattern[: min(pattern.index(c) for c in "*?[" if c in pattern)]
    return fixed.rpartition("/")[0]
