"""Reject files that are not NWB 2: other formats, identified by their first bytes, and other NWB versions."""

from __future__ import annotations

import re
from io import RawIOBase
from typing import Any, BinaryIO

import h5py

from foundation.common.errors import SourceError
from ingest.nwb.nwb_texts import plain_text, single_text

HDF5 = b"\x89HDF\r\n\x1a\n"
# Possible offsets of HDF5's signature, after a user block such as MATLAB's of 512 bytes.
MAX_PLACE = 1 << 16
HEAD = 1024
# The pointer of git-annex in place of an unlocked file's content, and the hint.
ANNEX_POINTER = b"/annex/objects/"
ANNEX_HINT = "fetch it with `datalad get` or `git annex get`"
# First bytes -> file type and hint.
KINDS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs.github.com/", "is a git-lfs pointer, and not the file: fetch it with `git lfs pull`"),
    (ANNEX_POINTER, f"is a git-annex pointer, and not the file: {ANNEX_HINT}"),
    (b"\x1f\x8b", "is compressed by gzip: unpack it first, with `gunzip`"),
    (b"PK\x03\x04", "is a zip archive: unpack it first, with `unzip`"),
    (b"PK\x05\x06", "is an empty zip archive"),
    (b"BZh", "is compressed by bzip2: unpack it first, with `bunzip2`"),
    (b"\xfd7zXZ\x00", "is compressed by xz: unpack it first, with `unxz`"),
    (b"\x28\xb5\x2f\xfd", "is compressed by zstd: unpack it first, with `unzstd`"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive: unpack it first"),
    (b"Rar!", "is a RAR archive: unpack it first"),
    (b"MATLAB 5.0 MAT-file", "is a MATLAB file without NWB: write it with matnwb"),
    (b"\x93NUMPY", "is a NumPy array: write it as NWB with pynwb"),
    (b"CDF\x01", "is a NetCDF file: expected NWB"),
    (b"CDF\x02", "is a NetCDF file: expected NWB"),
    (b"%PDF", "is a PDF document"),
    (b"PAR1", "is a Parquet table: expected NWB"),
)


def refuse_other_kinds(file: BinaryIO | RawIOBase) -> None:
    """Raise unless a file is HDF5, naming its real format.

    Args:
        file: open and seekable; reset to its beginning.

    Raises:
        SourceError: naming the file's format and what to do.

    Example:
        >>> import io
        >>> refuse_other_kinds(io.BytesIO(HDF5 + bytes(100)))
        >>> refuse_other_kinds(io.BytesIO(b"<!DOCTYPE html><html><body>Sign in</body></html>"))
        Traceback (most recent call last):
        foundation.common.errors.SourceError: not a readable NWB file: it is a web page, and not the file: ...
    """
    file.seek(0)
    head = file.read(HEAD) or b""
    place = 0
    while place <= MAX_PLACE:
        file.seek(place)
        if file.read(len(HDF5)) == HDF5:
            file.seek(0)
            return
        place = max(512, 2 * place)
    file.seek(0)
    raise SourceError(f"not a readable NWB file: it {kind_of(head)}")


def kind_of(head: bytes) -> str:
    r"""Return the format of a file that is not HDF5, with a hint.

    Args:
        head: its first kilobyte, or all of it.

    Example:
        >>> kind_of(b""), kind_of(b"\x1f\x8b\x08")
        ('is empty: fetch or copy it again', 'is compressed by gzip: unpack it first, with `gunzip`')
    """
    if not head:
        return "is empty: fetch or copy it again"
    for begin, what in KINDS:
        if head.startswith(begin):
            return what
    if head[257:262] == b"ustar":
        return "is a tar archive: unpack it first, with `tar -xf`"
    if not head.strip(b"\0"):
        return "begins with zeros where HDF5 begins: it was copied or fetched in part; fetch it again"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:60].decode("utf-8", "replace")
    if text.lower().startswith(("<!doctype html", "<html", "<head", "<!--")):
        return "is a web page, and not the file: fetch the file that the page offers; a sign-in may be needed"
    if text.startswith("<?xml"):
        return "is XML, such as a server's message of an error, and not the file: fetch it again"
    if text.startswith(("{", "[")):
        return "is JSON, such as a server's message of an error, and not the file: fetch it again"
    if "\ufffd" not in text:
        return f"is text that begins with {' '.join(text.split())[:40]!r}, not HDF5"
    return f"is not HDF5: it begins with the bytes {head[:8].hex(' ')}"


def refuse_other_versions(version: Any) -> None:
    """Raise unless the version is NWB 2.

    Args:
        version: the file's version, for example ``2.6.0`` or ``NWB-1.0.5``; None if missing.

    Raises:
        SourceError: naming the version.

    Example:
        >>> refuse_other_versions("2.0b")
        >>> refuse_other_versions("NWB-1.0.6")
        Traceback (most recent call last):
        foundation.common.errors.SourceError: nwb_version is 'NWB-1.0.6': expected 2; NWB 1 files need ...
    """
    version = single_text(version)
    if isinstance(version, str | bytes):
        version = plain_text(version)
    if not isinstance(version, str):
        raise SourceError("is not an NWB file: it has no nwb_version; expected NWB 2")
    number = re.search(r"\d+", version)
    if number and int(number.group()) == 2:
        return
    if number and int(number.group()) < 2:
        raise SourceError(
            f"nwb_version is {version!r}: expected 2; NWB 1 files need to be converted to NWB 2 first, "
            "by their publishers or with the tools of the NWB documentation"
        )
    raise SourceError(f"nwb_version is {version!r}: expected 2; a newer release may read it")


def version_of(file: h5py.File) -> Any:
    """Return an HDF5 file's NWB version: an attribute in NWB 2, a dataset in NWB 1; None if missing."""
    if "nwb_version" in file.attrs:
        return file.attrs["nwb_version"]
    found = file.get("nwb_version")
    return found[()] if isinstance(found, h5py.Dataset) and found.shape == () else None
