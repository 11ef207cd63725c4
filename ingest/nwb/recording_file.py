"""Read one NWB file into memory: `foundation.read_nwb`."""

from __future__ import annotations

import os

from foundation.common.errors import SourceError
from foundation.store.recording import Recording
from ingest.nwb import read_nwb as reader
from ingest.recipe.recipes import Recipe, load_recipe


def read_nwb(path: str | os.PathLike[str], recipe: str | Recipe = "default", *, strict: bool = False) -> Recording:
    """Read an NWB file (NWB 2; HDF5 or Zarr) into memory.

    Args:
        path: a file, the folder of a Zarr store, or an fsspec URL of either.
        recipe: what columns, tables and series mean: a recipe, a shipped one's name, or a YAML file.
        strict: refuse what is otherwise corrected: unsorted, missing or impossible times.

    Returns:
        The recording, with spikes or sampled activity, units, behaviour and intervals; times are seconds from the
        session's start.

    Raises:
        SourceError: if the file is damaged, is not NWB, or holds no unit activity; the message begins with the path and
            says what to do.
        ConfigError: if the recipe does not exist.
    """
    chosen = load_recipe(recipe) if isinstance(recipe, str) else recipe
    found = reader.read_nwb(path, chosen, strict=strict)
    if isinstance(found, Recording):
        return found
    if isinstance(found, reader.NeedsSorting):
        raise SourceError(f"{os.fspath(path)}: it has no units, but activity that could be sorted: {found}")
    advice = "a recipe says what holds activity, and `foundation ingest --explain` shows the file"
    raise SourceError(f"{os.fspath(path)}: it {found}; {advice}")
