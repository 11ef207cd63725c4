"""Explain errors of h5py, hdmf and pynwb in plain words, and name missing compression filters."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import h5py

from foundation.common.errors import SourceError

FILTER = "compressed by an HDF5 filter that is not installed: pip install hdf5plugin"
_TRUNCATED = re.compile(r"truncated file: eof = (\d+).*stored_eof = (\d+)")
_NAMESPACE = re.compile(r"'([\w.-]+)' not a namespace")
_TYPE = re.compile(r"No specification for '([\w.-]+)' in namespace '([\w.-]+)'")
_ATTRIBUTE = re.compile(r"'(\w+)' object has no attribute '(\w+)'")
MAX_LENGTH = 500
# Registered numbers of the filters in the package hdf5plugin.
PLUGIN = {
    307: "bzip2",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32013: "zfp",
    32015: "zstd",
    32017: "sz",
    32018: "fcidecomp",
    32024: "sz3",
    32026: "blosc2",
    32028: "sperr",
}


def in_plain_words(error: BaseException) -> str:
    """Return a one-line explanation of an error in a file.

    Example:
        >>> in_plain_words(KeyError("'ndx-mine' not a namespace"))
        'it uses the extension ndx-mine, whose definition is not in it: pip install ndx-mine, or ask who wrote it'
    """
    text = " ".join(str(error).split())
    if found := _TRUNCATED.search(text):
        has, needs = (int(number) for number in found.groups())
        return f"truncated: it has {has:,} of {needs:,} bytes; fetch or copy it again"
    if "already open for write" in text:
        return "it is being written: wait until its writer has closed it"
    if filter_is_missing(error):
        return FILTER
    if found := _NAMESPACE.search(text):
        return _extension(found.group(1))
    if found := _TYPE.search(text):
        return f"its type {found.group(1)} is unknown; {_extension(found.group(2))}"
    if found := _ATTRIBUTE.search(text):
        return f"a {found.group(1)} in it has no {found.group(2)}, which NWB requires; write it again with pynwb"
    return f"{type(error).__name__}: {text}"[:MAX_LENGTH]


def filter_is_missing(error: BaseException) -> bool:
    """Return whether HDF5 failed because a compression filter is missing."""
    return isinstance(error, OSError) and any(
        words in str(error) for words in ("can't open directory", "required filter")
    )


def _extension(name: str) -> str:
    return f"it uses the extension {name}, whose definition is not in it: pip install {name}, or ask who wrote it"


@cache
def use_plugins() -> None:
    """Register the filters of hdf5plugin with HDF5, if the package is installed."""
    with suppress(ImportError):
        importlib.import_module("hdf5plugin")


@contextmanager
def missing_filters_named(data: Any, what: str) -> Iterator[None]:
    """Raise an error naming missing filters if reading a dataset fails inside the ``with`` block.

    Args:
        data: an HDF5 dataset, or a wrapper of hdmf's around one; errors of other objects are unchanged.
        what: its name for the error.

    Raises:
        SourceError: naming the filters and what to install.
    """
    try:
        yield
    except OSError as error:
        missing = missing_filters(getattr(data, "dataset", data))
        if not missing:
            raise
        names = " and ".join(f"{number} ({name})" for number, name in missing.items())
        known = set(missing) <= set(PLUGIN)
        hint = "pip install hdf5plugin" if known else "ask who wrote the file which package has it"
        raise SourceError(f"{what} is compressed by HDF5 filter {names}, which is not installed: {hint}") from error


def missing_filters(array: Any) -> dict[int, str]:
    """Return number -> name of the filters of a dataset that HDF5 cannot find."""
    if not isinstance(array, h5py.Dataset):
        return {}
    settings = array.id.get_create_plist()
    filters = [settings.get_filter(k) for k in range(settings.get_nfilters())]
    return {
        int(number): PLUGIN.get(number) or name.decode("utf-8", "replace") or "no name"
        for number, _, _, name in filters
        if not h5py.h5z.filter_avail(number)
    }
