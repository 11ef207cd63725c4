"""What h5py, hdmf and pynwb raise at a file, in words that say what the file is and what to do."""

from __future__ import annotations

import re

FILTER = "compressed by an HDF5 filter that is not installed: pip install hdf5plugin"
_TRUNCATED = re.compile(r"truncated file: eof = (\d+).*stored_eof = (\d+)")
_NAMESPACE = re.compile(r"'([\w.-]+)' not a namespace")
_TYPE = re.compile(r"No specification for '([\w.-]+)' in namespace '([\w.-]+)'")
_ATTRIBUTE = re.compile(r"'(\w+)' object has no attribute '(\w+)'")
MAX_LENGTH = 500


def in_plain_words(error: BaseException) -> str:
    """Return a line on what is wrong with a file.

    Example:
        >>> in_plain_words(KeyError("'ndx-mine' not a namespace"))
        'it uses the extension ndx-mine, whose definition is not in it: pip install ndx-mine, or ask who wrote it'
    """
    text = " ".join(str(error).split())
    if found := _TRUNCATED.search(text):
        has, needs = (int(number) for number in found.groups())
        return f"truncated: {has:,} of its {needs:,} bytes are there; fetch or copy it again"
    if "already open for write" in text:
        return "it is being written: wait until its writer has closed it"
    if filter_is_missing(error):
        return FILTER
    if found := _NAMESPACE.search(text):
        return _extension(found.group(1))
    if found := _TYPE.search(text):
        return f"its type {found.group(1)} is unknown; {_extension(found.group(2))}"
    if found := _ATTRIBUTE.search(text):
        return f"a {found.group(1)} in it is not laid out as NWB has it (no {found.group(2)}); write it anew with pynwb"
    return f"{type(error).__name__}: {text}"[:MAX_LENGTH]


def filter_is_missing(error: BaseException) -> bool:
    """Return whether HDF5 failed for want of a compression filter."""
    return isinstance(error, OSError) and any(
        words in str(error) for words in ("can't open directory", "required filter")
    )


def _extension(name: str) -> str:
    return f"it uses the extension {name}, whose definition is not in it: pip install {name}, or ask who wrote it"
