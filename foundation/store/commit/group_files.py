"""The files of a Zarr group in a store: expected, damaged and stray ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import zarr

from foundation.store.format.chunk_reader import is_cut
from foundation.store.format.zarr_arrays import GROUP_FILE
from foundation.store.storage import Store


def chunk_names(array: zarr.Array) -> Iterator[str]:
    """Yield the names of an array's files: its shards, or its chunks if it has no shards.

    As in zarr, a chunk that holds only the fill value has no file.

    Example:
        >>> list(chunk_names(zarr.create_array({}, shape=(5, 2), chunks=(2, 2), dtype="i4")))
        ['c/0/0', 'c/1/0', 'c/2/0']
    """
    sizes = array.shards or array.chunks
    counts = [-(-length // size) for length, size in zip(array.shape, sizes, strict=True)]
    for index in product(*map(range, counts)):
        yield "/".join(["c", *map(str, index)])


def what_is_wrong(store: Store, folder: str, group: zarr.Group, path: str) -> str:
    """Describe the damage of an array whose digest differs, and name the damaged files if they can be found.

    Args:
        store: the store.
        folder: of the group.
        group: the opened group.
        path: path of the array.
    """
    array = group[path]
    assert isinstance(array, zarr.Array)
    sizes = array.shards or array.chunks
    described: dict[str, Any] = array.metadata.to_dict()
    plain = described["codecs"][-1]["name"] == "blosc"  # without shards, which have an index of their own
    absent, broken = [], []
    for name in chunk_names(array):
        if not store.fs.exists(store.path(folder, path, name)):
            absent.append(name)
            continue
        index = [int(part) for part in name.split("/")[1:]]
        try:
            if plain and is_cut(store.fs.cat_file(store.path(folder, path, name))):
                broken.append(name)
                continue
            array[tuple(slice(i * size, (i + 1) * size) for i, size in zip(index, sizes, strict=True))]
        except Exception:  # damaged bytes fail to decode in many ways
            broken.append(name)
    reasons = [f"{few(names)} {how}" for names, how in ((absent, "not there"), (broken, "cannot be decoded")) if names]
    return f"{path}: {', '.join(reasons) or 'values differ from those that were written'}"


def stray_files(store: Store, folder: str, members: dict[str, Any], group: zarr.Group) -> list[str]:
    """Return the sorted files below a group's folder that do not belong to it. No reader sees them.

    Args:
        store: the store.
        folder: of the group.
        members: its consolidated metadata.
        group: the opened group.
    """
    known = {GROUP_FILE, *(f"{path}/{GROUP_FILE}" for path in members)}
    root = store.path(folder).lstrip("/")
    found = {str(name).lstrip("/").removeprefix(f"{root}/") for name in store.fs.find(store.path(folder))}
    return [f"{folder}/{name}" for name in sorted(found - known) if not _is_chunk(name, group)]


def _is_chunk(name: str, group: zarr.Group) -> bool:
    path, _, index = name.rpartition("/c/")
    array = group.get(path) if path else None
    if not isinstance(array, zarr.Array) or not re.fullmatch(r"\d+(/\d+)*", index):
        return False
    sizes, numbers = array.shards or array.chunks, index.split("/")
    if len(numbers) != len(sizes) or any(number != str(int(number)) for number in numbers):
        return False
    limits = zip(numbers, array.shape, sizes, strict=True)
    return all(int(number) * size < length for number, length, size in limits)


def few(names: list[str], most: int = 3) -> str:
    """Return the first names of a list, and how many more there are.

    Example:
        >>> few(["c/0", "c/1"]), few([f"c/{k}" for k in range(9)])
        ('c/0, c/1', 'c/0, c/1, c/2 and 6 more')
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
