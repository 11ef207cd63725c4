"""Compression filters of HDF5 that are not installed, by number and by the package that has them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import h5py

from foundation.common.errors import SourceError

# Registered numbers of the filters that the package hdf5plugin brings.
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


@cache
def use_plugins() -> None:
    """Register the filters of hdf5plugin with HDF5, if the package is installed."""
    with suppress(ImportError):
        importlib.import_module("hdf5plugin")


@contextmanager
def missing_filters_named(data: Any, what: str) -> Iterator[None]:
    """Name the filters that are not installed where reading a dataset fails inside the ``with`` block.

    Args:
        data: an HDF5 dataset, or a wrapper of hdmf's around one; of anything else errors stay as they are.
        what: its name, for the error.

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
